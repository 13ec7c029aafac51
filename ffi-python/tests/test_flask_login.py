"""Flask-Login on our sessions: its own calls perform the login and the logout."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import coatroom
import flask
import flask_login
import pytest
from coatroom.flask import Coatroom
from conftest import Browser
from test_adapters import Reply, wsgi_client


class User(flask_login.UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


def page(work: Callable[[], object]) -> Callable[[], Any]:
    def view() -> Any:
        work()
        data = {key: value for key, value in flask.session.items() if not key.startswith("_")}
        user = flask_login.current_user
        return {"user": user.get_id(), "fresh": bool(flask_login.login_fresh()), "data": data}

    return view


@pytest.fixture
def app(sessions: coatroom.Sessions) -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "for the cookie of Flask-Login that remembers"
    Coatroom(app, sessions)
    manager = flask_login.LoginManager(app)
    manager.user_loader(User)

    def set_() -> None:
        flask.session["cart"] = flask.request.args["cart"]

    def login() -> None:
        flask_login.login_user(User(flask.request.args["user"]), remember="remember" in flask.request.args)
        flask.session["after"] = 1

    works: dict[str, Callable[[], object]] = {
        "me": lambda: None,
        "set": set_,
        "login": login,
        "logout": flask_login.logout_user,
        "confirm": flask_login.confirm_login,
        "clear": lambda: flask.session.clear(),
    }
    for name, work in works.items():
        app.add_url_rule(f"/{name}", name, page(work))
    return app


class Site:
    def __init__(self, app: flask.Flask) -> None:
        self.client = wsgi_client(app)
        self.browser = Browser()

    def get(self, target: str, browser: Browser | None = None) -> Reply:
        browser = self.browser if browser is None else browser
        reply = self.client(target, browser.header)
        browser.take(reply.all("set-cookie"))
        return reply

    def me(self, browser: Browser | None = None) -> tuple[str | None, dict[str, Any]]:
        reply = self.get("/me", browser)
        assert reply.status == 200, reply
        answer = json.loads(reply.body)
        return answer["user"], answer["data"]

    def copy(self) -> Browser:
        copy = Browser()
        copy.cookies = dict(self.browser.cookies)
        return copy


@pytest.fixture
def site(app: flask.Flask) -> Site:
    return Site(app)


NOBODY: tuple[None, dict[str, Any]] = (None, {})


def test_login_user_gives_a_fresh_id_and_carries_what_the_visitor_had(site: Site) -> None:
    site.get("/set?cart=scarf")
    planted = site.copy()
    site.get("/login?user=ada")
    assert set(site.browser.cookies) == {"__Host-id"}
    assert site.browser.cookies["__Host-id"] != planted.cookies["__Host-visitor"]
    assert site.me() == ("ada", {"cart": "scarf", "after": 1})
    assert site.me(planted) == NOBODY


def test_nothing_written_with_a_planted_id_reaches_the_login(site: Site) -> None:
    site.get("/set?cart=scarf")
    planted = site.copy()
    site.get("/login?user=ada")
    site.get("/set?cart=planted", planted)
    assert site.me()[1]["cart"] == "scarf"


def test_logging_in_again_changes_the_id_and_the_old_one_is_dead_at_once(site: Site) -> None:
    site.get("/login?user=ada")
    site.get("/set?cart=scarf")
    before = site.copy()
    site.get("/login?user=ada")
    assert site.browser.cookies != before.cookies
    assert site.me() == ("ada", {"cart": "scarf", "after": 1})
    assert site.me(before) == NOBODY


def test_logging_in_as_somebody_else_inherits_nothing(site: Site) -> None:
    site.get("/login?user=ada")
    site.get("/set?cart=scarf")
    ada = site.copy()
    site.get("/login?user=bob")
    assert site.me() == ("bob", {"after": 1})
    assert site.me(ada) == NOBODY


@pytest.mark.parametrize("way", ["/logout", "/clear"])
def test_logout_user_ends_the_session_on_the_server_too(site: Site, way: str) -> None:
    site.get("/login?user=ada")
    thief = site.copy()
    site.get(way)
    assert site.browser.cookies == {}
    assert site.me() == site.me(thief) == NOBODY


def test_confirm_login_is_a_login_and_keeps_the_data(site: Site, sessions: coatroom.Sessions) -> None:
    site.get("/login?user=ada")
    before = site.copy()
    assert json.loads(site.get("/confirm").body) == {"user": "ada", "fresh": True, "data": {"after": 1}}
    assert site.browser.cookies != before.cookies
    assert site.me() == ("ada", {"after": 1})
    assert site.me(before) == NOBODY


def test_a_user_who_is_remembered_is_logged_in_with_a_fresh_id(site: Site) -> None:
    site.get("/login?user=ada&remember")
    del site.browser.cookies["__Host-id"]
    site.get("/set?cart=scarf")
    assert "__Host-id" in site.browser.cookies
    answer = json.loads(site.get("/me").body)
    assert (answer["user"], answer["fresh"], answer["data"]) == ("ada", False, {"cart": "scarf"})
    site.get("/logout")
    assert site.browser.cookies == {}
    assert site.me() == NOBODY


def test_strong_protection_ends_the_session_of_another_client(app: flask.Flask, site: Site) -> None:
    app.config["SESSION_PROTECTION"] = "strong"
    site.get("/login?user=ada")
    other = app.test_client()
    other.set_cookie("__Host-id", site.browser.cookies["__Host-id"])
    assert other.get("/me", headers={"User-Agent": "other"}).json["user"] is None  # type: ignore[index]
    assert site.me()[0] is None


def test_the_user_of_flask_login_is_the_principal_and_nothing_else(site: Site, sessions: coatroom.Sessions) -> None:
    site.get("/login?user=ada")
    session = sessions.open(site.browser.header)
    assert session.principal == "ada"
    assert "_user_id" not in session
    sessions.revoke_all("ada")
    assert site.me() == NOBODY


def test_without_flask_login_the_key_is_a_key(sessions: coatroom.Sessions) -> None:
    app = flask.Flask(__name__)
    Coatroom(app, sessions)

    @app.get("/")
    def view() -> Any:
        flask.session["_user_id"] = "1"
        flask.session["_fresh"] = True
        return [flask.session.principal, *flask.session]  # type: ignore[attr-defined]

    assert app.test_client().get("/").json == [None, "_fresh", "_user_id"]
