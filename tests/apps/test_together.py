"""One session in three languages: a Flask app, a Kotlin service and a Swift service share a store, and whatever one of
them does is so for the others."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import servers
from harness import LOGIN, Browser, Server, background, together, until

SERVICES = ("flask", "kotlin", "swift")
NOBODY: dict[str, Any] = {"user": None, "views": 0, "keys": {}}

Services = dict[str, Server]


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def services(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One of each over the same store."""
    folder = tmp_path_factory.mktemp("together")
    with ExitStack() as stack:
        store = address(request.param, folder, stack)
        flags = ("--store", store, "--grace-seconds", "0.4")
        yield {name: stack.enter_context(Server(name, *flags)) for name in SERVICES}


def address(kind: str, folder: Path, stack: ExitStack) -> str:
    """The address of a fresh store."""
    return f"sqlite:{folder / 'sessions.db'}" if kind == "sqlite" else stack.enter_context(servers.redis(folder))


@pytest.mark.parametrize("order", list(itertools.permutations(SERVICES)), ids="-".join)
def test_a_session_goes_from_one_to_the_next(services: Services, order: tuple[str, str, str]) -> None:
    user = f"ada of {order}"
    jar: dict[str, str] = {}
    first, second, third = (Browser(services[name].port, jar) for name in order)
    everywhere = (first, second, third)

    first.must("/set", k="cart", v="Mütze, 帽子")
    first.login(user)
    second.must("/set", k="coat", v="red")
    assert third.me() == {"user": user, "views": 0, "keys": {"cart": "Mütze, 帽子", "coat": "red"}}

    before = jar[LOGIN]
    assert until(5.0, lambda: bool(third.must("/rotate")["rotated"]))
    assert jar[LOGIN] != before
    assert [browser.me()["user"] for browser in everywhere] == [user] * 3

    together(2, lambda number: everywhere[number].must("/set", k=f"at once {number}", v="x", ms=100))
    together(9, lambda number: everywhere[number % 3].must("/add", ms=20))
    assert [browser.me()["views"] for browser in everywhere] == [9] * 3
    assert {"at once 0", "at once 1"} <= set(first.me()["keys"])

    other = Browser(services[order[2]].port).login(user)
    handles = [{session["handle"] for session in browser.get("/sessions").json()["sessions"]} for browser in everywhere]
    assert handles[0] == handles[1] == handles[2]
    assert len(handles[0]) == 2

    stolen = [Browser(services[name].port, dict(jar)) for name in order]
    assert second.must("/logout-all") == {"ended": 2}
    assert jar == {}
    assert [browser.me() for browser in (*stolen, other)] == [NOBODY] * 4


def test_an_old_id_is_past_its_grace_everywhere(services: Services) -> None:
    jar: dict[str, str] = {}
    flask, kotlin, swift = (Browser(services[name].port, jar) for name in SERVICES)
    flask.login("grace")
    thieves = [Browser(services[name].port, dict(jar)) for name in SERVICES]
    assert until(5.0, lambda: bool(swift.must("/rotate")["rotated"]))
    assert kotlin.me()["user"] == "grace"
    assert until(5.0, lambda: thieves[0].me() == NOBODY)
    assert [thief.me() for thief in thieves] == [NOBODY] * 3
    assert flask.me() == NOBODY, "the use of a copied id ends the session for both"


@pytest.mark.parametrize(("late", "out"), list(itertools.permutations(SERVICES, 2)))
def test_a_logout_at_one_refuses_a_write_under_way_at_another(services: Services, late: str, out: str) -> None:
    browser = Browser(services[late].port).login("slow")
    elsewhere = Browser(services[out].port, dict(browser.cookies))
    stolen = browser.copy()
    with background(lambda: browser.post("/set", k="late", v="x", ms=1500)) as wait:
        time.sleep(0.4)
        elsewhere.must("/logout")
        assert wait().status == 409
    assert stolen.me() == NOBODY
