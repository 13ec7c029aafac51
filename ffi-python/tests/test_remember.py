"""Remembered logins: what outlives a session, what it may do, and how a copy of it is noticed, on each adapter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import coatroom
import flask
import pytest
from coatroom.asgi import CoatroomMiddleware as AsgiMiddleware
from coatroom.flask import Coatroom
from coatroom.remember import PREFIX, Remember, derived
from coatroom.testing import KEYS, ManualClock
from coatroom.wsgi import CoatroomMiddleware as WsgiMiddleware
from conftest import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client as WerkzeugClient
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

PATHS = ("me", "login", "plainlogin", "bob", "logout", "everywhere", "fresh", "prolong", "fail", "switch")
COOKIE = "__Host-remember"


def act(session: coatroom.Session, path: str) -> str:
    if path == "/login":
        session.login("ada", ["reader"], level=1)
        session.remember()
    elif path == "/plainlogin":
        session.login("ada")
    elif path == "/bob":
        session.login("bob")
    elif path == "/switch":
        session.login("ada")
        session.remember()
        session.login("bob")
    elif path == "/logout":
        session.logout()
    elif path == "/everywhere":
        session.revoke_all()
        session.logout()
    elif path == "/fresh":
        session.require_fresh(60)
    elif path == "/prolong":
        session.remember()
    return f"{session.principal} {','.join(sorted(session.roles))} {session.level}"


def on_flask(sessions: coatroom.Sessions) -> Any:
    app = flask.Flask(__name__)
    Coatroom(app, sessions)
    for path in PATHS:

        def view(path: str = path) -> tuple[str, int]:
            text = act(flask.session, f"/{path}")  # type: ignore[arg-type]
            return text, 500 if path == "fail" else 200

        app.add_url_rule(f"/{path}", path, view, methods=["GET", "POST"])
    return app.test_client(use_cookies=False)


def on_wsgi(sessions: coatroom.Sessions) -> Any:
    @WerkzeugRequest.application
    def app(request: WerkzeugRequest) -> WerkzeugResponse:
        text = act(request.environ["coatroom.session"], request.path)
        return WerkzeugResponse(text, 500 if request.path == "/fail" else 200)

    return WerkzeugClient(WsgiMiddleware(app, sessions), use_cookies=False)


def on_asgi(sessions: coatroom.Sessions) -> Any:
    async def view(request: Request) -> PlainTextResponse:
        text = act(request.session, request.url.path)  # type: ignore[arg-type]
        return PlainTextResponse(text, 500 if request.url.path == "/fail" else 200)

    app = Starlette(routes=[Route(f"/{path}", view, methods=["GET", "POST"]) for path in PATHS])
    app.add_middleware(AsgiMiddleware, sessions=sessions)
    return TestClient(app, base_url="https://localhost")


class Site:
    """An application and a browser at it whose cookies a test can see, lose and copy."""

    def __init__(self, maker: Callable[[coatroom.Sessions], Any], store: str, **settings: Any) -> None:
        self.clock = ManualClock()
        self.events: list[str] = []
        self.roles: dict[str, list[str] | None] = {"ada": ["reader"], "bob": []}
        self.sessions = coatroom.Sessions(
            store,
            KEYS,
            clock=self.clock,
            remember=Remember(lambda name: self.roles[name]),
            on_event=lambda name, handle, cause: self.events.append(name),
            **settings,
        )
        self.client = maker(self.sessions)
        self.browser = Browser()

    def get(self, path: str, browser: Browser | None = None, method: str = "get") -> Any:
        browser = browser or self.browser
        headers = {"Cookie": browser.header} if browser.cookies else {}
        if isinstance(self.client, TestClient):
            self.client.cookies.clear()
        response = getattr(self.client, method)(path, headers=headers)
        get_list = getattr(response.headers, "get_list", None) or response.headers.getlist
        browser.take(get_list("Set-Cookie"))
        return response

    def next_day(self) -> None:
        """The session is over by then; the credential is not."""
        self.clock.advance(timedelta(days=1))


@pytest.fixture(params=[on_flask, on_wsgi, on_asgi], ids=["flask", "wsgi", "asgi"])
def maker(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def site(maker: Any, tmp_path: Path) -> Site:
    return Site(maker, f"sqlite:{tmp_path}/sessions.db")


# spec: REM-1 bbac, REM-3 3625
def test_a_remembered_login_is_there_the_next_day_and_is_a_weak_one(site: Site) -> None:
    assert site.get("/login").text == "ada reader 1"
    assert set(site.browser.cookies) == {"__Host-id", COOKIE}
    site.next_day()
    assert site.get("/me").text == "ada reader 0"
    assert site.get("/me").text == "ada reader 0"
    refused = site.get("/fresh")
    assert (refused.status_code, "not-fresh" in refused.text) == (401, True)
    assert "not-fresh" in site.get("/prolong").text


# spec: REM-1 bbac
def test_nobody_is_remembered_who_did_not_ask(site: Site) -> None:
    site.get("/plainlogin")
    assert COOKIE not in site.browser.cookies
    site.next_day()
    assert site.get("/me").text == "None  None"


# spec: REM-2 698a
def test_a_credential_is_replaced_when_it_was_used_and_ends_when_its_days_are_over(site: Site) -> None:
    site.get("/login")
    seen = {site.browser.cookies[COOKIE]}
    for day in range(2, 31):
        site.next_day()
        assert site.get("/me").text.startswith("ada"), day
        seen.add(site.browser.cookies[COOKIE])
    assert len(seen) == 15, "every second use: one shows the new credential, the next replaces it"
    site.clock.advance(timedelta(days=1, hours=1))
    assert site.get("/me").text == "None  None", "no use prolongs it"


# spec: REM-1 bbac
def test_a_credential_is_no_session_and_a_session_no_credential(site: Site) -> None:
    site.get("/login")
    login, credential = site.browser.cookies["__Host-id"], site.browser.cookies[COOKIE]
    stolen = Browser()
    stolen.cookies = {"__Host-id": credential}
    assert site.get("/me", stolen).text == "None  None"
    stolen.cookies = {COOKIE: login}
    assert site.get("/me", stolen).text == "None  None"
    assert len(site.sessions.devices("ada")) == 1
    assert set(derived(KEYS).split(",")).isdisjoint(KEYS.split(","))


# spec: REM-3 3625
def test_a_copy_ends_everything_of_its_owner_once_both_were_used(site: Site) -> None:
    site.get("/login")
    site.next_day()
    site.get("/me")
    thief = Browser()
    thief.cookies = {COOKIE: site.browser.cookies[COOKIE]}
    for _ in range(2):
        site.next_day()
        assert site.get("/me").text.startswith("ada")
    site.clock.advance(31)
    assert site.get("/me", thief).text == "None  None"
    assert "remembered reuse" in site.events
    assert site.get("/me").text == "None  None", "the session, which may be the thief's, is over too"
    site.next_day()
    assert site.get("/me").text == "None  None"


# spec: REM-4 55b3
def test_a_logout_forgets(site: Site) -> None:
    site.get("/login")
    copy = Browser()
    copy.cookies = dict(site.browser.cookies)
    left = site.get("/logout")
    assert left.text.startswith("None")
    assert "unused" not in str(left.headers), "the name that nothing travels under"
    assert site.browser.cookies == {}
    assert site.get("/me", copy).text == "None  None"
    site.next_day()
    assert site.get("/me", copy).text == "None  None"


# spec: REM-4 55b3
def test_ending_all_sessions_forgets_everywhere(site: Site) -> None:
    elsewhere = Browser()
    site.get("/login", elsewhere)
    site.get("/login")
    site.get("/everywhere")
    site.next_day()
    assert site.get("/me", elsewhere).text == "None  None"
    site.get("/login", elsewhere)
    site.sessions.revoke_all("ada")
    assert site.get("/me", elsewhere).text == "None  None"


# spec: REM-4 55b3
@pytest.mark.parametrize("store", ["memory", "sqlite:{}/sessions.db"], ids=["memory", "sqlite"])
def test_ending_everything_forgets_everybody_and_counts_sessions_and_credentials(store: str, tmp_path: Path) -> None:
    site = Site(on_wsgi, store.format(tmp_path))
    site.get("/login")
    site.get("/plainlogin", Browser())
    assert site.sessions.revoke_everything() == 3
    assert site.get("/me").text == "None  None"


# spec: REM-4 55b3
def test_somebody_elses_login_ends_the_credential_and_ones_own_keeps_it(site: Site) -> None:
    site.get("/login")
    site.get("/plainlogin")
    site.next_day()
    assert site.get("/me").text.startswith("ada")
    site.get("/bob")
    assert COOKIE not in site.browser.cookies
    site.next_day()
    assert site.get("/me").text == "None  None"


def test_a_credential_for_the_login_before_somebody_elses_is_not_made(site: Site) -> None:
    assert site.get("/switch").text == "bob  1"
    assert COOKIE not in site.browser.cookies


# spec: REM-3 3625
def test_who_may_not_log_in_any_more_is_not_remembered(site: Site) -> None:
    site.get("/login")
    site.roles["ada"] = ["reader", "editor"]
    site.next_day()
    assert site.get("/me").text == "ada editor,reader 0"
    site.roles["ada"] = None
    site.next_day()
    assert site.get("/me").text == "None  None"
    assert COOKIE not in site.browser.cookies


# spec: REM-2 698a
def test_tabs_that_open_together_are_all_remembered_and_lost_answers_cost_nothing(site: Site) -> None:
    site.get("/login")
    site.next_day()
    site.get("/me")
    site.next_day()
    tabs = [Browser() for _ in range(3)]
    for tab in tabs:
        tab.cookies = {COOKIE: site.browser.cookies[COOKIE]}
        assert site.get("/me", tab).text == "ada reader 0"
    assert len({tab.cookies[COOKIE] for tab in tabs}) == 1
    site.clock.advance(timedelta(days=2))
    assert site.get("/me").text == "ada reader 0", "none of the answers reached this browser"


# spec: REM-3 3625
def test_a_request_that_changes_something_does_not_log_in(site: Site) -> None:
    site.get("/login")
    site.next_day()
    assert site.get("/me", method="post").text == "None  None"
    assert site.get("/me").text.startswith("ada")


def test_an_error_page_logs_nobody_in_and_loses_nothing(site: Site) -> None:
    site.get("/login")
    site.next_day()
    site.get("/fail")
    assert len(site.sessions.devices("ada")) == 0
    assert site.get("/me").text == "ada reader 0"


def test_nobody_is_renamed_to_the_empty_name(tmp_path: Path) -> None:
    site = Site(on_wsgi, f"sqlite:{tmp_path}/sessions.db")
    site.get("/login")
    with pytest.raises(coatroom.CoatroomError, match="empty"):
        site.sessions.rename_principal("ada", "")
    assert len(site.sessions.devices(PREFIX + "ada")) == 1


def test_credentials_are_no_devices_and_take_no_place(maker: Any, tmp_path: Path) -> None:
    site = Site(maker, f"sqlite:{tmp_path}/sessions.db", limit=("refuse", 1))
    assert site.get("/login").status_code == 200
    assert len(site.sessions.devices("ada")) == 1
    assert len(site.sessions.devices(PREFIX + "ada")) == 1


def test_mistakes_are_refused_by_name() -> None:
    session = coatroom.Sessions("memory", KEYS).open("")
    session.login("ada")
    with pytest.raises(coatroom.ConfigError, match="remember=Remember"):
        session.remember()
    for days in (0, 401):
        with pytest.raises(coatroom.ConfigError):
            Remember(lambda name: [], days=days)
    with pytest.raises(coatroom.ConfigError):
        coatroom.Sessions("memory", KEYS, transport="header", remember=Remember(lambda name: []))
    nobody = coatroom.Sessions("memory", KEYS, remember=Remember(lambda name: [])).open("")
    with pytest.raises(coatroom.Unauthenticated):
        nobody.remember()
