"""What every adapter owes: the head waits for the commit, refusals and outages are answered, headers are exact."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coatroom
import flask
import pytest
from coatroom.asgi import CoatroomMiddleware as AsgiMiddleware
from coatroom.flask import Coatroom, skip
from coatroom.wsgi import Answer
from coatroom.wsgi import CoatroomMiddleware as WsgiMiddleware
from conftest import TEST_KEYS, Browser
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from django_project import SESSION_ONLY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

REMOVAL = "=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax"


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


Client = Callable[..., Reply]


@dataclass
class App:
    """The same small application on one adapter; ``during`` runs inside the handler, while the exchange is open."""

    sessions: coatroom.Sessions
    during: list[Callable[[], None]] = field(default_factory=list)
    on_error: Any = None

    def handle(self, session: coatroom.Session, path: str) -> tuple[int, str, dict[str, str]]:
        headers = {}
        if path == "/set":
            session["key"] = "value"
        elif path == "/login":
            session.login("alice", roles=["admin"])
        elif path == "/logout":
            session.logout()
        elif path == "/admin":
            session["key"] = "never"
            session.setdefault("list", []).append("never")
            session.require_role("admin")
        elif path == "/fail":
            session["key"] = "never"
            return 500, "", {}
        elif path == "/raise":
            session["key"] = "never"
            raise RuntimeError
        elif path == "/read":
            session.get("key")
            headers = {"Vary": "Accept", "Cache-Control": "private, max-age=60"}
        for action in self.during:
            action()
        return 200, json.dumps({"principal": session.principal} if path != "/plain" else {}), headers


def wsgi_client(app: Any) -> Client:
    def request(path: str, cookies: str = "") -> Reply:
        replies: list[Reply] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            replies.append(Reply(int(status[:3]), headers, b""))
            return lambda chunk: None

        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path.partition("?")[0],
            "QUERY_STRING": path.partition("?")[2],
            "HTTP_COOKIE": cookies,
            "wsgi.url_scheme": "https",
        }
        environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "443", "wsgi.input": io.BytesIO()}
        chunks = app(environ, start)
        body = b"".join(chunks)
        if hasattr(chunks, "close"):
            chunks.close()
        assert len(replies) == 1, "one head per request"
        replies[0].body = body
        return replies[0]

    return request


def asgi_client(app: Any) -> Client:
    def request(path: str, cookies: str = "") -> Reply:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asked: list[bool] = []

        async def receive() -> dict[str, Any]:
            if asked:
                await asyncio.Event().wait()  # The client stays.
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}

        # Two headers, as HTTP/2 allows.
        headers = [(b"cookie", cookie.encode()) for cookie in cookies.split("; ") if cookie]
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "query_string": query.encode()}
        asyncio.run(app({**scope, "http_version": "1.1", "root_path": "", "scheme": "https"}, receive, send))
        heads = [message for message in sent if message["type"] == "http.response.start"]
        assert len(heads) == 1, "one head per request"
        assert sent[0] is heads[0]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Reply(heads[0]["status"], [(n.decode(), v.decode()) for n, v in heads[0]["headers"]], body)

    return request


def make_wsgi(app: App) -> Client:
    def inner(environ: Any, start: Any) -> list[bytes]:
        status, body, headers = app.handle(environ["coatroom.session"], environ["PATH_INFO"])
        start(f"{status} X", list(headers.items()))
        return [body.encode()]

    options = {"on_error": app.on_error} if app.on_error else {}
    return wsgi_client(WsgiMiddleware(inner, app.sessions, **options))


def make_wsgi_generator(app: App) -> Client:
    def inner(environ: Any, start: Any) -> Iterator[bytes]:
        status, body, headers = app.handle(environ["coatroom.session"], environ["PATH_INFO"])
        start(f"{status} X", list(headers.items()))
        yield body[:1].encode()
        yield body[1:].encode()

    options = {"on_error": app.on_error} if app.on_error else {}
    return wsgi_client(WsgiMiddleware(inner, app.sessions, **options))


def make_flask(app: App) -> Client:
    inner = flask.Flask(__name__)
    options = {"on_error": app.on_error} if app.on_error else {}
    Coatroom(inner, app.sessions, **options)

    @inner.get("/<path:path>")
    def view(path: str) -> Any:
        status, body, headers = app.handle(flask.session, f"/{path}")  # type: ignore[arg-type]
        return body, status, headers

    return wsgi_client(inner)


def make_starlette(app: App) -> Client:
    async def view(request: Request) -> PlainTextResponse:
        status, body, headers = app.handle(request.session, request.url.path)  # type: ignore[arg-type]
        return PlainTextResponse(body, status, headers)

    inner = Starlette(routes=[Route("/{path:path}", view)])
    options = {"on_error": app.on_error} if app.on_error else {}
    inner.add_middleware(AsgiMiddleware, sessions=app.sessions, **options)
    return asgi_client(inner)


def in_django(app: App, request: Callable[[Any, str, str], Reply]) -> Client:
    def view(request: Any, path: str) -> HttpResponse:
        status, body, headers = app.handle(request.session, f"/{path}")
        return HttpResponse(body, status=status, headers=headers)

    setting: dict[str, Any] = {"sessions": app.sessions}
    if app.on_error:
        setting["on_error"] = app.on_error

    def ask(target: str, cookies: str = "") -> Reply:
        with override_settings(ROOT_URLCONF=(path("<path:path>", view),), MIDDLEWARE=SESSION_ONLY, COATROOM=setting):
            return request(app, target, cookies)

    return ask


def make_django(app: App) -> Client:
    return in_django(app, lambda app, path, cookies: wsgi_client(WSGIHandler())(path, cookies))


def make_django_async(app: App) -> Client:
    return in_django(app, lambda app, path, cookies: asgi_client(ASGIHandler())(path, cookies))


MAKERS = {
    "wsgi": make_wsgi,
    "wsgi-generator": make_wsgi_generator,
    "flask": make_flask,
    "django": make_django,
    "django-asgi": make_django_async,
    "starlette": make_starlette,
}


@pytest.fixture
def app(sessions: coatroom.Sessions) -> App:
    return App(sessions)


@pytest.fixture(params=MAKERS)
def client(request: pytest.FixtureRequest, app: App) -> Client:
    make: Callable[[App], Client] = MAKERS[request.param]
    return lambda *args: make(app)(*args)


# spec: HTTP-1 99c4, HTTP-2 2616, COOK-2 1b91, COOK-3 c51b
def test_the_headers_of_a_whole_life_are_exactly_these(client: Client, browser: Browser) -> None:
    visitor = client("/set")
    (line,) = visitor.all("set-cookie")
    name, _, rest = line.partition("=")
    assert name == "__Host-visitor"
    assert len(rest.partition(";")[0]) == 88
    assert rest.partition(";")[2] == " Path=/; Secure; HttpOnly; SameSite=Lax"
    assert (visitor.all("vary"), visitor.all("cache-control")) == (["Cookie"], ["no-store"])
    browser.take([line])

    login = client("/login", browser.header)
    assert [line.partition("=")[0] for line in login.all("set-cookie")] == ["__Host-id", "__Host-visitor"]
    assert login.all("set-cookie")[1] == f"__Host-visitor{REMOVAL}"
    browser.take(login.all("set-cookie"))

    read = client("/read", browser.header)
    assert read.all("set-cookie") == []
    assert (read.all("vary"), read.all("cache-control")) == (["Accept, Cookie"], ["no-store"])

    logout = client("/logout", browser.header)
    assert logout.all("set-cookie") == [f"__Host-id{REMOVAL}", f"__Host-visitor{REMOVAL}"]


# spec: HTTP-4 389d
def test_a_response_that_has_nothing_to_do_with_the_session_stays_as_it_is(app: App, clock: Any) -> None:
    for make in (make_flask, make_django, make_django_async, make_starlette):
        plain = App(app.sessions)
        plain.handle = lambda session, path: (200, "", {"Vary": "Accept"})  # type: ignore[method-assign]
        reply = make(plain)("/plain")
        assert (reply.all("vary"), reply.all("cache-control"), reply.all("set-cookie")) == (["Accept"], [], [])


# spec: HTTP-3 779a, ERR-1 63c2, WRITE-16 ef0b
def test_a_refused_commit_is_409_in_place_of_the_response(app: App, client: Client, browser: Browser) -> None:
    browser.take(client("/login").all("set-cookie"))
    header = browser.header

    def log_out_elsewhere() -> None:
        session = app.sessions.open(header)
        session.logout()
        session._commit(200)

    app.during.append(log_out_elsewhere)
    reply = client("/set", header)
    assert reply.status == 409
    assert json.loads(reply.body)["error"] == "ended"
    assert reply.all("set-cookie") == []
    assert reply.all("content-length") == [str(len(reply.body))]


# spec: HTTP-3 779a, STORE-5 5484
def test_a_store_that_cannot_answer_is_503_with_retry_after(tmp_path: Path, clock: Any, browser: Browser) -> None:
    for name, make in MAKERS.items():
        path = tmp_path / f"{name}.db"
        sessions = coatroom.Sessions(f"sqlite:{path}", TEST_KEYS, clock=clock)
        maker = make(App(sessions))
        browser.take(maker("/login").all("set-cookie"))
        path.unlink()
        gone = make(App(coatroom.Sessions(f"sqlite:{path}", TEST_KEYS, clock=clock)))
        path.unlink()
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        # Loading fails for whoever has an id, and writing for whoever has none.
        for reply in (gone("/read", browser.header), gone("/set")):
            assert (reply.status, reply.all("retry-after")) == (503, ["1"]), name
            assert json.loads(reply.body)["error"] == "unavailable"
            assert reply.all("set-cookie") == []
        assert gone("/read").status == 200


def test_what_the_handler_lets_through_becomes_401_and_403_and_writes_nothing(
    app: App, client: Client, browser: Browser
) -> None:
    reply = client("/admin")
    assert (reply.status, reply.all("set-cookie")) == (401, [])
    session = app.sessions.open(b"")
    session.login("bob")
    session._commit(200)
    browser.take(session._exchange.head()[2])
    assert client("/admin", browser.header).status == 403
    assert dict(app.sessions.open(browser.header)) == {}


# spec: WRITE-19 dc98
def test_an_error_response_acknowledges_nothing(app: App, client: Client, browser: Browser) -> None:
    browser.take(client("/login").all("set-cookie"))
    assert client("/fail", browser.header).status == 500
    try:
        assert client("/raise", browser.header).status == 500
    except RuntimeError:
        pass  # Without a framework the server answers.
    except AssertionError:
        pass
    assert "key" not in app.sessions.open(browser.header)
    assert app.sessions.open(browser.header).principal == "alice"


def test_one_hook_makes_every_answer_of_ours(app: App, client: Client) -> None:
    app.on_error = lambda error: Answer(
        error.status, b"sorry", (("Content-Type", "text/plain"), ("X-Ours", error.code))
    )
    reply = client("/admin")
    assert (reply.status, reply.body, reply.all("x-ours")) == (401, b"sorry", ["unauthenticated"])


def test_a_route_marked_skip_loads_nothing(sessions: coatroom.Sessions, browser: Browser) -> None:
    opened: list[bytes] = []

    class Spy:
        def open(self, cookies: Any) -> coatroom.Session:
            opened.append(cookies)
            return sessions.open(cookies)

        _native = property(lambda self: self)

    inner = flask.Flask(__name__)
    Coatroom(inner, Spy())  # type: ignore[arg-type]
    inner.get("/with")(lambda: "")
    inner.add_url_rule("/without", view_func=skip(lambda: ""), endpoint="without")
    client = inner.test_client()
    client.get("/without")
    assert opened == []

    def plain_wsgi(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return []

    wsgi_client(WsgiMiddleware(plain_wsgi, Spy(), skip=["/static/"]))("/static/x")  # type: ignore[arg-type]

    async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    asgi_client(AsgiMiddleware(plain_asgi, Spy(), skip=["/static/"]))("/static/x")  # type: ignore[arg-type]
    assert opened == []


def test_flask_flash_and_session_transaction_work(sessions: coatroom.Sessions) -> None:
    inner = flask.Flask(__name__)
    Coatroom(inner, sessions)

    @inner.get("/flash")
    def view() -> str:
        flask.flash("hello")
        return ""

    @inner.get("/show")
    def show() -> list[str]:
        return flask.get_flashed_messages()  # type: ignore[return-value]

    client = inner.test_client()
    with client.session_transaction() as session:
        session["before"] = 1
    client.get("/flash")
    assert client.get("/show").json == ["hello"]
    assert client.get("/show").json == []
    with client.session_transaction() as session:
        assert session["before"] == 1


def test_a_streamed_response_has_its_cookie_and_the_session_is_closed_by_then(sessions: coatroom.Sessions) -> None:
    seen: list[str] = []

    async def stream(request: Request) -> StreamingResponse:
        request.session["key"] = 1

        async def chunks() -> Any:
            try:
                request.session["late"] = 1
            except coatroom.SessionClosed as error:
                seen.append(str(error))
            yield b"x"

        return StreamingResponse(chunks())

    inner = Starlette(routes=[Route("/", stream)])
    inner.add_middleware(AsgiMiddleware, sessions=sessions)
    reply = asgi_client(inner)("/")
    assert len(reply.all("set-cookie")) == 1
    assert len(seen) == 1


# spec: HTTP-5 842b, WRITE-17 01cf
def test_a_websocket_reads_the_session_of_its_handshake_and_cannot_write(
    sessions: coatroom.Sessions, browser: Browser
) -> None:
    login = sessions.open(b"")
    login.login("alice")
    login._commit(200)
    browser.take(login._exchange.head()[2])
    seen: list[Any] = []

    async def socket(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        seen.append(scope["session"].principal)
        scope["session"]["key"] = 1

    async def run() -> None:
        async def send(message: Any) -> None:
            seen.append(message["type"])

        scope = {"type": "websocket", "path": "/", "headers": [(b"cookie", browser.header.encode())]}
        await AsgiMiddleware(socket, sessions)(scope, None, send)  # type: ignore[arg-type]

    with pytest.raises(coatroom.CoatroomError, match="response head is already sent"):
        asyncio.run(run())
    assert seen == ["websocket.accept", "alice"]
    assert "key" not in sessions.open(browser.header)


def test_an_event_loop_is_never_blocked_for_long_by_durable_commits(tmp_path: Path) -> None:
    """While a login waits for the disk, or for another process's lock, the loop goes on."""
    path = tmp_path / "sessions.db"
    sessions = coatroom.Sessions(f"sqlite:{path}", TEST_KEYS)

    async def login(request: Request) -> JSONResponse:
        session: Any = request.session
        session.login("alice")
        return JSONResponse({})

    inner = Starlette(routes=[Route("/", login)])
    inner.add_middleware(AsgiMiddleware, sessions=sessions)
    # In a process of its own, because POSIX locks do not hold between two copies of SQLite in one process.
    hold_the_lock = (
        "import sqlite3, sys; other = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "other.execute('BEGIN IMMEDIATE'); print(flush=True); sys.stdin.readline(); other.execute('ROLLBACK')"
    )
    command = [sys.executable, "-c", hold_the_lock, str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdout.readline()

    async def run() -> tuple[int, list[int]]:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "root_path": ""}
        task = asyncio.create_task(inner({**scope, "http_version": "1.1", "scheme": "https"}, receive, send))
        turns = 0
        ends = time.monotonic() + 0.2
        while time.monotonic() < ends:
            await asyncio.sleep(0)
            turns += 1
        assert not task.done()
        holder.communicate(b"\n")
        await task
        return turns, statuses

    turns, statuses = asyncio.run(run())
    assert statuses == [200]
    assert turns > 100, "the loop turned while the commit waited"


# spec: SEC-1 89db
def test_an_answer_of_ours_is_logged_without_an_id(
    app: App, client: Client, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coatroom")
    browser.take(client("/login").all("set-cookie"))
    client("/admin", browser.header.replace("__Host-id", "__Host-visitor"))
    assert any(record.name == "coatroom" for record in caplog.records)
    assert browser.cookies["__Host-id"][24:] not in caplog.text


def test_a_head_without_headers_is_a_head(sessions: coatroom.Sessions) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].login("alice")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    assert len(asgi_client(AsgiMiddleware(app, sessions))("/").all("set-cookie")) == 1


def test_an_error_page_in_place_of_an_unsent_head_keeps_the_cookies_of_what_was_written(
    sessions: coatroom.Sessions,
) -> None:
    def app(environ: Any, start: Any) -> list[bytes]:
        environ["coatroom.session"].login("alice")
        start("200 OK", [])
        start("500 Oops", [], (RuntimeError, RuntimeError(), None))
        return [b""]

    heads: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "HTTP_COOKIE": ""}
    WsgiMiddleware(app, sessions)(environ, lambda *head: heads.append(head))  # type: ignore[arg-type]
    assert [name for name, _ in heads[-1][1]].count("Set-Cookie") == 1


# spec: WRITE-20 620d
def test_a_change_that_cannot_be_stored_does_not_spare_a_copied_id(
    sessions: coatroom.Sessions, browser: Browser, clock: Any
) -> None:
    def exchange(work: Callable[[coatroom.Session], object] = lambda session: None) -> None:
        session = sessions.open(browser.header)
        work(session)
        session._commit(200)
        browser.take(session._exchange.head()[2])

    exchange(lambda session: session.login("alice"))
    exchange()
    clock.advance(61)
    copied = browser.header
    exchange(lambda session: session.rotate())
    exchange()
    clock.advance(31)
    thief = sessions.open(copied)
    thief["x"] = [1]
    thief["x"].append({1})
    with pytest.raises(coatroom.UnsupportedValue):
        thief._commit(200)
    assert sessions.open(browser.header).principal is None


def test_a_store_that_cannot_answer_is_503_also_when_a_later_hook_looks_at_the_session(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    sessions = coatroom.Sessions(f"sqlite:{path}", TEST_KEYS)
    session = sessions.open(b"")
    session.login("alice")
    cookie = session._commit(200) and session._exchange.head()[2][0].partition(";")[0]
    gone = coatroom.Sessions(f"sqlite:{path}", TEST_KEYS)
    sessions._native.release()
    sessions._native.resume()
    for file in tmp_path.iterdir():
        file.unlink()
    inner = flask.Flask(__name__)
    Coatroom(inner, gone)
    inner.get("/")(lambda: "")

    @inner.after_request
    def look(response: flask.Response) -> flask.Response:
        if flask.request.path == "/":
            response.headers["X-User"] = str(flask.session.get("name"))
        return response

    reply = wsgi_client(inner)("/", str(cookie))
    assert (reply.status, reply.all("x-user")) == (503, ["None"])
    assert wsgi_client(inner)("/static/nothing", str(cookie)).status == 404
