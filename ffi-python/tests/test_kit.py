"""The test kit: a hand in the session of a test client, time that stands still, randomness that repeats."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import coatroom
import flask
import pytest
from coatroom.asgi import CoatroomMiddleware
from coatroom.flask import Coatroom
from coatroom.testing import KEYS, ManualClock, session_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

Hand = Callable[[Any], AbstractContextManager[coatroom.Session]]


def flask_client(sessions: coatroom.Sessions) -> Any:
    app = flask.Flask(__name__)
    Coatroom(app, sessions)

    @app.get("/me")
    def me() -> dict[str, Any]:
        return {"principal": flask.session.principal, "n": flask.session.get("n")}  # type: ignore[attr-defined]

    @app.post("/add")
    def add() -> dict[str, Any]:
        return {"n": flask.session.add("n")}  # type: ignore[attr-defined]

    return app.test_client()


def starlette_client(sessions: coatroom.Sessions) -> Any:
    async def me(request: Request) -> JSONResponse:
        return JSONResponse({"principal": request.session.principal, "n": request.session.get("n")})  # type: ignore[attr-defined]

    async def add(request: Request) -> JSONResponse:
        return JSONResponse({"n": request.session.add("n")})  # type: ignore[attr-defined]

    app = Starlette(routes=[Route("/me", me), Route("/add", add, methods=["POST"])])
    return TestClient(CoatroomMiddleware(app, sessions), base_url="https://testserver")


@pytest.fixture(params=[flask_client, starlette_client], ids=["flask", "starlette"])
def client(request: pytest.FixtureRequest, coatroom_sessions: coatroom.Sessions) -> Any:
    return request.param(coatroom_sessions)


def document(response: Any) -> Any:
    return response.json() if callable(response.json) else response.json


def test_a_test_logs_its_client_in_and_sees_what_the_application_wrote(client: Any, coatroom_session: Hand) -> None:
    assert document(client.get("/me")) == {"principal": None, "n": None}
    with coatroom_session(client) as session:
        session.login("ada", roles=["admin"])
        session["n"] = 41
    assert document(client.get("/me")) == {"principal": "ada", "n": 41}
    assert document(client.post("/add")) == {"n": 42}
    with coatroom_session(client) as session:
        assert (session.principal, session["n"]) == ("ada", 42)
        session.logout()
    assert document(client.get("/me")) == {"principal": None, "n": None}


def test_a_visitor_that_the_application_made_is_found_and_logged_in(client: Any, coatroom_session: Hand) -> None:
    client.post("/add")
    with coatroom_session(client) as session:
        assert session["n"] == 1
        session.login("ada")
    assert document(client.post("/add")) == {"n": 2}


def test_an_exception_in_the_block_writes_nothing(client: Any, coatroom_session: Hand) -> None:
    with pytest.raises(ZeroDivisionError), coatroom_session(client) as session:  # noqa: PT012
        session.login("ada")
        _ = 1 / 0
    assert document(client.get("/me"))["principal"] is None


def test_time_stands_still_until_it_is_moved(client: Any, coatroom_session: Hand, coatroom_clock: ManualClock) -> None:
    with coatroom_session(client) as session:
        session.login("ada")
    coatroom_clock.advance(timedelta(minutes=29, seconds=59))
    assert document(client.get("/me"))["principal"] == "ada"
    coatroom_clock.advance(timedelta(minutes=30))
    assert document(client.get("/me"))["principal"] is None


def cookies_of_a_run(seed: bytes | None) -> list[str]:
    clock = ManualClock(seed=seed)
    sessions = coatroom.Sessions("memory", KEYS, clock=clock)
    lines = []
    for _ in range(2):
        session = sessions.open("")
        session.login("ada")
        session._commit(200)
        lines += session._exchange.head()[2]
    return lines


# spec: CLAIM-11 f3a7
def test_randomness_repeats_with_a_seed_and_never_without() -> None:
    assert cookies_of_a_run(b"one") == cookies_of_a_run(b"one")
    assert len({*cookies_of_a_run(b"one"), *cookies_of_a_run(b"two"), *cookies_of_a_run(None)}) == 6
    assert cookies_of_a_run(None) != cookies_of_a_run(None)


def test_a_client_without_cookies_is_refused_by_name(coatroom_sessions: coatroom.Sessions) -> None:
    with pytest.raises(TypeError, match="object is no test client"), session_of(object(), coatroom_sessions):
        pass
