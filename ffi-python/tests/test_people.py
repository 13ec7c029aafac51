"""Principals and their devices, without any framework."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
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


def login(sessions: coatroom.Sessions, name: str, label: str = "") -> Browser:
    def work(session: coatroom.Session) -> None:
        session.set_client(label)
        session.login(name)

    browser = Browser()
    exchange(sessions, browser, work)
    return browser


def who(sessions: coatroom.Sessions, browser: Browser) -> str | None:
    name: str | None = exchange(sessions, browser, lambda session: session.principal)
    return name


# spec: IDX-3 763e
def test_a_user_sees_and_ends_their_devices(sessions: coatroom.Sessions) -> None:
    phone, laptop, other = login(sessions, "ann", "Phone"), login(sessions, "ann", "Laptop"), login(sessions, "ben")
    devices = exchange(sessions, phone, lambda session: session.devices())
    assert {(device.label, device.is_this) for device in devices} == {("Phone", True), ("Laptop", False)}
    device = devices[0]
    assert device.created.tzinfo is timezone.utc
    assert device.created <= device.seen <= device.over
    assert abs((datetime.now(timezone.utc) - device.created).total_seconds()) < 60
    laptops = next(device.handle for device in devices if device.label == "Laptop")
    with pytest.raises(coatroom.Refused, match="not this user's"):
        exchange(sessions, other, lambda session: session.revoke(laptops))
    with pytest.raises(coatroom.Refused, match="no handle"):
        exchange(sessions, other, lambda session: session.revoke("nonsense"))
    assert exchange(sessions, phone, lambda session: session.revoke(laptops)) is True
    assert [who(sessions, browser) for browser in (phone, laptop, other)] == ["ann", None, "ben"]


# spec: IDX-3 763e
def test_a_user_ends_all_other_sessions_or_all(sessions: coatroom.Sessions) -> None:
    browsers = [login(sessions, "ann") for _ in range(3)]
    assert exchange(sessions, browsers[0], lambda session: session.revoke_others()) == 2
    assert [who(sessions, browser) for browser in browsers] == ["ann", None, None]
    assert exchange(sessions, browsers[0], lambda session: session.revoke_all()) == 1
    assert who(sessions, browsers[0]) is None
    with pytest.raises(coatroom.Unauthenticated):
        exchange(sessions, browsers[0], lambda session: session.devices())


# spec: IDX-4 667d
def test_a_reset_of_the_password_logs_everybody_out_and_this_browser_in(sessions: coatroom.Sessions) -> None:
    thief, owner = login(sessions, "ann"), Browser()

    def reset(session: coatroom.Session) -> None:
        session.login("ann")
        session.revoke_all()

    exchange(sessions, owner, reset)
    assert (who(sessions, thief), who(sessions, owner)) == (None, "ann")


def test_an_administrator_revokes_and_renames() -> None:
    clock = ManualClock()
    sessions = coatroom.Sessions("memory", TEST_KEYS, clock=clock)
    browsers = [login(sessions, "ann"), login(sessions, "ann"), login(sessions, "ben")]
    assert sessions.rename_principal("ann", "anna") == 2
    assert who(sessions, browsers[0]) == "anna"
    kept = sessions.devices("anna")[0].handle
    assert sessions.revoke_all("anna", but=kept) == 1
    assert len(sessions.devices("anna")) == 1
    assert sessions.revoke("anna", kept) is True
    assert sessions.revoke("anna", kept) is False
    clock.advance(60)
    login(sessions, "cid")
    assert sessions.revoke_everything() == 2
    assert sessions.devices("ben") == sessions.devices("cid") == []


# spec: LIMIT-1 3719
def test_a_limit_refuses_or_evicts() -> None:
    refusing = coatroom.Sessions("memory", TEST_KEYS, limit=("refuse", 1))
    login(refusing, "ann")
    with pytest.raises(coatroom.Refused, match="end one of them first"):
        login(refusing, "ann")
    evicting = coatroom.Sessions("memory", TEST_KEYS, limit=("evict-oldest", 1))
    first, second = login(evicting, "ann"), login(evicting, "ann")
    assert (who(evicting, first), who(evicting, second)) == (None, "ann")
    with pytest.raises(coatroom.ConfigError, match="limit"):
        coatroom.Sessions("memory", TEST_KEYS, limit=("evict-some", 1))  # type: ignore[arg-type]
