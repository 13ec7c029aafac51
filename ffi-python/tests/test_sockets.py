"""WebSockets are closed when their session is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coatroom
import far
import litestar
import pytest
from coatroom import _sockets
from coatroom.asgi import CoatroomMiddleware
from coatroom.fastapi import CurrentSession
from coatroom.litestar import CoatroomPlugin
from coatroom.testing import ManualClock
from conftest import TEST_KEYS, Browser
from fastapi import FastAPI
from fastapi import WebSocket as FastApiSocket
from litestar.exceptions import WebSocketDisconnect as LitestarDisconnect
from litestar.testing import TestClient as LitestarClient
from own_stores import AsyncDict, Dict
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'sessions.db'}"


@pytest.fixture
def sessions(store: str, clock: ManualClock) -> coatroom.Sessions:
    return coatroom.Sessions(store, TEST_KEYS, clock=clock)


@pytest.fixture
def elsewhere(store: str, clock: ManualClock) -> coatroom.Sessions:
    """The same sessions in what stands for another process."""
    return coatroom.Sessions(store, TEST_KEYS, clock=clock)


def committed(sessions: coatroom.Sessions, browser: Browser, work: Callable[[coatroom.Session], object]) -> None:
    session = sessions.open(browser.header)
    work(session)
    session._commit(200)
    browser.take(session._exchange.head()[2])


@pytest.fixture
def ada(sessions: coatroom.Sessions, browser: Browser) -> Browser:
    committed(sessions, browser, lambda session: session.login("ada"))
    return browser


def starlette_client(sessions: coatroom.Sessions) -> Any:
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    app = Starlette(routes=[WebSocketRoute("/socket", echo)])
    app.add_middleware(CoatroomMiddleware, sessions=sessions)
    return TestClient(app)


def fastapi_client(sessions: coatroom.Sessions) -> Any:
    app = FastAPI()
    app.add_middleware(CoatroomMiddleware, sessions=sessions)

    @app.websocket("/socket")
    async def echo(socket: FastApiSocket, session: CurrentSession) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    return TestClient(app)


def litestar_client(sessions: coatroom.Sessions) -> Any:
    @litestar.websocket("/socket")
    async def echo(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        async for text in socket.iter_data("text"):
            await socket.send_text(text)

    return LitestarClient(litestar.Litestar([echo], plugins=[CoatroomPlugin(sessions)]))


CLIENTS = {"starlette": starlette_client, "fastapi": fastapi_client, "litestar": litestar_client}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, sessions: coatroom.Sessions) -> Iterator[Any]:
    with CLIENTS[request.param](sessions) as client:
        yield client


@contextmanager
def connected(client: Any, browser: Browser) -> Iterator[Any]:
    with client.websocket_connect("wss://shop.local/socket", headers={"Cookie": browser.header}) as socket:
        assert echoes(socket)
        yield socket


def echoes(socket: Any) -> bool:
    socket.send_text("hello")
    return bool(socket.receive_text() == "hello")


def close_code(socket: Any) -> int:
    """With which code the server closes."""
    with pytest.raises((WebSocketDisconnect, LitestarDisconnect)) as caught:
        socket.receive_text()
    error = caught.value
    assert isinstance(error, (WebSocketDisconnect, LitestarDisconnect))
    return int(error.code)


# spec: EVT-1 f23d
def test_a_logout_by_the_same_process_closes_its_sockets_at_once_and_no_others(
    client: Any, sessions: coatroom.Sessions, ada: Browser
) -> None:
    bob = Browser()
    committed(sessions, bob, lambda session: session.login("bob"))
    with connected(client, bob) as other, connected(client, ada) as one, connected(client, ada) as two:
        committed(sessions, ada, lambda session: session.logout())
        assert [close_code(one), close_code(two)] == [4401, 4401]
        assert echoes(other)


@pytest.mark.parametrize(
    "end",
    [
        lambda sessions: sessions.revoke("ada", sessions.devices("ada")[0].handle),
        lambda sessions: sessions.revoke_all("ada"),
        lambda sessions: sessions.revoke_everything(),
    ],
)
def test_a_revocation_by_the_same_process_closes_sockets_at_once(
    client: Any, sessions: coatroom.Sessions, ada: Browser, end: Any
) -> None:
    with connected(client, ada) as socket:
        end(sessions)
        assert close_code(socket) == 4401


@pytest.mark.parametrize("store", [Dict(), AsyncDict()], ids=["sync", "async"])
def test_a_socket_over_a_store_of_ones_own_is_closed_too(store: Any, clock: ManualClock, browser: Browser) -> None:
    sessions = coatroom.Sessions(store, TEST_KEYS, clock=clock)
    committed(sessions, browser, lambda session: session.login("ada"))
    with starlette_client(sessions) as client, connected(client, browser) as socket:
        committed(sessions, browser, lambda session: session.logout())
        assert close_code(socket) == 4401


def test_a_user_who_ends_other_sessions_closes_their_sockets_at_once(
    client: Any, sessions: coatroom.Sessions, ada: Browser
) -> None:
    here = Browser()
    committed(sessions, here, lambda session: session.login("ada"))
    with connected(client, here) as kept, connected(client, ada) as socket:
        committed(sessions, here, lambda session: session.revoke_others())
        assert close_code(socket) == 4401
        assert echoes(kept)


def test_a_revocation_elsewhere_closes_sockets_within_the_stated_time(
    client: Any, elsewhere: coatroom.Sessions, ada: Browser, clock: ManualClock
) -> None:
    with connected(client, ada) as socket:
        elsewhere.revoke_all("ada")
        clock.advance(29)
        assert echoes(socket)
        clock.advance(1)
        assert close_code(socket) == 4401


def test_a_session_that_expires_closes_its_sockets_and_one_that_lives_is_looked_at_again(
    client: Any, ada: Browser, clock: ManualClock
) -> None:
    with connected(client, ada) as socket:
        for _ in range(3):
            clock.advance(30)
            assert echoes(socket)
        clock.advance(1800)
        assert close_code(socket) == 4401


def test_a_login_closes_the_sockets_of_the_visitor_who_logged_in(
    client: Any, sessions: coatroom.Sessions, browser: Browser
) -> None:
    committed(sessions, browser, lambda session: session.update(cart=1))
    with connected(client, browser) as socket:
        committed(sessions, browser, lambda session: session.login("ada"))
        assert close_code(socket) == 4401


# Without a framework


def plain(sessions: coatroom.Sessions, **options: Any) -> CoatroomMiddleware:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await scope["line"].app(receive, send)

    return CoatroomMiddleware(app, sessions, **options)


class Line:
    """Both ends of a WebSocket."""

    def __init__(self, app: CoatroomMiddleware, browser: Browser) -> None:
        self.sent: list[dict[str, Any]] = []
        self.got: list[dict[str, Any]] = []
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.errors: list[BaseException] = []
        headers = [(b"cookie", browser.header.encode())]
        scope = {"type": "websocket", "path": "/", "headers": headers, "line": self}
        self.task = asyncio.create_task(app(scope, self.incoming.get, self.send))

    async def app(self, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while not self.got or self.got[-1]["type"] != "websocket.disconnect":
            self.got.append(await receive())
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            self.errors.append(error)
        await send({"type": "websocket.close", "code": 1000})

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def settled(self) -> None:
        """Until everything that can go on has gone on."""
        for _ in range(20):
            await asyncio.sleep(0)


CLOSED = {"type": "websocket.close", "code": 4401, "reason": "session ended"}


def test_after_the_end_nothing_passes_in_either_direction(sessions: coatroom.Sessions, ada: Browser) -> None:
    async def main() -> None:
        line = Line(plain(sessions), ada)
        await line.settled()
        sessions.revoke_all("ada")
        await line.settled()
        assert line.sent == [{"type": "websocket.accept"}, CLOSED]
        line.incoming.put_nowait({"type": "websocket.receive", "text": "from who was revoked"})
        await line.task
        assert line.got == [{"type": "websocket.disconnect", "code": 4401, "reason": "session ended"}]
        assert line.sent[-1] == CLOSED
        assert len(line.errors) == 1

    asyncio.run(asyncio.wait_for(main(), 20))


def test_sockets_of_one_session_share_one_look_and_closed_ones_cost_none(
    sessions: coatroom.Sessions, ada: Browser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[list[str]] = []
    standing = _sockets._Watch.standing

    async def counted(self: Any, handles: list[str]) -> Any:
        looks.append(handles)
        return await standing(self, handles)

    monkeypatch.setattr(_sockets._Watch, "standing", counted)

    async def main() -> None:
        app = plain(sessions)
        lines = [Line(app, ada) for _ in range(3)]
        await lines[0].settled()
        clock.advance(30)
        await lines[0].settled()
        (device,) = sessions.devices("ada")
        assert looks == [[device.handle]]
        for line in lines:
            line.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
            await line.task
        clock.advance(30)
        await lines[0].settled()
        assert len(looks) == 1
        assert clock._alarms == []

    asyncio.run(asyncio.wait_for(main(), 20))


def test_nobody_looks_where_it_is_switched_off(sessions: coatroom.Sessions, ada: Browser, clock: ManualClock) -> None:
    async def main() -> None:
        line = Line(plain(sessions, recheck=0), ada)
        await line.settled()
        sessions.revoke_all("ada")
        clock.advance(86400)
        await line.settled()
        assert line.sent == [{"type": "websocket.accept"}]
        line.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await line.task

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_far_store_is_looked_at_too_and_one_that_cannot_answer_closes_nothing(
    clock: ManualClock, tmp_path: Path, browser: Browser
) -> None:
    async def main(gate: far.Gate, elsewhere: coatroom.Sessions) -> None:
        sessions = coatroom.Sessions(gate.address, TEST_KEYS, clock=clock)
        committed(sessions, browser, lambda session: session.login("ada"))
        line = Line(plain(sessions), browser)
        while not line.sent:
            await asyncio.sleep(0)
        elsewhere.revoke_all("ada")
        watch = next(iter(next(iter(sessions._sockets))._watches.values()))

        async def looked() -> None:
            clock.advance(30)
            await line.settled()
            while watch.is_looking:
                await asyncio.sleep(0.01)
            await line.settled()

        gate.shut()
        await looked()
        assert line.sent == [{"type": "websocket.accept"}]
        gate.open()
        for _ in range(100):
            if len(line.sent) == 1:
                await looked()
        assert line.sent == [{"type": "websocket.accept"}, CLOSED]
        line.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await line.task

    with far.servers().redis(tmp_path) as redis, far.gated(redis) as gate:
        asyncio.run(asyncio.wait_for(main(gate, coatroom.Sessions(redis, TEST_KEYS, clock=clock)), 20))
