"""The contract in short over each store that several workers can share."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from harness import Server, together, until


@pytest.fixture(scope="module", params=["file", "redis", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a store."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "file":
        yield f"file:{folder / 'sessions'}"
        return
    with servers.redis(folder) if request.param == "redis" else servers.postgres() as address:
        yield address


@pytest.fixture(scope="module")
def server(store: str, app: str) -> Iterator[Server]:
    """Two workers of an app over the store."""
    with Server(app, "--store", store, "--workers", "2") as running:
        yield running


def test_a_life_of_a_session(server: Server) -> None:
    browser = server.browser()
    browser.must("/set", k="colour", v="blue")
    browser.must("/login", user="ada")
    planted = dict(browser.cookies)
    assert browser.me() == {"user": "ada", "views": 0, "keys": {"colour": "blue"}}
    browser.must("/logout")
    browser.cookies.update(planted)
    assert browser.me() == {"user": None, "views": 0, "keys": {}}


def test_no_addition_is_lost_between_two_workers(server: Server) -> None:
    browser = server.browser()
    browser.must("/login", user="counter")
    for _ in range(10):
        assert [reply.status for reply in together(20, lambda _: browser.post("/add", ms=5))] == [200] * 20
    assert browser.me()["views"] == 200


def test_in_serial_mode_200_concurrent_increments_count_200(store: str, app: str) -> None:
    with Server(app, "--store", store, "--workers", "2", "--concurrency", "serial") as server:
        browser = server.browser()
        browser.must("/login", user="in turn")
        replies = together(200, lambda _: browser.post("/incr", ms=5))
        assert [reply.status for reply in replies] == [200] * 200
        assert browser.me()["views"] == 200


def test_all_sessions_of_a_user_end_everywhere(server: Server) -> None:
    # Servers of other apps may be on the same store.
    user = f"everywhere {secrets.token_hex(4)}"
    browsers = [server.browser() for _ in range(4)]
    for browser in browsers:
        browser.must("/login", user=user)
    assert len(browsers[0].get("/sessions").json()["sessions"]) == 4
    assert browsers[0].must("/logout-others") == {"ended": 3}
    assert [browser.me()["user"] for browser in browsers] == [user, None, None, None]
    assert browsers[0].must("/logout-all") == {"ended": 1}
    assert browsers[0].me()["user"] is None
    # A login opened within one trip to the store of the revocation cannot be told from one that was under way.
    assert until(1.0, lambda: browsers[0].post("/login", user=user).status == 200)
    assert browsers[0].me()["user"] == user


def test_a_redis_server_that_may_evict_sessions_is_warned_of_at_the_start(tmp_path: Path) -> None:
    program = """
import logging, sys, coatroom
logging.basicConfig()
coatroom.Sessions(sys.argv[1], coatroom.Sessions.new_key(1))
"""

    def started(*options: str) -> str:
        with servers.redis(tmp_path, *options) as store:
            command = [sys.executable, "-c", program, store]
            return subprocess.run(command, check=True, timeout=30, capture_output=True, text=True).stderr

    assert "evict" in started("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    assert "evict" not in started("--maxmemory", "100mb", "--maxmemory-policy", "noeviction")


def test_children_forked_while_others_write_have_connections_of_their_own(store: str) -> None:
    """As under a server that forks its workers after it has used the store."""
    program = """
import os, sys, threading, coatroom
sessions = coatroom.Sessions(sys.argv[1], coatroom.Sessions.new_key(1))
sessions.migrate()
def login():
    session = sessions.open(b""); session.login("forked"); session._commit(200)
    cookie = session._exchange.head()[2][0].partition(";")[0]
    assert sessions.open(cookie).principal == "forked"
login()
stop = False
def write():
    while not stop: login()
threads = [threading.Thread(target=write) for _ in range(4)]
for thread in threads: thread.start()
children = []
for _ in range(6):
    child = os.fork()
    if child == 0:
        login(); login(); os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop = True
for thread in threads: thread.join()
login()
sys.exit(codes != [0] * 6)
"""
    subprocess.run([sys.executable, "-c", program, store], check=True, timeout=60)
