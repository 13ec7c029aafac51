"""Ids in headers, Clear-Site-Data, events, routes that only read, and what costs nothing, on each adapter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import coatroom
import flask
import pytest
from coatroom.asgi import CoatroomMiddleware as AsgiMiddleware
from coatroom.django import readonly as django_readonly
from coatroom.flask import Coatroom, readonly
from coatroom.testing import KEYS, ManualClock
from coatroom.wsgi import CoatroomMiddleware as WsgiMiddleware
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path as django_path
from django_project import SESSION_ONLY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client as WerkzeugClient
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

PATHS = ("read", "login", "logout", "write", "poll", "pollwrite", "untouched", "fail")


def act(session: coatroom.Session, path: str) -> str:
    if path == "/login":
        session.login("ada")
    elif path == "/logout":
        session.logout()
    elif path in ("/write", "/pollwrite"):
        return str(session.add("n"))
    elif path == "/untouched":
        return "static"
    return f"{session.principal} {session.get('n')}"


def on_flask(sessions: coatroom.Sessions) -> Any:
    app = flask.Flask(__name__)
    Coatroom(app, sessions)
    for path in PATHS:

        def view(path: str = path) -> tuple[str, int]:
            text = act(flask.session, f"/{path}")  # type: ignore[arg-type]
            return text, 500 if path == "fail" else 200

        app.add_url_rule(f"/{path}", path, readonly(view) if path.startswith("poll") else view)
    return app.test_client()


def on_wsgi(sessions: coatroom.Sessions) -> Any:
    @WerkzeugRequest.application
    def app(request: WerkzeugRequest) -> WerkzeugResponse:
        text = act(request.environ["coatroom.session"], request.path)
        return WerkzeugResponse(text, 500 if request.path == "/fail" else 200)

    return WerkzeugClient(WsgiMiddleware(app, sessions, readonly=["/poll"]))


def on_asgi(sessions: coatroom.Sessions) -> Any:
    async def view(request: Request) -> PlainTextResponse:
        text = act(request.session, request.url.path)  # type: ignore[arg-type]
        return PlainTextResponse(text, 500 if request.url.path == "/fail" else 200)

    app = Starlette(routes=[Route(f"/{path}", view) for path in PATHS])
    return TestClient(AsgiMiddleware(app, sessions, readonly=["/poll"]), base_url="https://localhost")


def on_django(sessions: coatroom.Sessions) -> Any:
    def urls() -> Iterator[Any]:
        for path in PATHS:

            def view(request: HttpRequest, path: str = path) -> HttpResponse:
                # Django's session is looked at wherever it is used.
                text = "static" if path == "untouched" else act(request.session, f"/{path}")
                return HttpResponse(text, status=500 if path == "fail" else 200)

            yield django_path(path, django_readonly(view) if path.startswith("poll") else view)

    own = {"COATROOM": {"sessions": sessions}, "ROOT_URLCONF": tuple(urls()), "MIDDLEWARE": SESSION_ONLY}

    def app(environ: Any, start_response: Any) -> Any:
        with override_settings(**own):
            return WSGIHandler()(environ, start_response)

    return WerkzeugClient(app)


def put_cookie(client: Any, name: str, value: str) -> None:
    if isinstance(client, TestClient):
        client.cookies.set(name, value)
    else:
        client.set_cookie(name, value)


Maker = Callable[[coatroom.Sessions], Any]


@pytest.fixture(params=[on_flask, on_wsgi, on_asgi, on_django], ids=["flask", "wsgi", "asgi", "django"])
def maker(request: pytest.FixtureRequest) -> Maker:
    made: Maker = request.param
    return made


class Native:
    """A client that is no browser, as ``docs/native-clients.md`` describes it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.held: dict[str, str] = {}

    def get(self, path: str, **more: str) -> Any:
        response = self.client.get(path, headers={**self.held, **more})
        for name in ("X-Session", "X-Visitor"):
            if name in response.headers:
                self.held[name] = response.headers[name]
                if not self.held[name]:
                    del self.held[name]
        return response


# spec: HEAD-1 5845
def test_a_native_client_keeps_two_headers_and_that_is_all(maker: Maker) -> None:
    sessions = coatroom.Sessions("memory", KEYS, transport="header")
    native = Native(maker(sessions))
    assert native.get("/write").text == "1"
    assert list(native.held) == ["X-Visitor"]
    response = native.get("/login")
    assert list(native.held) == ["X-Session"]
    assert "Set-Cookie" not in response.headers
    assert native.get("/read").text == "ada 1"
    vary = {name.strip() for name in native.get("/read").headers["Vary"].split(",")}
    assert vary == {"X-Session", "X-Visitor", "Authorization"}
    assert native.get("/read").headers["Cache-Control"] == "no-store"
    assert native.get("/logout").headers["X-Session"] == ""
    assert native.held == {}
    assert native.get("/read").text == "None None"


# spec: HEAD-1 5845
def test_a_bearer_token_is_the_same_id(maker: Maker) -> None:
    sessions = coatroom.Sessions("memory", KEYS, transport="header")
    client = maker(sessions)
    id_ = client.get("/login").headers["X-Session"]
    assert len(id_) == 88
    assert client.get("/read", headers={"Authorization": f"Bearer {id_}"}).text == "ada None"
    assert client.get("/read", headers={"Authorization": f"bearer {id_}"}).text == "ada None"
    assert client.get("/read", headers={"Authorization": f"Basic {id_}"}).text == "None None"
    assert client.get("/read", headers={"X-Visitor": id_}).text == "None None"
    both = {"Authorization": f"Bearer {id_}", "X-Session": id_}
    assert client.get("/read", headers=both).text == "None None", "twice counts as absent"


# spec: HEAD-1 5845
def test_a_configuration_reads_headers_or_cookies_and_never_both(maker: Maker) -> None:
    header = coatroom.Sessions("memory", KEYS, transport="header")
    client = maker(header)
    id_ = client.get("/login").headers["X-Session"]
    put_cookie(client, "__Host-id", id_)
    assert client.get("/read").text == "None None"
    cookie = maker(coatroom.Sessions("memory", KEYS))
    line = cookie.get("/login").headers["Set-Cookie"]
    id_ = line.partition("=")[2].partition(";")[0]
    other = maker(coatroom.Sessions("memory", KEYS))
    assert other.get("/read", headers={"X-Session": id_, "Authorization": f"Bearer {id_}"}).text == "None None"


@pytest.mark.parametrize("value", ["", ";", "x; __Host-id=", "a,b", "\xff\xfe", "A" * 5000, "__Host-visitor=A"])
# spec: HEAD-1 5845
def test_hostile_headers_read_as_no_session(maker: Maker, value: str) -> None:
    sessions = coatroom.Sessions("memory", KEYS, transport="header")
    client = maker(sessions)
    id_ = client.get("/login").headers["X-Session"]
    for name in ("X-Session", "X-Visitor"):
        headers = {name: value.encode("latin-1")} if isinstance(client, TestClient) else {name: value}
        assert client.get("/read", headers=headers).text == "None None"
    if "id=" in value and not isinstance(client, TestClient):
        assert client.get("/read", headers={"X-Visitor": value + id_}).text == "None None"


def test_a_logout_clears_what_the_site_left_and_nothing_else_does(maker: Maker) -> None:
    sessions = coatroom.Sessions("memory", KEYS, clear_site_data=["cache", "storage"])
    client = maker(sessions)
    for path in ("/login", "/read", "/write", "/untouched"):
        assert "Clear-Site-Data" not in client.get(path).headers
    assert client.get("/logout").headers["Clear-Site-Data"] == '"cache", "storage"'
    assert "Clear-Site-Data" not in maker(coatroom.Sessions("memory", KEYS)).get("/logout").headers


def test_a_logout_that_failed_clears_nothing(maker: Maker) -> None:
    def failing(session: coatroom.Session) -> None:
        session.logout()
        session._commit(500)

    sessions = coatroom.Sessions("memory", KEYS, clear_site_data=["cache"])
    session = sessions.open("")
    failing(session)
    assert not session._has_left


# spec: EVT-1 f23d, EVT-2 a367
def test_events_reach_the_application_by_name_and_handle(maker: Maker, clock: ManualClock) -> None:
    events: list[tuple[str, str | None, str | None]] = []
    sessions = coatroom.Sessions("memory", KEYS, clock=clock, on_event=lambda *event: events.append(event))
    client = maker(sessions)
    client.get("/write")
    client.get("/login")
    handle = sessions.devices("ada")[0].handle
    client.get("/read")
    client.get("/logout")
    named = [(name, cause) for name, at, cause in events if at == handle]
    assert named == [
        ("created", None),
        ("presented", None),
        ("logged in", None),
        ("presented", None),
        ("ended", "logout"),
    ]
    events.clear()
    client.get("/fail")
    client.get("/untouched")
    assert events == []
    put_cookie(client, "__Host-id", "junk")
    client.get("/read")
    assert events == [("junk id", None, None)]


def test_an_exception_in_a_callback_breaks_no_request(maker: Maker, caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str, handle: str | None, cause: str | None) -> None:
        raise RuntimeError(name)

    sessions = coatroom.Sessions("memory", KEYS, on_event=broken)
    client = maker(sessions)
    with caplog.at_level(logging.ERROR, "coatroom"):
        assert client.get("/login").status_code == 200
    assert client.get("/read").text == "ada None"
    assert "on_event failed" in caplog.text
    assert len(sessions.devices("ada")) == 1


def test_a_route_that_only_reads_rotates_nothing_and_refuses_to_write(maker: Maker, clock: ManualClock) -> None:
    sessions = coatroom.Sessions("memory", KEYS, clock=clock, concurrency="serial")
    client = maker(sessions)
    client.get("/login")
    client.get("/read")
    clock.advance(20 * 60)
    response = client.get("/poll")
    assert response.text == "ada None"
    assert "Set-Cookie" not in response.headers
    assert client.get("/pollwrite").status_code == 500
    assert client.get("/read").headers["Set-Cookie"].startswith("__Host-id="), "the next ordinary route rotates"
    assert client.get("/read").text == "ada None"


# spec: HTTP-4 389d
def test_a_response_that_never_looked_at_the_session_is_left_alone(maker: Maker) -> None:
    asked = client_of_a_dead_store(maker).get("/untouched")
    assert asked.text == "static"
    assert not {"Vary", "Cache-Control", "Set-Cookie"} & set(asked.headers)


def client_of_a_dead_store(maker: Maker) -> Any:
    """Whoever asks this store gets a 503: so nobody did."""
    return maker(coatroom.Sessions("redis://127.0.0.1:1", KEYS))


def test_static_files_and_skipped_paths_ask_no_store(tmp_path: Any) -> None:
    (tmp_path / "a.css").write_text("body {}")
    sessions = coatroom.Sessions("redis://127.0.0.1:1", KEYS)
    live = coatroom.Sessions("memory", KEYS).open("")
    live.login("ada")
    live._commit(200)
    cookies = live._exchange.head()[2][0].partition(";")[0]
    app = flask.Flask(__name__, static_folder=str(tmp_path), static_url_path="/static")
    Coatroom(app, sessions)
    app.add_url_rule("/", "home", lambda: str(flask.session.get("n")))
    headers = {"Cookie": cookies}
    assert app.test_client(use_cookies=False).get("/static/a.css", headers=headers).status_code == 200
    assert app.test_client(use_cookies=False).get("/", headers=headers).status_code == 503
    for wrap in (
        lambda: TestClient(AsgiMiddleware(plain_asgi, sessions, skip=["/static"]), base_url="https://localhost"),
        lambda: WerkzeugClient(WsgiMiddleware(plain_wsgi, sessions, skip=["/static"]), use_cookies=False),
    ):
        client: Any = wrap()
        assert client.get("/static/a.css", headers=headers).status_code == 200
        assert client.get("/other", headers=headers).status_code == 503


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("static")(scope, receive, send)


def plain_wsgi(environ: Any, start_response: Any) -> Any:
    return WerkzeugResponse("static")(environ, start_response)


def test_settings_that_mean_nothing_are_refused() -> None:
    for wrong in ({"transport": "url"}, {"clear_site_data": ["everything"]}):
        with pytest.raises(coatroom.ConfigError):
            coatroom.Sessions("memory", KEYS, **wrong)
