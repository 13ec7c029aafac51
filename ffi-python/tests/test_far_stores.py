"""Redis and PostgreSQL under event loops: no thread of the executor, nothing left behind, nothing cut off."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import coatroom
import far
import pytest
import uvloop
from coatroom import _completions, _native
from coatroom.asgi import CoatroomMiddleware
from coatroom.testing import ManualClock
from coatroom.wsgi import CoatroomMiddleware as WsgiMiddleware
from conftest import TEST_KEYS, Browser

T = TypeVar("T")
Handler = Callable[[coatroom.Session], object]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with far.servers().redis(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(scope="module")
def redis_by_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    with far.servers().redis(folder, "--unixsocket", str(folder / "redis.sock")):
        yield f"redis+unix://{folder}/redis.sock"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with far.postgres(TEST_KEYS) as address:
        yield address


@pytest.fixture(params=["redis", "redis_by_socket", "postgres"])
def store(request: pytest.FixtureRequest) -> str:
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs on a loop that is made for it and closed afterwards."""
    return lambda work: run_on(LOOPS[request.param], work)


def run_on(make: Callable[[], asyncio.AbstractEventLoop], work: Coroutine[Any, Any, T]) -> T:
    loop = make()
    try:
        return loop.run_until_complete(asyncio.wait_for(work, 20))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()


@pytest.fixture
def gate(redis: str) -> Iterator[far.Gate]:
    with far.gated(redis) as gate:
        yield gate


def app_of(handler: Handler) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        handler(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


Sent = list[dict[str, Any]]


async def ask(app: Any, browser: Browser | None = None, method: str = "GET", sent: Sent | None = None) -> int:
    """The status of a request; the browser keeps its cookies."""
    browser = browser or Browser()
    messages: Sent = [] if sent is None else sent

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"cookie", browser.header.encode())]
    await app({"type": "http", "method": method, "path": "/", "headers": headers}, receive, send)
    (head,) = [message for message in messages if message["type"] == "http.response.start"]
    browser.take([value.decode() for name, value in head["headers"] if name == b"set-cookie"])
    status: int = head["status"]
    return status


def logged_in(sessions: coatroom.Sessions) -> Browser:
    browser = Browser()
    session = sessions.open(b"")
    session.login("ada")
    session._commit(200)
    browser.take(session._exchange.head()[2])
    sessions.open(browser.header)._commit(200)
    return browser


def stored(sessions: coatroom.Sessions, browser: Browser) -> dict[str, Any]:
    return dict(sessions.open(browser.header))


async def asked(gate: far.Gate) -> None:
    """Until a question is on its way to the server."""
    await asyncio.get_running_loop().run_in_executor(None, gate.asked.wait)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_life_of_a_session_and_32_additions_at_once(store: str, run: Any) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS)
    browser = Browser()
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)

    async def life() -> None:
        assert await ask(CoatroomMiddleware(app_of(lambda session: session.login("ada")), sessions), browser) == 200
        statuses = await asyncio.gather(*(ask(add, browser) for _ in range(32)))
        assert statuses == [200] * 32
        assert stored(sessions, browser) == {"n": 32}
        stolen = browser.header
        assert await ask(CoatroomMiddleware(app_of(lambda session: session.logout()), sessions), browser) == 200
        assert sessions.open(stolen).principal is None

    run(life())


def test_no_thread_of_the_executor_is_asked(store: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS, concurrency="serial")
    browser = logged_in(sessions)

    def refuse(*_: object) -> None:
        raise AssertionError

    async def requests() -> None:
        monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", refuse)
        monkeypatch.setattr(_completions, "in_thread", refuse)
        add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)
        assert await asyncio.gather(*(ask(add, browser, "POST") for _ in range(4))) == [200] * 4

    run(requests())
    assert stored(sessions, browser) == {"n": 4}


def test_a_closed_loop_leaves_neither_a_descriptor_nor_a_thread(store: str, run: Any) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS)
    browser = logged_in(sessions)
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)
    run(ask(add, browser))
    before = descriptors(), len(far.threads())
    for _ in range(20):
        run(ask(add, browser))
    # What others left may go meanwhile, and the pool may have opened a second connection.
    assert descriptors() <= before[0] + 1
    assert len(far.threads()) <= before[1]
    assert far.threads().count("coatroom") == 1


def test_several_loops_of_one_process_are_each_woken(store: str) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS)
    browsers = [logged_in(sessions) for _ in range(6)]
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)

    def serve(number: int) -> None:
        async def requests() -> None:
            for _ in range(20):
                assert await ask(add, browsers[number]) == 200

        run_on(list(LOOPS.values())[number % 2], requests())

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(serve, range(6)))
    assert [stored(sessions, browser) for browser in browsers] == [{"n": 20}] * 6


def test_two_loops_that_take_turns_on_one_thread_have_one_descriptor_each(redis: str) -> None:
    sessions = coatroom.Sessions(redis, TEST_KEYS)
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)
    loops = [asyncio.new_event_loop(), uvloop.new_event_loop()]
    browser = logged_in(sessions)
    for loop in loops:
        loop.run_until_complete(ask(add, browser))
    before = descriptors()
    for _ in range(5):
        for loop in loops:
            loop.run_until_complete(ask(add, browser))
    assert descriptors() == before
    for loop in loops:
        loop.close()


class Deaf(asyncio.SelectorEventLoop):
    """As on systems whose loops watch no descriptors."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        if callback.__name__ == "wake":
            raise NotImplementedError
        super().add_reader(fd, callback, *args)


def test_a_loop_that_watches_no_descriptors_has_threads_do_the_waiting(store: str) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS, concurrency="serial")
    browser = logged_in(sessions)
    before = descriptors()
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)

    async def requests() -> None:
        assert [await ask(add, browser, method) for method in ("GET", "POST")] == [200, 200]

    run_on(Deaf, requests())
    assert stored(sessions, browser) == {"n": 2}
    assert descriptors() <= before


def test_requests_of_one_loop_that_ask_together_are_all_answered(store: str, run: Any) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS)
    browser = logged_in(sessions)
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)

    async def requests() -> None:
        for _ in range(3):
            assert await asyncio.gather(*(ask(add, browser) for _ in range(32))) == [200] * 32

    run(requests())
    assert stored(sessions, browser) == {"n": 96}


def test_a_loop_does_not_keep_the_context_of_its_first_request(redis: str, run: Any) -> None:
    class Thing: ...

    variable: contextvars.ContextVar[Thing] = contextvars.ContextVar("variable")
    sessions = coatroom.Sessions(redis, TEST_KEYS)
    browser = logged_in(sessions)

    async def first() -> weakref.ref[Thing]:
        thing = Thing()
        variable.set(thing)
        await ask(CoatroomMiddleware(app_of(lambda session: None), sessions), browser)
        return weakref.ref(thing)

    async def main() -> None:
        thing = await asyncio.create_task(first())
        await asyncio.sleep(0)
        assert thing() is None

    run(main())


def test_a_commit_is_finished_when_its_request_is_cancelled_and_told_once_it_is(gate: far.Gate, run: Any) -> None:
    events: list[str] = []
    sessions = coatroom.Sessions(gate.address, TEST_KEYS, on_event=lambda name, handle, cause: events.append(name))
    add = CoatroomMiddleware(app_of(lambda session: session.login("eve")), sessions)
    assert sessions.devices("eve") == []

    async def cancelled() -> None:
        gate.shut()
        task = asyncio.create_task(ask(add))
        await asked(gate)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert events == []
        gate.open()
        while not events:
            await asyncio.sleep(0)
        found = _completions.completions()
        assert found is not None
        assert found.waiting() == 0

    run(cancelled())
    assert _native.settle(5.0)
    assert events == ["created", "logged in"]
    (device,) = sessions.devices("eve")
    sessions.revoke("eve", device.handle)


@pytest.mark.parametrize("status", [200, 504])
# spec: HTTP-2 2616, HTTP-3 779a
def test_a_head_in_place_of_one_whose_commit_was_cancelled_carries_its_cookie(
    gate: far.Gate, run: Any, status: int
) -> None:
    sessions = coatroom.Sessions(gate.address, TEST_KEYS)
    inner = app_of(lambda session: session.login("ada"))
    assert sessions.devices("nobody") == []

    async def timed(scope: Any, receive: Any, send: Any) -> None:
        """A middleware below ours that answers when the application takes too long."""
        task = asyncio.create_task(inner(scope, receive, send))
        await asked(gate)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        asyncio.get_running_loop().call_soon(gate.open)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    browser = Browser()
    gate.shut()
    assert run(ask(CoatroomMiddleware(timed, sessions), browser)) == status
    assert sessions.open(browser.header).principal == "ada"


def test_a_head_in_place_of_one_whose_commit_was_refused_is_refused(gate: far.Gate, redis: str, run: Any) -> None:
    sessions = coatroom.Sessions(gate.address, TEST_KEYS)
    browser = logged_in(sessions)

    def handle(session: coatroom.Session) -> None:
        session["key"] = 1
        elsewhere = coatroom.Sessions(redis, TEST_KEYS).open(browser.header)
        elsewhere.logout()
        elsewhere._commit(200)
        gate.shut()

    async def timed(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.create_task(app_of(handle)(scope, receive, send))
        await asked(gate)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        asyncio.get_running_loop().call_soon(gate.open)
        for _ in range(2):
            await send({"type": "http.response.start", "status": 200, "headers": []})

    assert run(ask(CoatroomMiddleware(timed, sessions), browser)) == 409


def test_a_request_that_is_cancelled_while_it_takes_its_turn_gives_it_back(gate: far.Gate, run: Any) -> None:
    sessions = coatroom.Sessions(gate.address, TEST_KEYS, concurrency="serial")
    browser = logged_in(sessions)
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)

    async def cancelled() -> None:
        gate.shut()
        task = asyncio.create_task(ask(add, browser, "POST"))
        await asked(gate)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        # Far sooner than the turn of somebody who died is over.
        assert await asyncio.wait_for(ask(add, browser, "POST"), 5) == 200

    run(cancelled())
    assert _native.settle(5.0), "also what the loop had begun and did not live to see"
    assert stored(sessions, browser) == {"n": 1}


async def cancelled_before_it_goes_on(gate: far.Gate, request: Coroutine[Any, Any, Any]) -> None:
    """Cancels a request in the turn of its loop that tells it of its answer, just before: asyncio calls what was there
    first, and uvloop what its descriptors have."""
    gate.shut()
    task = asyncio.create_task(request)
    await asked(gate)
    asyncio.get_running_loop().call_soon(task.cancel)
    gate.open()
    # The loop stands still: the helper thread goes on with what is under way.
    assert _native.settle(20.0)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_turn_that_was_taken_in_the_very_moment_of_a_cancellation_is_given_back(gate: far.Gate) -> None:
    sessions = coatroom.Sessions(gate.address, TEST_KEYS, concurrency="serial")
    browser = logged_in(sessions)
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)

    async def cancelled() -> None:
        await cancelled_before_it_goes_on(gate, ask(add, browser, "POST"))
        assert await asyncio.wait_for(ask(add, browser, "POST"), 5) == 200

    run_on(asyncio.new_event_loop, cancelled())
    assert stored(sessions, browser) == {"n": 1}


def test_a_commit_that_was_done_in_the_very_moment_of_a_cancellation_is_told(gate: far.Gate) -> None:
    events: list[str] = []
    sessions = coatroom.Sessions(gate.address, TEST_KEYS, on_event=lambda name, handle, cause: events.append(name))
    assert sessions.devices("eve") == []
    add = CoatroomMiddleware(app_of(lambda session: session.login("eve")), sessions)

    async def cancelled() -> None:
        await cancelled_before_it_goes_on(gate, ask(add))
        while not events:
            await asyncio.sleep(0)

    run_on(asyncio.new_event_loop, cancelled())
    assert events == ["created", "logged in"]
    (device,) = sessions.devices("eve")
    sessions.revoke("eve", device.handle)


def test_a_program_that_is_stopped_in_one_request_loses_no_other(gate: far.Gate) -> None:
    sessions = coatroom.Sessions(gate.address, TEST_KEYS)
    browser = logged_in(sessions)

    def stop_once(session: coatroom.Session) -> None:
        handled.append(session)
        if len(handled) == 1:
            raise KeyboardInterrupt

    async def both() -> None:
        gate.shut()
        app = CoatroomMiddleware(app_of(stop_once), sessions)
        tasks.extend(asyncio.create_task(ask(app, browser)) for _ in range(2))
        await asked(gate)
        gate.open()
        # The loop stands still, so that it hears of both at once.
        assert _native.settle(20.0)
        await asyncio.wait(tasks)

    handled: list[coatroom.Session] = []
    tasks: list[asyncio.Task[int]] = []
    loop = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(both())
    assert len(handled) == 1
    loop.run_until_complete(asyncio.wait_for(asyncio.wait(tasks), 20))
    stopped, other = sorted(tasks, key=lambda task: task.exception() is None)
    assert isinstance(stopped.exception(), KeyboardInterrupt)
    assert other.result() == 200
    loop.close()


def test_a_request_that_is_cancelled_hears_why(gate: far.Gate, run: Any) -> None:
    sessions = coatroom.Sessions(gate.address, TEST_KEYS)
    browser = logged_in(sessions)
    look = CoatroomMiddleware(app_of(lambda session: session.principal), sessions)

    async def request() -> None:
        with pytest.raises(asyncio.CancelledError, match="out of time"):
            await ask(look, browser)

    async def cancelled() -> None:
        gate.shut()
        task = asyncio.create_task(request())
        await asked(gate)
        task.cancel("out of time")
        await task
        gate.open()

    run(cancelled())
    assert _native.settle(5.0)


# spec: HTTP-3 779a
def test_one_more_than_may_wait_at_once_is_503_and_the_others_are_served(gate: far.Gate, run: Any) -> None:
    events: list[tuple[str, str | None]] = []
    on_event = lambda name, handle, cause: events.append((name, cause))  # noqa: E731
    sessions = coatroom.Sessions(gate.address, TEST_KEYS, rotate_every=None, on_event=on_event)
    browser = logged_in(sessions)
    look = CoatroomMiddleware(app_of(lambda session: session.principal), sessions)

    async def crowd() -> list[int]:
        gate.shut()
        tasks = [asyncio.create_task(ask(look, browser)) for _ in range(4096)]
        await asyncio.sleep(0)
        events.clear()
        assert await ask(look, browser) == 503
        assert events == [("not opened", "overloaded")]
        gate.open()
        return await asyncio.gather(*tasks)

    assert run(crowd()) == [200] * 4096
    assert _native.settle(5.0)


# spec: STORE-9 0682
def test_a_store_that_is_written_to_by_event_loops_alone_is_swept(postgres: str, run: Any) -> None:
    clock = ManualClock()
    sessions = coatroom.Sessions(postgres, TEST_KEYS, clock=clock, tombstone=1)
    sessions.sweep(10**6)
    add = CoatroomMiddleware(app_of(lambda session: session.add("n")), sessions)

    async def visits() -> None:
        for _ in range(300):
            assert await ask(add) == 200
            clock.advance(60)

    run(visits())
    assert _native.settle(5.0)
    assert sessions.sweep(10**6) < 150


def test_functions_of_the_application_run_on_no_thread_but_those_of_python(redis: str, run: Any) -> None:
    sessions = coatroom.Sessions(redis, TEST_KEYS)
    browser = logged_in(sessions)
    ran: list[str] = []

    def grown(value: Any) -> int:
        ran.append(threading.current_thread().name)
        return (value or 0) + 1

    add = CoatroomMiddleware(app_of(lambda session: session.update("n", grown)), sessions)

    async def requests() -> None:
        assert await asyncio.gather(*(ask(add, browser) for _ in range(8))) == [200] * 8

    run(requests())
    assert stored(sessions, browser) == {"n": 8}
    assert len(ran) > 8
    assert not [name for name in ran if "Dummy" in name]


# spec: STORE-5 5484, EVT-1 f23d
def test_a_session_that_cannot_be_opened_is_told(run: Any) -> None:
    browser = logged_in(coatroom.Sessions("memory", TEST_KEYS))
    events: list[tuple[str, str | None, str | None]] = []
    nowhere = "redis://127.0.0.1:1"
    sessions = coatroom.Sessions(nowhere, TEST_KEYS, on_event=lambda *event: events.append(event))
    assert run(ask(CoatroomMiddleware(app_of(lambda session: None), sessions), browser)) == 503
    assert events == [("not opened", None, "unavailable")]
    events.clear()
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_COOKIE": browser.header}
    WsgiMiddleware(lambda *_: [], sessions)(environ, lambda status, headers: statuses.append(status))  # type: ignore[arg-type]
    assert statuses == ["503 Service Unavailable"]
    assert events == [("not opened", None, "unavailable")]


# In processes of their own

PROGRAM = """
import atexit, os, sys
# Handlers run in reverse: nothing of the process is left once those of what is imported next have run.
if len(sys.argv) > 4: atexit.register(os._exit, 0)
import asyncio, pathlib, coatroom, uvloop
from coatroom.asgi import CoatroomMiddleware
loop_of = uvloop.new_event_loop if sys.argv[2] == "uvloop" else asyncio.new_event_loop
sessions = coatroom.Sessions(sys.argv[1], sys.argv[3], rotate_every=None)

async def app(scope, receive, send):
    scope["session"].login("program")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def request(send=None):
    sent = []
    async def keep(message): sent.append(message)
    await CoatroomMiddleware(app, sessions)({"type": "http", "method": "GET", "path": "/", "headers": []}, None, keep)
    assert sent[0]["status"] == 200, sent

def served(times=5):
    loop = loop_of()
    for _ in range(times): loop.run_until_complete(request())
    loop.close()
"""


def program(text: str, *arguments: str) -> None:
    """Runs to its end without a word."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM + text, *arguments]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if "appendonly" not in line]
    assert (done.returncode, done.stdout, lines) == (0, "", [])


@pytest.mark.parametrize("loop", LOOPS)
def test_children_of_a_process_that_has_served_start_threads_of_their_own(store: str, loop: str) -> None:
    """As under a server that loads the application before it forks its workers."""
    program(
        """
served()
loop = loop_of()
loop.run_until_complete(request())
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        served()
        names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
        os._exit(names.count("coatroom\\n") != 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
loop.run_until_complete(request())
loop.close()
sys.exit(codes != [0] * 4)
""",
        store,
        loop,
        TEST_KEYS,
    )


@pytest.mark.parametrize("loop", LOOPS)
def test_a_process_ends_quietly_with_requests_under_way_and_what_was_sent_is_written(
    redis: str, loop: str, tmp_path: Path
) -> None:
    sessions = coatroom.Sessions(redis, TEST_KEYS)
    sessions.revoke_all("program")
    ready, shut, ends = (tmp_path / name for name in ("ready", "shut", "ends"))
    with far.gated(redis) as gate, ThreadPoolExecutor(1) as pool:

        def watch() -> None:
            assert far.until(30, ready.exists)
            gate.shut(to_questions=True)
            shut.touch()
            assert far.until(30, ends.exists)
            gate.open()

        watched = pool.submit(watch)
        program(
            """
import threading
folder = pathlib.Path(sys.argv[4])
async def main():
    await request()
    for thread in threading.enumerate():
        if thread.name == "coatroom warnings": thread.join()
    (folder / "ready").touch()
    while not (folder / "shut").exists(): await asyncio.sleep(0.01)
    task = asyncio.ensure_future(request())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
loop = loop_of()
loop.run_until_complete(main())
for task in asyncio.all_tasks(loop):
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
loop.close()
atexit.register((folder / "ends").touch)
""",
            gate.address,
            loop,
            TEST_KEYS,
            str(tmp_path),
        )
        watched.result()
    assert len(sessions.devices("program")) == 2
