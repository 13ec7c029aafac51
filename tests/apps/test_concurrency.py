"""Many requests at once on one session, under real servers with several processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from conftest import Serve
from harness import LOGIN, Browser, Server, alive, background, together, until


@pytest.fixture(params=["anonymous", "logged in"])
def tabs(request: pytest.FixtureRequest, browser: Browser) -> Browser:
    """A browser with a session, before and after login."""
    browser.must("/set", k="start", v="1")
    if request.param == "logged in":
        browser.login("ada")
    return browser


def test_200_concurrent_adds_count_200(tabs: Browser) -> None:
    replies = together(200, lambda _: tabs.post("/add", ms=5))
    assert [reply.status for reply in replies] == [200] * 200
    assert tabs.me()["views"] == 200


def test_200_concurrent_adds_count_200_in_workers_forked_from_one_that_has_the_store(database: Path) -> None:
    flags = ("--store", f"sqlite:{database}", "--workers", "2")
    with Server("flask", *flags, environment={"PRELOAD": "1"}) as server:
        browser = server.browser().login("ada")
        replies = together(200, lambda _: browser.post("/add", ms=5))
        assert [reply.status for reply in replies] == [200] * 200
        assert browser.me()["views"] == 200


def test_concurrent_writes_to_different_keys_all_survive(tabs: Browser) -> None:
    replies = together(40, lambda number: tabs.post("/set", k=f"k{number}", v=number, ms=20))
    assert [reply.status for reply in replies] == [200] * 40
    keys = tabs.me()["keys"]
    assert keys == {"start": "1", **{f"k{number}": str(number) for number in range(40)}}


def test_in_merge_mode_the_last_writer_of_a_key_wins(tabs: Browser) -> None:
    replies = together(4, lambda _: tabs.post("/incr", ms=300))
    assert [reply.status for reply in replies] == [200] * 4
    assert tabs.me()["views"] == 1


def test_a_write_in_flight_does_not_undo_a_logout(browser: Browser) -> None:
    browser.login("ada")
    slow = browser.copy()
    with background(lambda: slow.post("/set", k="a", v="late", ms=900)) as wait:
        time.sleep(0.4)
        thief = browser.copy()
        browser.must("/logout")
        late = wait()
    assert (late.status, late.set_cookies) == (409, [])
    assert thief.me() == slow.me() == {"user": None, "views": 0, "keys": {}}


def test_a_write_in_flight_does_not_reach_past_a_login(browser: Browser) -> None:
    browser.must("/set", k="a", v="1")
    slow = browser.copy()
    with background(lambda: slow.post("/set", k="a", v="late", ms=900)) as wait:
        time.sleep(0.4)
        browser.login("ada")
        late = wait()
    assert (late.status, late.set_cookies) == (409, [])
    assert browser.me() == {"user": "ada", "views": 0, "keys": {"a": "1"}}


def test_in_strict_mode_one_of_two_concurrent_increments_is_refused(serve: Serve, database: Path) -> None:
    server = serve("--store", f"sqlite:{database}", "--workers", "2", "--concurrency", "strict")
    browser = server.browser().login("ada")
    replies = together(2, lambda _: browser.post("/incr", ms=400))
    assert sorted(reply.status for reply in replies) == [200, 409]
    assert browser.me() == {"user": "ada", "views": 1, "keys": {}}
    together(20, lambda _: browser.must("/add", ms=5))
    assert browser.me()["views"] == 21


@pytest.mark.parametrize("is_logged_in", [False, True])
def test_in_serial_mode_200_concurrent_increments_count_200(serve: Serve, database: Path, is_logged_in: bool) -> None:
    server = serve("--store", f"sqlite:{database}", "--workers", "2", "--concurrency", "serial")
    browser = server.browser()
    browser.must("/set", k="start", v="1")
    if is_logged_in:
        browser.login("ada")
    replies = together(200, lambda _: browser.post("/incr", ms=5))
    assert [reply.status for reply in replies] == [200] * 200
    assert browser.me()["views"] == 200


def test_in_serial_mode_the_turn_of_a_killed_worker_runs_out(serve: Serve, database: Path) -> None:
    flags = ("--store", f"sqlite:{database}", "--workers", "2", "--concurrency", "serial")
    server = serve(*flags, "--lease-seconds", "1", "--skew-seconds", "0.1")
    browser = server.browser().login("ada")
    before = stored(database)
    # One alone: a second would wait for the turn, or come late, find a new worker and count there.
    with background(lambda: dies(browser)) as wait:
        assert until(10.0, lambda: stored(database) != before), "the turn is taken"
        workers = set(server.workers())
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        wait()
    assert until(60.0, lambda: len(set(server.workers()) - workers) == 2)
    # Where each worker listens by itself, it does so a little after it has begun.
    assert until(10.0, server.answers)
    started = time.monotonic()
    browser.must("/incr")
    assert time.monotonic() - started < 5
    assert browser.me()["views"] == 1


def stored(database: Path) -> list[bytes]:
    """Every record."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [record for (record,) in connection.execute("SELECT record FROM session ORDER BY handle")]


def answers(browser: Browser) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return browser.get("/me").status == 200
    return False


def dies(browser: Browser) -> None:
    """A request whose worker is killed in its turn."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        browser.post("/incr", ms=20_000)


def test_rotation_under_20_parallel_requests_logs_nobody_out(serve: Serve, database: Path) -> None:
    limits = ("--rotate-seconds", "0.1", "--grace-seconds", "0.6")
    server = serve("--store", f"sqlite:{database}", "--workers", "2", *limits)
    browser = server.browser().login("ada")
    ids = {browser.cookies[LOGIN]}
    end = time.monotonic() + 6

    def tab(_number: int) -> int:
        added = 0
        while time.monotonic() < end:
            assert browser.me()["user"] == "ada"
            browser.must("/add")
            added += 1
            ids.add(browser.cookies[LOGIN])
        return added

    added = sum(together(20, tab))
    assert browser.me() == {"user": "ada", "views": added, "keys": {}}
    assert len(ids) >= 3


class WriteLoop:
    """Clients that add to one session until told to stop, and count what was acknowledged."""

    def __init__(self, browser: Browser, clients: int) -> None:
        self.acknowledged = self.unanswered = 0
        self.refused: list[int] = []
        self._browser = browser
        self._clients = clients
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self) -> None:
        """Adds until `stop`."""
        together(self._clients, lambda _: self._client())

    def stop(self) -> None:
        """Lets every client end after its present request."""
        self._stop.set()

    def _client(self) -> None:
        while not self._stop.is_set():
            try:
                status = self._browser.post("/add").status
            except (OSError, http.client.HTTPException):
                status = 0
            self._count(status)

    def _count(self, status: int) -> None:
        with self._lock:
            self.acknowledged += status == 200
            self.unanswered += status == 0
            if status not in (0, 200):
                self.refused.append(status)


def kill_a_worker(server: Server) -> None:
    """kill -9 of one worker; returns when another has taken its place."""
    before = set(server.workers())
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    assert until(10.0, lambda: not alive(victim) and bool(set(server.workers()) - before - {victim}))


def test_kill_9_of_a_worker_loses_no_acknowledged_write(serve: Serve, database: Path) -> None:
    server = serve("--store", f"sqlite:{database}", "--workers", "2")
    browser = server.browser().login("ada")
    loop = WriteLoop(browser, clients=8)
    with background(loop.run) as wait:
        for _ in range(3):
            time.sleep(0.5)
            kill_a_worker(server)
        time.sleep(0.5)
        loop.stop()
        wait()
    assert loop.refused == []
    assert loop.acknowledged > 50
    assert until(60.0, lambda: answers(browser)), "a worker takes the place of one that was killed"
    views = browser.me()["views"]
    assert loop.acknowledged <= views <= loop.acknowledged + loop.unanswered
