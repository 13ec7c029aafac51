"""Messages for the next page: shown once, never lost, also when requests overlap."""

from __future__ import annotations

import coatroom
import pytest
from coatroom.testing import KEYS, ManualClock
from conftest import Browser


@pytest.fixture(params=["merge", "strict", "serial"])
def sessions(request: pytest.FixtureRequest, clock: ManualClock) -> coatroom.Sessions:
    return coatroom.Sessions("memory", KEYS, clock=clock, concurrency=request.param)


def close(session: coatroom.Session, browser: Browser) -> None:
    session._commit(200)
    browser.take(session._exchange.head()[2])


def begun(sessions: coatroom.Sessions) -> Browser:
    browser = Browser()
    session = sessions.open("")
    session.flash("hello")
    close(session, browser)
    return browser


def test_a_message_is_shown_once_in_order_with_its_category(sessions: coatroom.Sessions) -> None:
    browser = begun(sessions)
    session = sessions.open(browser.header)
    session.flash("saved", "success")
    assert session.flashes() == [("message", "hello"), ("success", "saved")]
    assert session.flashes() == []
    session.flash("after")
    close(session, browser)
    session = sessions.open(browser.header)
    assert session.flashes() == [("message", "after")]
    close(session, browser)
    assert sessions.open(browser.header).flashes() == []


def test_asking_for_messages_where_there_are_none_writes_nothing(sessions: coatroom.Sessions) -> None:
    session = sessions.open("")
    assert session.flashes() == []
    session._commit(200)
    assert session._exchange.head()[2] == []


def test_messages_that_are_left_at_the_same_time_are_all_shown(sessions: coatroom.Sessions) -> None:
    browser = begun(sessions)
    first, second = sessions.open(browser.header), sessions.open(browser.header)
    first.flash("same")
    second.flash("same")
    close(first, browser)
    close(second, browser)
    assert sessions.open(browser.header).flashes() == [("message", "hello"), ("message", "same"), ("message", "same")]


def test_a_message_left_while_a_page_shows_others_waits_for_the_next_page(clock: ManualClock) -> None:
    sessions = coatroom.Sessions("memory", KEYS, clock=clock)
    browser = begun(sessions)
    page, other = sessions.open(browser.header), sessions.open(browser.header)
    assert page.flashes() == [("message", "hello")]
    other.flash("late")
    close(other, browser)
    close(page, browser)
    session = sessions.open(browser.header)
    assert session.flashes() == [("message", "late")]
    close(session, browser)
    assert sessions.open(browser.header).flashes() == []


def test_a_page_that_failed_shows_its_messages_again(sessions: coatroom.Sessions) -> None:
    browser = begun(sessions)
    failing = sessions.open(browser.header)
    assert failing.flashes()
    failing._commit(500)
    assert sessions.open(browser.header).flashes() == [("message", "hello")]


def test_what_else_lies_under_the_name_does_no_harm(sessions: coatroom.Sessions) -> None:
    session = sessions.open("")
    session["_flash"] = "not ours"
    assert session.flashes() == []
    session.flash("hello")
    assert session.flashes() == [("message", "hello")]
