"""Live sessions of Flask, Flask-Session, Django and Starlette go on as sessions of Coatroom, once."""

from __future__ import annotations

import json
import logging
import pickle
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import coatroom
import old_sessions
import pytest
from coatroom.testing import KEYS, ManualClock
from coatroom.upgrade import FlaskCookie, FlaskRedis, Found, Login, Reader, django_user
from conftest import Browser
from django_project import User
from old_sessions import HELD, LATER, SECRET, Old
from own_stores import AsyncDict, AsyncWheel, Dict, Wheel, redis_server
from redis import Redis
from test_adapters import asgi_client, wsgi_client

DOCS = Path(__file__).parents[2] / "docs"

CASES: dict[str, tuple[Callable[..., Old], Any]] = {
    "flask cookie": (old_sessions.flask_cookie, old_sessions.in_flask),
    "flask-session msgpack": (old_sessions.flask_redis, old_sessions.in_flask),
    "flask-session json": (old_sessions.flask_redis, old_sessions.in_flask),
    "flask-session signed": (old_sessions.flask_redis, old_sessions.in_flask),
    "starlette": (old_sessions.starlette_cookie, old_sessions.in_starlette),
    "django db": (old_sessions.django, old_sessions.in_django),
    "django db, async": (old_sessions.django, old_sessions.in_django_async),
    "django cache": (old_sessions.django, old_sessions.in_django),
    "django signed_cookies": (old_sessions.django, old_sessions.in_django),
}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield Redis.from_url(address)


class Site:
    """An application that took over from another library, and a browser that was there before."""

    def __init__(self, old: Old, serves: Any, stack: ExitStack) -> None:
        self.old = old
        self.serves = serves
        self.stack = stack
        self.clock = ManualClock()
        self.events: list[str] = []
        self.sessions: Any = None

    def open(self, login: Any = "the reader's", store: Any = "memory", **settings: Any) -> Site:
        login = self.old.who if login == "the reader's" else login
        reader = self.old.reader(until=self.clock.now() + LATER, login=login)
        self.sessions = coatroom.Sessions(
            store,
            KEYS,
            clock=self.clock,
            upgrade_from=[reader],
            on_event=lambda name, *_: self.events.append(name),
            **settings,
        )
        self.ask = self.stack.enter_context(self.serves(self.sessions))
        return self

    def browser(self) -> Browser:
        browser = Browser()
        browser.cookies[self.old.cookie] = self.old.value
        return browser

    def get(self, browser: Browser, path: str = "/me") -> dict[str, Any]:
        reply = self.ask(path, browser.header)
        browser.take(reply.all("set-cookie"))
        known: dict[str, Any] = json.loads(reply.body)
        return known | {"status": reply.status}


@pytest.fixture(params=CASES)
def site(request: pytest.FixtureRequest, redis: Any) -> Iterator[Site]:
    make, serves = CASES[request.param]
    words = request.param.split()
    if words[0] == "flask-session":
        old = make(redis, "json" if words[1] == "json" else "msgpack", words[1] == "signed")
    else:
        old = make(words[1].rstrip(",")) if words[0] == "django" else make()
    with ExitStack() as stack:
        yield Site(old, serves, stack)


def test_a_live_session_goes_on_under_a_new_id_and_the_old_one_is_gone(site: Site) -> None:
    browser = site.open().browser()
    known = site.get(browser)
    assert known == {"status": 200, "principal": site.old.user, "level": 0, "data": HELD}
    assert set(browser.cookies) == {"__Host-id"}, "the old cookie is removed"
    assert site.old.value not in browser.header
    assert site.get(browser, "/add")["data"] == HELD | {"n": 2}
    assert site.events.count("upgraded") == 1
    if site.old.is_there is not None:
        assert not site.old.is_there(), "and so is the old record"


def test_nobody_is_logged_in_unless_the_application_says_who_it_is(site: Site) -> None:
    browser = site.open(login=None).browser()
    assert site.get(browser)["principal"] is None
    assert site.get(browser)["data"].items() >= HELD.items()
    assert set(browser.cookies) == {"__Host-visitor"}


def test_an_old_session_is_not_accepted_again(site: Site) -> None:
    browser, copy = site.open().browser(), site.browser()
    site.get(browser)
    site.clock.advance(31)
    assert site.get(copy) == {"status": 200, "principal": None, "level": None, "data": {}}
    assert site.get(browser)["principal"] == site.old.user


def test_requests_that_were_under_way_find_the_session_until_it_ends(redis: Any) -> None:
    with ExitStack() as stack:
        site = Site(old_sessions.flask_cookie(), old_sessions.in_flask, stack).open()
        first, second, third = (site.browser() for _ in range(3))
        assert [site.get(browser)["principal"] for browser in (first, second)] == ["7", "7"]
        site.get(first, "/logout")
        assert site.get(third)["principal"] is None, "a logout is not undone by a request that was slow"


def test_a_request_that_failed_leaves_everything_as_it_was(site: Site) -> None:
    browser = site.open().browser()
    assert site.get(browser, "/fail")["status"] == 500
    assert list(browser.cookies) == [site.old.cookie]
    assert site.get(browser)["principal"] == site.old.user


def test_a_logout_uses_the_old_session_up(site: Site) -> None:
    browser, copy = site.open().browser(), site.browser()
    site.get(browser, "/logout")
    assert browser.cookies == {}
    assert site.get(copy)["principal"] is None


def test_after_the_day_that_was_set_old_sessions_are_not_looked_at(site: Site) -> None:
    browser = site.open().browser()
    site.clock.advance(LATER)
    assert site.get(browser)["data"] == {}
    assert list(browser.cookies) == [site.old.cookie]


def test_a_forged_cookie_or_one_of_another_secret_is_nobody(site: Site) -> None:
    site.open()
    value = site.old.value
    for forged in (
        value[:-2] + ("AA" if value[-2:] != "AA" else "BB"),
        "junk",
        value + "x",
        "a" * 32,
        '""',
        value[:-9],
    ):
        browser = Browser()
        browser.cookies[site.old.cookie] = forged
        assert site.get(browser) == {"status": 200, "principal": None, "level": None, "data": {}}
        assert list(browser.cookies) == [site.old.cookie]


def test_a_cookie_that_comes_twice_or_beside_one_of_ours_is_not_looked_at(site: Site) -> None:
    site.open()
    twice = f"{site.old.cookie}={site.old.value}"
    for cookies in (f"{twice}; {twice}", f"{twice}; __Host-id=junk", f"__Host-visitor=junk; {twice}"):
        assert json.loads(site.ask("/me", cookies).body)["data"] == {}


@pytest.mark.parametrize("store", [Wheel("memory"), AsyncWheel("memory")], ids=["sync", "async"])
def test_a_store_of_the_applications_own_takes_over_too(store: Any) -> None:
    with ExitStack() as stack:
        site = Site(old_sessions.starlette_cookie(), old_sessions.in_starlette, stack).open(store=store)
        browser, copy = site.browser(), site.browser()
        assert site.get(browser)["principal"] == "7"
        site.clock.advance(31)
        assert site.get(copy)["principal"] is None
        assert len(site.sessions.devices("7")) == 1


def test_a_store_without_an_index_cannot_remember_what_it_has_read() -> None:
    reader = FlaskCookie(SECRET, until=datetime.now(timezone.utc) + LATER)
    for store in (Dict(), AsyncDict()):
        with pytest.raises(coatroom.ConfigError, match="Index"):
            coatroom.Sessions(store, KEYS, upgrade_from=[reader])


def test_settings_that_make_no_sense_are_refused() -> None:
    soon = datetime.now(timezone.utc) + LATER
    with pytest.raises(coatroom.ConfigError, match="time zone"):
        FlaskCookie(SECRET, until=datetime(2030, 1, 1))
    far = FlaskCookie(SECRET, until=soon + 20 * LATER)
    with pytest.raises(coatroom.ConfigError, match="400 days"):
        coatroom.Sessions("memory", KEYS, upgrade_from=[far])
    near = FlaskCookie(SECRET, until=soon)
    with pytest.raises(coatroom.ConfigError, match="browsers"):
        coatroom.Sessions("memory", KEYS, transport="header", upgrade_from=[near])


def test_what_was_pickled_is_not_read(redis: Any) -> None:
    redis.set("session:pickled", pickle.dumps({"n": 1}))
    reader = FlaskRedis(redis, until=datetime.now(timezone.utc) + LATER)
    assert reader.read("pickled") is None


def test_an_old_store_that_does_not_answer_is_an_error_and_never_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Down(Reader):
        def read(self, value: str) -> Found | None:
            raise ConnectionError(f"no answer about {value}")

    with ExitStack() as stack:
        site = Site(old_sessions.flask_cookie(), old_sessions.in_flask, stack)
        site.old.reader = Down
        browser = site.open().browser()
        reply = site.ask("/me", browser.header)
    assert (reply.status, reply.all("set-cookie")) == (503, [])
    assert site.old.value not in caplog.text + reply.body.decode()


def test_what_is_no_plain_data_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        site = Site(old_sessions.flask_cookie(), old_sessions.in_flask, stack)

        def login(found: Found) -> Login:
            assert found.signed is not None
            found.data["at"] = found.signed
            del found.data["cart"]
            return Login("ada", ["admin"], level=1)

        with caplog.at_level(logging.WARNING, "coatroom"):
            known = site.get(site.open(login=login).browser())
    assert known == {"status": 200, "principal": "ada", "level": 1, "data": {"n": 1}}
    assert "no plain data: at" in caplog.text


def test_django_asks_whether_the_password_is_still_the_one_of_then() -> None:
    old = old_sessions.django("db")
    found = old.reader(until=datetime.now(timezone.utc) + LATER).read(old.value)
    assert found is not None
    assert django_user(found) == old.user
    for change in (
        {"_auth_user_hash": "x"},
        {"_auth_user_id": "999"},
        {"_auth_user_id": "x"},
        {"_auth_user_backend": "x"},
    ):
        assert django_user(Found(found.data | change)) is None
    User.objects.filter(pk=old.user).update(is_active=False)
    try:
        assert django_user(found) is None
    finally:
        User.objects.filter(pk=old.user).update(is_active=True)


@pytest.mark.usefixtures("_as_a_reader")
def test_the_examples_of_the_page_take_over() -> None:
    soon = datetime.now(timezone.utc) + LATER
    page = (DOCS / "migration.md").read_text().replace("2027, 1, 31", f"{soon.year}, {soon.month}, {soon.day}")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(block, names)
        if "StarletteCookie" in block:
            starlette = names["app"], names["reader"]
        elif "Coatroom(" in block:
            flask = names["app"]
    reader = flask.session_interface.sessions._upgrades.readers[0]
    value = reader.signer.dumps({"_user_id": "7", "cart": ["hat"]})
    client = wsgi_client(flask.wsgi_app)
    assert json.loads(client("/me", f"session={value}").body) == {"cart": ["hat"], "user": "7"}
    app, reader = starlette
    value = reader.signer.sign(b64encode(b'{"user": "7"}')).decode()
    assert json.loads(asgi_client(app)("/me", f"session={value}").body) == {"user": "7"}
    assert names["sessions"]._upgrades.readers[0].login is django_user


@pytest.fixture
def _as_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COATROOM_KEYS", KEYS)
