"""``concurrency="serial"``: requests with unsafe methods have the session one after the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import coatroom
import flask
import pytest
from coatroom.asgi import CoatroomMiddleware as AsgiMiddleware
from coatroom.flask import Coatroom, in_turn, out_of_turn
from coatroom.testing import ManualClock
from coatroom.wsgi import CoatroomMiddleware as WsgiMiddleware
from conftest import TEST_KEYS, Browser


@pytest.fixture
def serial() -> coatroom.Sessions:
    return coatroom.Sessions("memory", TEST_KEYS, concurrency="serial")


@pytest.fixture
def hasty(clock: ManualClock) -> coatroom.Sessions:
    """Waits for at most 0.12 seconds, by a clock that stands still."""
    return coatroom.Sessions("memory", TEST_KEYS, clock=clock, concurrency="serial", lease=0.05, skew=0.01)


def visit(sessions: coatroom.Sessions, browser: Browser) -> str:
    """A session with something in it; the cookies that open it."""
    session = sessions.open(browser.header)
    session["start"] = True
    session._commit(200)
    browser.take(session._exchange.head()[2])
    return browser.header


def count(session: coatroom.Session) -> None:
    session["n"] = session.get("n", 0) + 1


# spec: SER-1 0cb4, SER-5 a33a
def test_requests_with_unsafe_methods_have_the_session_one_after_the_other(
    serial: coatroom.Sessions, browser: Browser
) -> None:
    cookies = visit(serial, browser)

    def request(_: int) -> None:
        session = serial.open(cookies, method="POST")
        count(session)
        session._commit(200)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(request, range(80)))
    assert serial.open(cookies)["n"] == 80


# spec: SER-1 0cb4
def test_a_turn_is_taken_as_the_method_or_the_call_says(serial: coatroom.Sessions, browser: Browser) -> None:
    cookies = visit(serial, browser)
    merge = coatroom.Sessions("memory", TEST_KEYS)
    assert serial.open(cookies, method="GET").trace().trips == 1
    assert serial.open(cookies, method="POST", serial=False).trace().trips == 1
    session = serial.open(cookies, method="DELETE")
    assert session.trace().trips == 2
    session._commit(200)
    cookies = visit(merge, Browser())
    assert merge.open(cookies, method="POST").trace().trips == 1
    assert merge.open(cookies, serial=True).trace().trips == 2


# spec: SER-4 ef64
def test_a_wait_has_an_end_and_logouts_wait_for_nobody(hasty: coatroom.Sessions, browser: Browser) -> None:
    cookies = visit(hasty, browser)
    hasty.open(cookies, method="POST")
    with pytest.raises(coatroom.Busy):
        hasty.open(cookies, method="POST")
    other = hasty.open(cookies)
    other["n"] = 7
    with pytest.raises(coatroom.Busy):
        other._commit(200)
    leaving = hasty.open(cookies)
    leaving.logout()
    leaving._commit(200)


# spec: SER-3 4b53
def test_a_request_that_outlives_its_turn_is_refused_once_others_wrote(
    hasty: coatroom.Sessions, browser: Browser, clock: ManualClock
) -> None:
    cookies = visit(hasty, browser)
    slow = hasty.open(cookies, method="POST")
    count(slow)
    clock.advance(1)
    other = hasty.open(cookies, method="POST")
    count(other)
    other._commit(200)
    with pytest.raises(coatroom.Conflict):
        slow._commit(200)
    assert hasty.open(cookies)["n"] == 1


# spec: SER-5 a33a
def test_an_error_page_ends_the_turn(hasty: coatroom.Sessions, browser: Browser) -> None:
    cookies = visit(hasty, browser)
    session = hasty.open(cookies, method="POST")
    count(session)
    session._commit(500)
    assert "n" not in hasty.open(cookies, method="POST")


def test_spans_of_a_lease_that_make_no_sense_are_refused_by_name() -> None:
    for lease in (0, 301):
        with pytest.raises(coatroom.ConfigError, match="lease"):
            coatroom.Sessions("memory", TEST_KEYS, lease=lease)


def scope(method: str, cookies: str) -> dict[str, Any]:
    headers = [(b"cookie", cookies.encode())]
    return {"type": "http", "method": method, "path": "/", "headers": headers, "query_string": b""}


async def ask(app: Any, method: str, cookies: str) -> int:
    """The status of a request."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope(method, cookies), receive, send)
    status: int = sent[0]["status"]
    return status


async def reply(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


# spec: SER-1 0cb4, SER-4 ef64
def test_an_event_loop_waits_for_turns_without_standing_still_and_without_threads(
    serial: coatroom.Sessions, browser: Browser
) -> None:
    cookies = visit(serial, browser)

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if scope["method"] == "GET":
            session["other"] = True
        else:
            before = session.get("n", 0)
            await asyncio.sleep(0.001)
            session["n"] = before + 1
        await reply(send)

    async def main() -> list[int]:
        # Nothing is left over for waiting: a wait in a thread would hold up whoever has the turn.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        app = AsgiMiddleware(handler, serial)
        return await asyncio.gather(*(ask(app, "POST" if number % 5 else "GET", cookies) for number in range(60)))

    assert asyncio.run(main()) == [200] * 60
    session = serial.open(cookies)
    assert (session["n"], session["other"]) == (48, True)


# spec: SER-4 ef64
def test_an_event_loop_gives_up_waiting_after_a_while(hasty: coatroom.Sessions, browser: Browser) -> None:
    cookies = visit(hasty, browser)
    hasty.open(cookies, method="POST")

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        count(scope["session"])
        await reply(send)

    app = AsgiMiddleware(handler, hasty)
    assert asyncio.run(ask(app, "POST", cookies)) == 503
    assert asyncio.run(ask(app, "GET", cookies)) == 503


def wsgi_ask(app: Any, method: str, path: str, cookies: str) -> str:
    """The status line of a request."""
    lines: list[str] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        lines.append(status)
        return lambda chunk: None

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_COOKIE": cookies, "wsgi.url_scheme": "https"}
    environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "443"}
    b"".join(app(environ, start))
    return lines[0]


# spec: SER-1 0cb4
def test_wsgi_and_flask_take_turns_and_a_view_may_say_otherwise(hasty: coatroom.Sessions, browser: Browser) -> None:
    cookies = visit(hasty, browser)
    inner = flask.Flask(__name__)
    Coatroom(inner, hasty)

    @inner.route("/usual", methods=["GET", "POST"])
    def usual() -> str:
        return str(flask.session.get("n", 0))

    @inner.post("/leave")
    @out_of_turn
    def leave() -> str:
        return usual()

    @inner.get("/count")
    @in_turn
    def counts() -> str:
        return usual()

    def bare(environ: Any, start: Any) -> list[bytes]:
        environ["coatroom.session"].get("n")
        start("200 OK", [])
        return [b""]

    wsgi = WsgiMiddleware(bare, hasty)
    cases = [
        (inner, "GET", "/usual", "200"),
        (inner, "POST", "/usual", "503"),
        (inner, "POST", "/leave", "200"),
        (inner, "GET", "/count", "503"),
        (wsgi, "GET", "/", "200"),
        (wsgi, "POST", "/", "503"),
    ]
    for app, method, path, _ in cases:
        assert wsgi_ask(app, method, path, cookies).startswith("200")
    hasty.open(cookies, method="POST")
    for app, method, path, status in cases:
        assert wsgi_ask(app, method, path, cookies).startswith(status), path


# spec: SER-1 0cb4
def test_a_waiting_thread_lets_others_run(serial: coatroom.Sessions, browser: Browser) -> None:
    cookies = visit(serial, browser)
    holder = serial.open(cookies, method="POST")
    done = threading.Event()

    def wait() -> None:
        serial.open(cookies, method="POST")
        done.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not done.wait(0.05)
    holder._commit(200)
    assert done.wait(10)
    waiting.join()
