"""Roles, freshness and levels: in the session, as decorators of Flask, dependencies of Starlette and FastAPI, and as
guards of Litestar."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import coatroom
import flask
import litestar
import pytest
from coatroom import guards
from coatroom import litestar as litestar_guards
from coatroom.asgi import CoatroomMiddleware
from coatroom.flask import Coatroom, csrf_exempt, require_fresh, require_level, require_login, require_role
from coatroom.testing import ManualClock, session_of
from litestar.testing import TestClient as LitestarClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

Work = Callable[[coatroom.Session], Any]


def flask_client(sessions: coatroom.Sessions) -> Any:
    app = flask.Flask(__name__)
    Coatroom(app, sessions)
    for name, guard in {
        "login": require_login,
        "role": require_role("admin"),
        "fresh": require_fresh(5),
        "level": require_level(2),
    }.items():
        app.add_url_rule(f"/{name}", name, guard(lambda: {"ok": True}))
    return app.test_client()


def starlette_client(sessions: coatroom.Sessions) -> Any:
    def route(name: str, guard: guards.Guard) -> Route:
        async def endpoint(request: Request) -> JSONResponse:
            session = await guard(request)
            return JSONResponse({"ok": session is request.session})

        return Route(f"/{name}", endpoint)

    app = Starlette(
        routes=[
            route("login", guards.require_login),
            route("role", guards.require_role("admin")),
            route("fresh", guards.require_fresh(5)),
            route("level", guards.require_level(2)),
        ]
    )
    app.add_middleware(CoatroomMiddleware, sessions=sessions)
    return TestClient(app, base_url="https://testserver")


def litestar_client(sessions: coatroom.Sessions) -> Any:
    def route(name: str, guard: litestar_guards.Guard) -> Any:
        @litestar.get(f"/{name}", guards=[guard])
        async def endpoint(request: litestar.Request[Any, Any, Any]) -> dict[str, bool]:
            return {"ok": request.auth is request.session}

        return endpoint

    async def retrieve_user(name: str) -> str:
        return f"the user {name}"

    @litestar.get("/user")
    async def user(request: litestar.Request[Any, Any, Any]) -> dict[str, Any]:
        return {"user": request.user}

    routes = [
        route("login", litestar_guards.require_login),
        route("role", litestar_guards.require_role("admin")),
        route("fresh", litestar_guards.require_fresh(5)),
        route("level", litestar_guards.require_level(2)),
        user,
    ]
    plugin = litestar_guards.CoatroomPlugin(sessions, retrieve_user=retrieve_user)
    return LitestarClient(litestar.Litestar(routes, plugins=[plugin]), base_url="https://shop.local")


def test_litestar_knows_the_user_of_a_request(coatroom_sessions: coatroom.Sessions) -> None:
    client = litestar_client(coatroom_sessions)
    assert client.get("/user").json() == {"user": None}
    with session_of(client, coatroom_sessions) as session:
        session.login("ada")
    assert client.get("/user").json() == {"user": "the user ada"}


@pytest.fixture(params=[flask_client, starlette_client, litestar_client], ids=["flask", "starlette", "litestar"])
def ask(request: pytest.FixtureRequest, coatroom_sessions: coatroom.Sessions) -> Callable[[str], tuple[int, str]]:
    client = request.param(coatroom_sessions)

    def ask(path: str, work: Work | None = None) -> tuple[int, str]:
        if work is not None:
            with session_of(client, coatroom_sessions) as session:
                work(session)
        response = client.get(path)
        body = json.loads(response.text)
        return response.status_code, body.get("error", "")

    return ask


Ask = Callable[..., tuple[int, str]]


# spec: LOGIN-9 c39d, FRESH-1 a65a
def test_nobody_gets_nowhere(ask: Ask) -> None:
    for path in ("/login", "/role", "/fresh", "/level"):
        assert ask(path) == (401, "unauthenticated")


# spec: LOGIN-9 c39d
def test_a_role_is_had_or_not(ask: Ask) -> None:
    assert ask("/role", lambda session: session.login("ben", ["clerk"])) == (403, "forbidden")
    assert ask("/login") == (200, "")
    assert ask("/role", lambda session: session.login("ada", ["clerk", "admin"])) == (200, "")


# spec: FRESH-1 a65a
def test_a_login_is_fresh_for_so_many_minutes_and_again_after_proof(ask: Ask, coatroom_clock: ManualClock) -> None:
    assert ask("/fresh", lambda session: session.login("ada")) == (200, "")
    coatroom_clock.advance(5 * 60)
    assert ask("/fresh") == (200, "")
    coatroom_clock.advance(0.001)
    assert ask("/fresh") == (401, "not-fresh")
    assert ask("/fresh", lambda session: session.elevate(1)) == (200, "")
    coatroom_clock.advance(301)
    assert ask("/fresh", lambda session: session.rotate()) == (401, "not-fresh")
    assert ask("/fresh", lambda session: session.login("ada")) == (200, "")


# spec: FRESH-1 a65a
def test_a_remembered_login_is_never_fresh(ask: Ask) -> None:
    assert ask("/fresh", lambda session: session.login("ada", level=0)) == (401, "not-fresh")
    assert ask("/login") == (200, "")
    assert ask("/fresh", lambda session: session.login("ada")) == (200, "")


# spec: FRESH-1 a65a
def test_a_level_is_reached_by_one_more_factor(ask: Ask) -> None:
    assert ask("/level", lambda session: session.login("ada")) == (401, "level-too-low")
    assert ask("/level", lambda session: session.elevate(2)) == (200, "")
    assert ask("/level", lambda session: session.elevate(3)) == (200, "")


def test_a_clock_that_went_back_makes_nothing_stale(coatroom_sessions: coatroom.Sessions) -> None:
    session = coatroom_sessions.open("")
    session.login("ada")
    session.require_fresh(0)


def test_an_asynchronous_view_is_guarded_too_and_marks_are_kept() -> None:
    @csrf_exempt
    @require_login
    async def view() -> str:
        return "in"

    guarded = require_role("admin")(view)
    assert getattr(guarded, "coatroom_csrf_exempt", False)
    assert inspect.iscoroutinefunction(guarded)
