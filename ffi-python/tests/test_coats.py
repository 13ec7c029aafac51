"""Sessions that live in their cookies, from Python: the same API, by the text of the store."""

from __future__ import annotations

from pathlib import Path

import coatroom
import pytest
from coatroom.remember import Remember
from coatroom.testing import ManualClock
from conftest import TEST_KEYS, Browser

HOUR = 3600.0
PLACES = ("cookie", "cookie+deny:memory", "cookie-until-login+memory")


@pytest.fixture(params=PLACES)
def sessions(request: pytest.FixtureRequest) -> coatroom.Sessions:
    return coatroom.Sessions(request.param, TEST_KEYS, clock=ManualClock())


def ask(sessions: coatroom.Sessions, browser: Browser) -> coatroom.Session:
    return sessions.open(browser.header)


def answer(session: coatroom.Session, browser: Browser) -> None:
    session._commit(200)
    browser.take(session._exchange.head()[2])


def logged_in(sessions: coatroom.Sessions) -> Browser:
    browser = Browser()
    session = ask(sessions, browser)
    session["cart"] = {"hat": 1, "of": [1.0, None, b"bytes"]}
    answer(session, browser)
    session = ask(sessions, browser)
    session.login("ada", roles=["admin"])
    answer(session, browser)
    return browser


# spec: COAT-1 f582, COAT-5 350e
def test_a_life_of_a_session(sessions: coatroom.Sessions) -> None:
    browser = logged_in(sessions)
    session = ask(sessions, browser)
    assert session["cart"] == {"hat": 1, "of": [1.0, None, b"bytes"]}
    session.require_role("admin")
    session.add("views", 2)
    answer(session, browser)
    session = ask(sessions, browser)
    assert (session["views"], session.principal) == (2, "ada")
    session.logout()
    answer(session, browser)
    assert browser.cookies == {}


# spec: COAT-6 40ad, COAT-7 a7fd, COAT-9 35a5, COAT-13 914c
def test_a_copy_works_after_the_logout_where_there_is_no_list_and_nowhere_else(sessions: coatroom.Sessions) -> None:
    browser = logged_in(sessions)
    copy = browser.header
    session = ask(sessions, browser)
    session.logout()
    answer(session, browser)
    alone = sessions._native.policy()["place"] == "cookie"
    assert sessions.open(copy).principal == ("ada" if alone else None)
    assert sessions._clock is not None
    sessions._clock.advance(HOUR)
    assert sessions.open(copy).principal is None


# spec: COAT-11 2527
def test_devices_and_revocations_say_so_where_nobody_can_know(sessions: coatroom.Sessions) -> None:
    browser = logged_in(sessions)
    if sessions._native.policy()["place"] == "cookie":
        for call in (sessions.devices, sessions.revoke_all):
            with pytest.raises(coatroom.Unlisted) as refused:
                call("ada")
            assert (refused.value.status, refused.value.code) == (500, "unlisted")
        return
    [device] = ask(sessions, browser).devices()
    assert device.is_this
    assert sessions.revoke_all("ada") == 1
    assert ask(sessions, browser).principal is None


# spec: COAT-4 4d5c
def test_a_session_that_no_cookie_can_hold_is_refused_and_stays_as_it_was() -> None:
    sessions = coatroom.Sessions("cookie", TEST_KEYS)
    browser = logged_in(sessions)
    session = ask(sessions, browser)
    session["much"] = "x" * 4000
    with pytest.raises(coatroom.TooLarge, match="4,096"):
        answer(session, browser)
    assert set(ask(sessions, browser)) == {"cart"}


# spec: COAT-12 ce17
def test_what_a_cookie_cannot_keep_is_refused_at_start() -> None:
    for settings in ({"concurrency": "serial"}, {"limit": ("refuse", 1)}, {"reuse": "revoke-all"}):
        with pytest.raises(coatroom.ConfigError, match=f"`{next(iter(settings))}`"):
            coatroom.Sessions("cookie", TEST_KEYS, **settings)
    with pytest.raises(coatroom.ConfigError, match="`remember`"):
        coatroom.Sessions("cookie", TEST_KEYS, remember=Remember(lambda _: []))
    for store in ("cookie+deny:", "cookie+deny:cookie", "cookie-until-login+nothing"):
        with pytest.raises(coatroom.ConfigError, match="`store`"):
            coatroom.Sessions(store, TEST_KEYS)


# spec: COAT-1 f582
def test_logins_are_remembered_in_the_store_of_the_list(tmp_path: Path) -> None:
    sessions = coatroom.Sessions(
        f"cookie+deny:sqlite:{tmp_path / 'list.db'}", TEST_KEYS, dev=True, remember=Remember(lambda _: ["user"])
    )
    browser = Browser()
    session = ask(sessions, browser)
    session.login("ada")
    session.remember()
    session._commit(200)
    assert sessions._remembered is not None
    sessions._remembered.settle(session)
    assert [line.partition("=")[0] for line in session._more_lines] == ["remember"]
    assert len(sessions.devices("ada")) == 1


# spec: COAT-2 25a7, HEAD-1 5845
def test_a_sealed_session_travels_in_a_header_too() -> None:
    from coatroom._transport import header_from_environ

    sessions = coatroom.Sessions("cookie", TEST_KEYS, transport="header")
    browser = logged_in(sessions)
    value = browser.cookies[sessions.cookie_names[0]]
    header = header_from_environ(sessions, {"HTTP_AUTHORIZATION": f"Bearer {value}"})
    assert sessions.open(header).principal == "ada"
