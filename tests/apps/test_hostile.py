"""Damaged cookies: no server error, no cookie in reply, no trip to a store."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from conftest import Serve
from hammer import Run, damaged_header, lose_the_store, reaches_the_store
from harness import LOGIN, VISITOR, Browser, Server, exchange

SECONDS = 2.5
SEED = 20


def test_hammering_with_damaged_cookies_finds_nothing(app: str, tmp_path: Path) -> None:
    run = Run(app, SECONDS, SEED)(tmp_path)
    assert run.findings == []
    assert all(tally.statuses[200] > 100 for name, tally in run.tallies.items() if not name.endswith("afterwards"))


def test_only_a_genuine_id_reaches_the_store(shared: Server, serve: Serve, database: Path) -> None:
    genuine = shared.browser().login("ada").cookies[LOGIN]
    storeless = serve("--store", f"sqlite:{database}")
    lose_the_store(database)
    forged = ("A" * 88, genuine[:-1], genuine[:-1] + ("A" if genuine[-1] != "A" else "B"), genuine.swapcase())
    assert not any(reaches_the_store(storeless.port, junk) for junk in forged)
    assert reaches_the_store(storeless.port, genuine)


def test_a_store_outage_is_a_503_that_leaves_the_cookie_alone(shared: Server, serve: Serve, database: Path) -> None:
    known = shared.browser().login("ada")
    storeless = serve("--store", f"sqlite:{database}")
    lose_the_store(database)
    browser = Browser(storeless.port, known.cookies)
    for reply in (browser.get("/me"), browser.post("/add"), browser.post("/logout"), browser.post("/login", user="b")):
        assert (reply.status, reply.set_cookies) == (503, [])
        assert reply.all("Cache-Control") == ["no-store"]
        assert int(reply.all("Retry-After")[0]) >= 1
    assert database.read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize("name", [LOGIN, VISITOR])
def test_a_damaged_cookie_is_no_session_and_is_replaced_only_by_a_write(shared: Server, name: str) -> None:
    browser = Browser(shared.port, {name: "damaged"})
    assert browser.get("/me").set_cookies == []
    browser.must("/set", k="a", v="1")
    assert browser.me()["keys"] == {"a": "1"}


def test_the_genuine_id_is_never_among_the_damaged(shared: Server) -> None:
    genuine = shared.browser().login("ada").cookies[LOGIN]
    dice = random.Random(SEED)
    headers = [damaged_header(dice, genuine) for _ in range(2000)]
    for header in headers:
        names = [pair.strip() for pair in header.split(";")]
        intact = [name for name in (LOGIN, VISITOR) if names.count(f"{name}={genuine}") == 1]
        assert not intact, header


def test_a_header_of_a_megabyte_is_refused_without_harm(shared: Server, browser: Browser) -> None:
    browser.login("ada")
    status = 0
    with contextlib.suppress(OSError):
        status = exchange(shared.port, "GET", "/me", {"Cookie": "x" * 1_000_000}).status
    assert status < 500
    assert browser.me()["user"] == "ada"
