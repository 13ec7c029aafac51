"""FastAPI, Litestar and Starlette, each asked through its own test client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coatroom
import litestar
import pytest
from coatroom.asgi import CoatroomMiddleware
from coatroom.fastapi import CurrentPrincipal, CurrentSession
from coatroom.litestar import CoatroomPlugin, session_of
from coatroom.testing import ManualClock
from conftest import TEST_KEYS
from fastapi import FastAPI, WebSocket
from litestar.params import FromQuery
from litestar.testing import TestClient as LitestarClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

HTTPS = "https://shop.local"


def fastapi_client(sessions: coatroom.Sessions) -> Any:
    app = FastAPI()
    app.add_middleware(CoatroomMiddleware, sessions=sessions)

    @app.get("/me")
    async def me(session: CurrentSession) -> dict[str, Any]:
        return {"user": session.principal, "data": dict(session)}

    @app.post("/set")
    def set_(session: CurrentSession, value: int) -> None:
        session["key"] = value

    @app.post("/login")
    async def login(session: CurrentSession, user: str) -> None:
        session.login(user)

    @app.post("/logout")
    async def logout(session: CurrentSession) -> None:
        session.logout()

    @app.get("/profile")
    async def profile(user: CurrentPrincipal) -> str:
        return user

    @app.get("/admin")
    async def admin(session: CurrentSession) -> None:
        session["key"] = -1
        session.require_role("admin")

    @app.get("/raises")
    async def raises(session: CurrentSession) -> None:
        session["key"] = -1
        raise RuntimeError

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, session: CurrentSession) -> None:
        await websocket.accept()
        await websocket.send_text(str(session.principal))
        await websocket.close()

    return TestClient(app, base_url=HTTPS, raise_server_exceptions=False)


def litestar_client(sessions: coatroom.Sessions) -> Any:
    @litestar.get("/me")
    async def me(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        session = session_of(request)
        return {"user": session.principal, "data": dict(session)}

    @litestar.post("/set", sync_to_thread=True)
    def set_(request: litestar.Request[Any, Any, Any], value: FromQuery[int]) -> None:
        request.session["key"] = value

    @litestar.post("/login")
    async def login(request: litestar.Request[Any, Any, Any], user: FromQuery[str]) -> None:
        session_of(request).login(user)

    @litestar.post("/logout")
    async def logout(request: litestar.Request[Any, Any, Any]) -> None:
        request.clear_session()

    @litestar.post("/replace")
    async def replace(request: litestar.Request[Any, Any, Any], value: FromQuery[int]) -> None:
        request.set_session({"only": value})

    @litestar.get("/profile")
    async def profile(request: litestar.Request[Any, Any, Any]) -> str:
        session = session_of(request)
        if session.principal is None:
            raise coatroom.Unauthenticated("nobody is logged in")
        return session.principal

    @litestar.get("/admin")
    async def admin(request: litestar.Request[Any, Any, Any]) -> None:
        request.session["key"] = -1
        session_of(request).require_role("admin")

    @litestar.get("/raises")
    async def raises(request: litestar.Request[Any, Any, Any]) -> None:
        request.session["key"] = -1
        raise RuntimeError

    @litestar.websocket("/socket")
    async def socket(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(str(session_of(socket).principal))
        await socket.close()

    handlers = [me, set_, login, logout, replace, profile, admin, raises, socket]
    app = litestar.Litestar(handlers, plugins=[CoatroomPlugin(sessions)])
    return LitestarClient(app, base_url=HTTPS, raise_server_exceptions=False)


def starlette_client(sessions: coatroom.Sessions) -> Any:
    def session_of(request: Request) -> coatroom.Session:
        return request.session  # type: ignore[return-value]

    async def me(request: Request) -> JSONResponse:
        session = session_of(request)
        return JSONResponse({"user": session.principal, "data": dict(session)})

    async def set_(request: Request) -> JSONResponse:
        request.session.update({"key": int(request.query_params["value"])})
        return JSONResponse(dict(request.session))

    async def clear(request: Request) -> JSONResponse:
        request.session.clear()
        return JSONResponse(dict(request.session))

    routes = [Route("/me", me), Route("/set", set_, methods=["POST"]), Route("/clear", clear, methods=["POST"])]
    app = Starlette(routes=routes)
    app.add_middleware(CoatroomMiddleware, sessions=sessions)
    return TestClient(app, base_url=HTTPS)


CLIENTS: dict[str, Callable[[coatroom.Sessions], Any]] = {"fastapi": fastapi_client, "litestar": litestar_client}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, sessions: coatroom.Sessions) -> Any:
    return CLIENTS[request.param](sessions)


NOBODY: dict[str, Any] = {"user": None, "data": {}}


def cookies(client: Any) -> str:
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


def anonymous(client: Any, header: str) -> Any:
    """What a thief finds."""
    own = dict(client.cookies.items())
    client.cookies.clear()
    answer = client.get("/me", headers={"Cookie": header}).json()
    client.cookies.update(own)
    return answer


def test_a_life_of_a_session(client: Any, sessions: coatroom.Sessions) -> None:
    assert client.get("/me").json() == NOBODY
    client.post("/set?value=7")
    planted = cookies(client)
    client.post("/login?user=ada")
    assert client.get("/me").json() == {"user": "ada", "data": {"key": 7}}
    assert anonymous(client, planted) == NOBODY
    stolen = cookies(client)
    client.post("/logout")
    assert client.get("/me").json() == anonymous(client, stolen) == NOBODY
    assert sessions.devices("ada") == []


def test_who_is_not_logged_in_is_401_and_who_may_not_is_403_and_nothing_is_written(client: Any) -> None:
    for path in ("/profile", "/admin"):
        reply = client.get(path)
        assert (reply.status_code, reply.json()["error"]) == (401, "unauthenticated")
    client.post("/login?user=ada")
    assert client.get("/profile").text.strip('"') == "ada"
    assert client.get("/admin").status_code == 403
    assert client.get("/me").json() == {"user": "ada", "data": {}}


def test_a_handler_that_raises_writes_nothing(client: Any) -> None:
    client.post("/login?user=ada")
    assert client.get("/raises").status_code == 500
    assert client.get("/me").json() == {"user": "ada", "data": {}}


def test_a_store_that_cannot_answer_is_503(tmp_path: Any) -> None:
    for name, make in CLIENTS.items():
        database = tmp_path / f"{name}.db"
        client = make(coatroom.Sessions(f"sqlite:{database}", TEST_KEYS))
        database.write_bytes(b"this is no database. " * 100)
        reply = client.post("/login?user=ada")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1"), name


def test_a_socket_has_the_session_of_its_handshake(client: Any) -> None:
    client.post("/login?user=ada")
    with client.websocket_connect("wss://shop.local/socket") as socket:
        assert socket.receive_text() == "ada"


def test_fastapi_says_so_when_the_middleware_is_missing() -> None:
    app = FastAPI()

    @app.get("/")
    async def home(session: CurrentSession) -> None: ...

    with pytest.raises(RuntimeError, match="add CoatroomMiddleware"):
        TestClient(app).get("/")


def test_fastapis_schema_knows_nothing_of_the_session(sessions: coatroom.Sessions) -> None:
    schema = fastapi_client(sessions).get("/openapi.json").json()
    assert "parameters" not in schema["paths"]["/me"]["get"]


def test_litestars_set_session_replaces_what_the_session_holds(sessions: coatroom.Sessions) -> None:
    client = litestar_client(sessions)
    client.post("/set?value=7")
    client.post("/replace?value=8")
    assert client.get("/me").json() == {"user": None, "data": {"only": 8}}


# What Starlette's tests ask of its own middleware. Where the answer differs, the name says so; docs/django.md says why.


def test_starlette_sets_reads_and_clears(sessions: coatroom.Sessions) -> None:
    client = starlette_client(sessions)
    assert client.get("/me").json() == NOBODY
    assert client.post("/set?value=1").json() == {"key": 1}
    assert client.get("/me").json()["data"] == {"key": 1}
    assert client.post("/clear").json() == {}
    assert client.get("/me").json() == NOBODY


def test_starlette_a_session_expires_on_the_server(clock: ManualClock, sessions: coatroom.Sessions) -> None:
    client = starlette_client(sessions)
    client.post("/set?value=1")
    clock.advance(1801)
    assert client.get("/me").json() == NOBODY


def test_starlette_it_differs_that_a_cookie_is_always_secure_and_nothing_is_set_twice(
    sessions: coatroom.Sessions,
) -> None:
    client = starlette_client(sessions)
    line = client.post("/set?value=1").headers["set-cookie"]
    assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert "set-cookie" not in client.get("/me").headers
    plain = TestClient(client.app, base_url="http://shop.local")
    plain.post("/set?value=1")
    assert plain.get("/me").json() == NOBODY


def test_starlette_what_is_no_id_is_nobody(sessions: coatroom.Sessions) -> None:
    client = starlette_client(sessions)
    client.cookies.set("__Host-visitor", "invalid")
    assert client.get("/me").json() == NOBODY


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"path": "/second"}, "Path=/second"),
        ({"domain": "example.com"}, "Domain=example.com"),
        ({"max_age": 3600}, "Max-Age=3600"),
        ({"same_site": "strict"}, "SameSite=Strict"),
    ],
)
def test_starlette_the_cookie_says_what_was_configured(setting: dict[str, Any], expected: str) -> None:
    line = (
        starlette_client(coatroom.Sessions("memory", TEST_KEYS, **setting)).post("/set?value=1").headers["set-cookie"]
    )
    assert expected in line
