"""The session as a Python object, without any framework."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any

import coatroom
import pytest
from coatroom.testing import ManualClock
from conftest import TEST_KEYS, Browser


def exchange(
    sessions: coatroom.Sessions, browser: Browser, work: Callable[[coatroom.Session], Any] = lambda session: None
) -> Any:
    session = sessions.open(browser.header)
    result = work(session)
    session._commit(200)
    browser.take(session._exchange.head()[2])
    return result


def written(sessions: coatroom.Sessions, browser: Browser, work: Callable[[coatroom.Session], Any]) -> tuple[str, ...]:
    session = sessions.open(browser.header)
    work(session)
    session._commit(200)
    browser.take(session._exchange.head()[2])
    return session.trace().written


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        1.0,
        0.1,
        -0.0,
        "",
        "ü \U0001f9e5",
        b"\x00\xff",
        [],
        {},
        [1, [2, {"a": [None]}]],
        {"b": 1, "aa": 2, "": 3},
    ],
)
# spec: VAL-6 2b34, VAL-1 3a73
def test_a_value_comes_back_as_it_was_and_keeps_its_type(
    sessions: coatroom.Sessions, browser: Browser, value: object
) -> None:
    exchange(sessions, browser, lambda session: session.__setitem__("key", value))
    back = exchange(sessions, browser, lambda session: session["key"])
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value) or isinstance(value, dict)


# spec: VAL-6 2b34
def test_a_tuple_comes_back_as_a_list_and_subclasses_as_plain_values(
    sessions: coatroom.Sessions, browser: Browser
) -> None:
    class Color(enum.IntEnum):
        RED = 1

    given = {"tuple": (1, (2,)), "enum": Color.RED, "ordered": OrderedDict(x=1)}
    exchange(sessions, browser, lambda session: session.update(given))
    back = exchange(sessions, browser, dict)
    assert back == {"tuple": [1, [2]], "enum": 1, "ordered": {"x": 1}}
    assert type(back["enum"]) is int


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2026, 1, 1),
        {1},
        decimal.Decimal(1),
        object(),
        2**63,
        -(2**63) - 1,
        float("nan"),
        float("inf"),
        {1: 2},
        ["ok", {("a",): 1}],
        "\ud800",
        bytearray(b"x"),
        1j,
    ],
)
# spec: VAL-1 3a73, VAL-6 2b34
def test_a_value_outside_the_data_model_raises_and_changes_nothing(
    sessions: coatroom.Sessions, browser: Browser, value: object
) -> None:
    session = sessions.open(b"")
    with pytest.raises(coatroom.UnsupportedValue):
        session["key"] = value
    assert "key" not in session
    session._commit(200)
    assert session._exchange.head()[2] == []


def test_a_value_that_contains_itself_raises(sessions: coatroom.Sessions) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(coatroom.UnsupportedValue, match="32 deep"):
        sessions.open(b"")["key"] = loop


# spec: VAL-6 2b34
def test_a_key_that_is_not_text_raises(sessions: coatroom.Sessions) -> None:
    session: Any = sessions.open(b"")
    with pytest.raises(TypeError):
        session[1] = "x"
    with pytest.raises(TypeError):
        session[1]
    assert 1 not in session


def test_a_session_is_a_mutable_mapping(sessions: coatroom.Sessions) -> None:
    session = sessions.open(b"")
    assert isinstance(session, MutableMapping)
    session.update({"a": 1}, b=2)
    session.update([("c", 3)])
    assert session.setdefault("a", 9) == 1
    assert sorted(session) == ["a", "b", "c"]
    assert len(session) == 3
    assert session.pop("a") == 1
    assert session.pop("a", None) is None
    with pytest.raises(KeyError):
        session["a"]
    with pytest.raises(KeyError):
        del session["a"]
    assert dict(session) == {"b": 2, "c": 3}
    session.clear()
    assert not session
    assert session.get("b", "none") == "none"


# spec: WRITE-15 bde4, WRITE-14 1f29
def test_a_change_inside_a_list_or_dict_is_noticed_and_reading_writes_nothing(
    sessions: coatroom.Sessions, browser: Browser
) -> None:
    exchange(sessions, browser, lambda session: session.update(cart={"items": [1]}))
    exchange(sessions, browser)
    assert written(sessions, browser, lambda session: session["cart"]["items"]) == ()
    assert written(sessions, browser, lambda session: session["cart"]["items"].append(2)) == ("data",)
    assert exchange(sessions, browser, lambda session: session["cart"]) == {"items": [1, 2]}
    # An object that was set is followed as well, and one that was replaced is not.
    item = {"n": 1}

    def set_then_change(session: coatroom.Session) -> None:
        session["item"] = item
        item["n"] = 2

    exchange(sessions, browser, set_then_change)
    assert exchange(sessions, browser, lambda session: session["item"]) == {"n": 2}


def test_an_object_handed_out_before_a_login_is_followed_after_it_if_the_login_carries_it(
    clock: ManualClock, browser: Browser
) -> None:
    sessions = coatroom.Sessions("memory", TEST_KEYS, clock=clock, carry=["cart"])
    exchange(sessions, browser, lambda session: session.update(cart=[1], flow=[1]))

    def change_login_change(session: coatroom.Session) -> None:
        cart, flow = session["cart"], session["flow"]
        cart.append(2)
        session.login("alice")
        cart.append(3)
        flow.append(3)

    exchange(sessions, browser, change_login_change)
    assert exchange(sessions, browser, dict) == {"cart": [1, 2, 3]}


# spec: WRITE-15 bde4
def test_setting_what_is_there_already_writes_nothing(sessions: coatroom.Sessions, browser: Browser) -> None:
    exchange(sessions, browser, lambda session: session.update(n=1))
    exchange(sessions, browser)
    assert written(sessions, browser, lambda session: session.update(n=1)) == ()


def test_an_untouched_visitor_gets_no_cookie(sessions: coatroom.Sessions, browser: Browser) -> None:
    exchange(sessions, browser, lambda session: session.get("n"))
    assert browser.cookies == {}


def test_login_changes_the_id_carries_the_data_and_kills_the_old_id(
    sessions: coatroom.Sessions, browser: Browser
) -> None:
    exchange(sessions, browser, lambda session: session.update(cart=[1]))
    planted = Browser()
    planted.cookies = dict(browser.cookies)
    exchange(sessions, browser, lambda session: session.login("alice", roles=["admin", "staff"], level=2))
    assert list(browser.cookies) == ["__Host-id"]
    who = exchange(
        sessions, browser, lambda session: (session.principal, session.roles, session.level, session["cart"])
    )
    assert who == ("alice", frozenset({"admin", "staff"}), 2, [1])
    assert exchange(sessions, planted, lambda session: (session.principal, dict(session))) == (None, {})


def test_logout_ends_the_session_everywhere_and_a_late_write_is_refused(
    sessions: coatroom.Sessions, browser: Browser
) -> None:
    exchange(sessions, browser, lambda session: session.login("alice"))
    slow = sessions.open(browser.header)
    slow["late"] = True
    copy = browser.header
    exchange(sessions, browser, lambda session: session.logout())
    assert browser.cookies == {}
    with pytest.raises(coatroom.SessionEnded) as refused:
        slow._commit(200)
    assert refused.value.status == 409
    again = sessions.open(copy)
    assert (again.principal, again.state) == (None, "Destroyed")


def test_a_session_used_after_its_commit_raises(sessions: coatroom.Sessions) -> None:
    session = sessions.open(b"")
    session._commit(200)
    with pytest.raises(coatroom.SessionClosed):
        session["key"] = 1
    with pytest.raises(coatroom.SessionClosed):
        session._commit(200)


def test_require_role_tells_who_is_missing(sessions: coatroom.Sessions, browser: Browser) -> None:
    with pytest.raises(coatroom.Unauthenticated):
        sessions.open(b"").require_role("admin")
    exchange(sessions, browser, lambda session: session.login("bob", roles=["staff"]))
    with pytest.raises(coatroom.Forbidden):
        sessions.open(browser.header).require_role("admin")
    sessions.open(browser.header).require_role("staff")


def test_additions_and_updates_of_overlapping_exchanges_are_all_there(
    sessions: coatroom.Sessions, browser: Browser
) -> None:
    def append(number: int, log: list[int]) -> list[int]:
        return [*log, number]

    exchange(sessions, browser, lambda session: session.update(n=0, log=[]))
    overlapping = [sessions.open(browser.header) for _ in range(5)]
    for number, session in enumerate(overlapping):
        session.add("n", 2)
        session.update("log", functools.partial(append, number))
    for session in overlapping:
        session._commit(200)
    assert exchange(sessions, browser, dict) == {"n": 10, "log": [0, 1, 2, 3, 4]}


def test_an_update_sees_changes_made_in_place_and_lets_exceptions_through(
    sessions: coatroom.Sessions, browser: Browser
) -> None:
    session = sessions.open(b"")
    session["log"] = [1]
    session["log"].append(2)
    session.update("log", lambda log: [*log, 3])
    assert session["log"] == [1, 2, 3]
    session.update("fresh", lambda value: value is None)
    assert session["fresh"] is True
    with pytest.raises(ZeroDivisionError):
        session.update("log", lambda log: 1 / 0)
    with pytest.raises(coatroom.UnsupportedValue):
        session.update("log", lambda log: {1})
    with pytest.raises(coatroom.SessionClosed):
        session.update("log", lambda log: session["fresh"])
    assert session["log"] == [1, 2, 3]


def test_add_to_text_and_an_overflow_raise(sessions: coatroom.Sessions) -> None:
    session = sessions.open(b"")
    session["text"] = "x"
    session["most"] = 2**63 - 1
    for key in ("text", "most"):
        with pytest.raises(coatroom.Refused):
            session.add(key, 1)
    assert session.add("new") == 1


def test_strict_mode_refuses_what_another_exchange_changed(clock: ManualClock, browser: Browser) -> None:
    sessions = coatroom.Sessions("memory", TEST_KEYS, clock=clock, concurrency="strict")
    exchange(sessions, browser, lambda session: session.update(n=1, other=1))
    one, two, third = (sessions.open(browser.header) for _ in range(3))
    for session in (one, two):
        session["n"] = session["n"] + 1
    third["other"] = 2
    one._commit(200)
    third._commit(200)
    with pytest.raises(coatroom.Conflict):
        two._commit(200)
    assert exchange(sessions, browser, dict) == {"n": 2, "other": 2}


def test_a_session_too_large_is_refused_before_anything_is_written(clock: ManualClock, browser: Browser) -> None:
    sessions = coatroom.Sessions("memory", TEST_KEYS, clock=clock, size=1000)
    session = sessions.open(b"")
    with pytest.raises(coatroom.TooLarge):
        session["one"] = "x" * 1001
    session["half"] = "x" * 600
    session["other half"] = "x" * 600
    with pytest.raises(coatroom.TooLarge, match=r"1\d\d\d of at most 1000 bytes"):
        session._commit(200)


def test_time_is_the_clocks_alone(sessions: coatroom.Sessions, browser: Browser, clock: ManualClock) -> None:
    exchange(sessions, browser, lambda session: session.login("alice"))
    clock.advance(datetime.timedelta(minutes=29, seconds=59))
    assert exchange(sessions, browser, lambda session: session.principal) == "alice"
    clock.advance(30 * 60)
    dead = sessions.open(browser.header)
    assert (dead.principal, dead.state) == (None, "Expired")


def test_rotation_waits_for_the_client_and_the_old_id_has_its_grace(
    sessions: coatroom.Sessions, browser: Browser, clock: ManualClock
) -> None:
    exchange(sessions, browser, lambda session: session.login("alice"))
    assert exchange(sessions, browser, lambda session: session.rotate()) == "pending"
    assert exchange(sessions, browser, lambda session: session.rotate()) == "postponed"
    clock.advance(61)
    old = Browser()
    old.cookies = dict(browser.cookies)
    assert exchange(sessions, browser, lambda session: session.rotate()) == "rotated"
    assert browser.cookies != old.cookies
    assert exchange(sessions, old, lambda session: session.principal) == "alice"
    assert old.cookies == browser.cookies


def test_many_threads_may_share_one_exchange_and_none_hangs(sessions: coatroom.Sessions) -> None:
    session = sessions.open(b"")
    session["n"] = 0

    def work() -> None:
        for _ in range(200):
            session.add("n", 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session["n"] == 1600


# spec: SEC-1 89db
def test_no_error_text_and_no_repr_holds_an_id(sessions: coatroom.Sessions, browser: Browser) -> None:
    exchange(sessions, browser, lambda session: session.login("alice"))
    secret = browser.cookies["__Host-id"][24:66]
    slow = sessions.open(browser.header)
    slow["x"] = 1
    exchange(sessions, browser, lambda session: session.logout())
    with pytest.raises(coatroom.SessionEnded) as refused:
        slow._commit(200)
    for text in (repr(slow), str(refused.value), repr(refused.value), repr(sessions)):
        assert secret not in text


def test_threads_that_meet_on_a_closed_session_get_errors_and_go_on(sessions: coatroom.Sessions) -> None:
    session = sessions.open(b"")
    session._commit(200)
    refused = [0, 0]

    def work(number: int) -> None:
        for _ in range(3000):
            try:
                session["n"]
            except coatroom.SessionClosed:
                refused[number] += 1

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert refused == [3000, 3000]
