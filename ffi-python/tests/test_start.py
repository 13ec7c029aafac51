"""What is settled at start: keys, settings, the file, and which interpreters the wheel runs on."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import coatroom
import coatroom.flask
import coatroom.litestar
import coatroom.wsgi
import pytest
from coatroom.asgi import CoatroomMiddleware
from coatroom.testing import ManualClock
from conftest import TEST_KEYS, Browser
from interpreters import interpreters

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_keys_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COATROOM_KEYS", "COATROOM_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)


# spec: KEY-6 90a8
def test_without_keys_nothing_starts() -> None:
    with pytest.raises(coatroom.ConfigError, match="COATROOM_KEYS"):
        coatroom.Sessions("memory")


@pytest.mark.parametrize("adapter", ["asgi", "wsgi", "flask", "litestar"])
@pytest.mark.parametrize(
    "beside", [{"csrf": True}, {"sealed": True}, {"store": "memory"}, {"dev": True}, {"nonsense": 5}], ids=str
)
def test_an_adapter_takes_sessions_or_settings_and_drops_none_in_silence(adapter: str, beside: dict[str, Any]) -> None:
    sessions: Any = coatroom.Sessions("memory", TEST_KEYS)
    no_app: Any = None
    make: Any = {
        "asgi": lambda **settings: CoatroomMiddleware(no_app, sessions, **settings),
        "wsgi": lambda **settings: coatroom.wsgi.CoatroomMiddleware(no_app, sessions, **settings),
        "flask": lambda **settings: coatroom.flask.Coatroom(None, sessions, **settings),
        "litestar": lambda **settings: coatroom.litestar.CoatroomPlugin(sessions, **settings),
    }[adapter]
    make()
    if "csrf" in beside and adapter != "litestar":
        make(**beside)
        return
    with pytest.raises(coatroom.ConfigError, match=next(iter(beside))):
        make(**beside)


# spec: KEY-7 ffb4, KEY-2 b383
def test_keys_come_from_the_argument_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{coatroom.Sessions.new_key(2)}\n{TEST_KEYS}\n")
    monkeypatch.setenv("COATROOM_KEYS_FILE", str(file))
    coatroom.Sessions("memory")
    monkeypatch.setenv("COATROOM_KEYS", "nonsense")
    with pytest.raises(coatroom.ConfigError, match="key 1 is malformed") as refused:
        coatroom.Sessions("memory")
    assert "nonsense" not in str(refused.value)
    coatroom.Sessions("memory", TEST_KEYS)
    monkeypatch.delenv("COATROOM_KEYS")
    monkeypatch.setenv("COATROOM_KEYS_FILE", str(tmp_path / "missing"))
    with pytest.raises(coatroom.ConfigError, match="COATROOM_KEYS_FILE"):
        coatroom.Sessions("memory")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"idle": 0}, "`idle`"),
        ({"idle": -1}, "`idle`"),
        ({"skew": 20}, "`skew`"),
        ({"size": 1}, "`size`"),
        ({"concurrency": "x"}, "`concurrency`"),
        ({"carry": "x"}, "`carry`"),
        ({"reuse": "x"}, "`reuse`"),
        ({"reuse": "revoke-all", "tombstone": 0}, "`tombstone`"),
        ({"limit": ("refuse", 0)}, "`limit`"),
        ({"preset": "aal3", "absolute": 50_000}, "`absolute`"),
        ({"preset": "aal9"}, "`preset`"),
        ({"login_cookie": "id"}, "__Host-"),
        ({"domain": "example.org", "login_cookie": "__Host-id"}, "__Secure-"),
        ({"same_site": "x"}, "`same_site`"),
        ({"max_age": 0}, "`max_age`"),
        ({"unknown": 1}, "`unknown`"),
    ],
)
# spec: POL-2 2d84
def test_settings_that_contradict_themselves_are_refused_and_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(coatroom.ConfigError, match=words):
        coatroom.Sessions("memory", TEST_KEYS, **settings)  # type: ignore[arg-type]


def test_a_store_that_is_not_known_is_refused() -> None:
    for store in ("", "sqlite:", "sqlite", "file:", "mysql://x", "Memory"):
        with pytest.raises(coatroom.ConfigError, match="`store`"):
            coatroom.Sessions(store, TEST_KEYS)


# spec: KEY-6 90a8, POL-4 713a
def test_development_mode_says_so_and_keeps_its_keys_in_a_private_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = f"sqlite:{tmp_path / 'sessions.db'}"
    with caplog.at_level(logging.WARNING, "coatroom"):
        sessions = coatroom.Sessions(store, dev=True)
    assert caplog.text.count("development mode") == 1
    assert sessions.cookie_names == ("id", "visitor")
    keys = tmp_path / "sessions.db.keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "sessions.db").stat().st_mode) == 0o600
    before = keys.read_text()
    session = sessions.open(b"")
    session["key"] = 1
    session._commit(200)
    (line,) = session._exchange.head()[2]
    assert line.startswith("visitor=")
    assert "Secure" not in line
    assert coatroom.Sessions(store, dev=True).open(line.partition(";")[0])["key"] == 1
    assert keys.read_text() == before
    assert sorted(os.listdir(tmp_path))[:2] == ["sessions.db", "sessions.db-shm"]


def test_a_file_that_is_not_ours_is_refused_and_not_touched(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_bytes(b"this is no database at all, but long enough to look at" * 100)
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE accounts (id)")
    connection.commit()
    connection.close()
    newer = tmp_path / "newer.db"
    coatroom.Sessions(f"sqlite:{newer}", TEST_KEYS)
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 1000")
    connection.close()
    for path, words in ((text, "no intact SQLite"), (foreign, "another program"), (newer, "newer version")):
        before = path.read_bytes()
        with pytest.raises(coatroom.ConfigError, match=words):
            coatroom.Sessions(f"sqlite:{path}", TEST_KEYS)
        assert path.read_bytes() == before
    with pytest.raises(coatroom.ConfigError, match="cannot be opened"):
        coatroom.Sessions(f"sqlite:{tmp_path}/missing/sessions.db", TEST_KEYS)


def test_a_fork_uses_connections_of_its_own(tmp_path: Path) -> None:
    """As under gunicorn --preload: the parent has used the store before it forks."""
    sessions = coatroom.Sessions(f"sqlite:{tmp_path / 'sessions.db'}", TEST_KEYS)
    browser = Browser()
    session = sessions.open(b"")
    session["n"] = 0
    session._commit(200)
    browser.take(session._exchange.head()[2])
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(25):
                session = sessions.open(browser.header)
                session.add("n", 1)
                session._commit(200)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert sessions.open(browser.header)["n"] == 100


def test_a_child_keeps_what_it_was_told_when_its_parent_closes_the_store(tmp_path: Path) -> None:
    """The parent has used the store, forks, and closes it while the child goes on."""
    program = """
import os, sys, coatroom
keys = coatroom.Sessions.new_key(1)
sessions = coatroom.Sessions(f"sqlite:{sys.argv[1]}", keys)
def login():
    session = sessions.open(b""); session.login("alice"); session._commit(200)
    return session._exchange.head()[2][0].partition(";")[0]
login()
ours, theirs = os.pipe()
child = os.fork()
if child == 0:
    login(); os.read(ours, 1); cookie = login()
    assert sessions.open(cookie).principal == "alice"
    again = coatroom.Sessions(f"sqlite:{sys.argv[1]}", keys)
    os._exit(0 if again.open(cookie).principal == "alice" else 1)
import time; time.sleep(0.2)
del sessions; os.write(theirs, b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", program, tmp_path / "sessions.db"], check=True, timeout=30)


def test_children_forked_while_others_write_can_write(tmp_path: Path) -> None:
    program = """
import os, sys, threading, coatroom
sessions = coatroom.Sessions(f"sqlite:{sys.argv[1]}", coatroom.Sessions.new_key(1))
def login():
    session = sessions.open(b""); session.login("alice"); session._commit(200)
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
sys.exit(codes != [0] * 6)
"""
    subprocess.run([sys.executable, "-c", program, tmp_path / "sessions.db"], check=True, timeout=60)


def test_many_may_make_the_same_store_at_once(tmp_path: Path) -> None:
    program = "import sys, coatroom; coatroom.Sessions(f'sqlite:{sys.argv[1]}', dev=True)"
    command = [sys.executable, "-c", program, str(tmp_path / "sessions.db")]
    starters = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(8)]
    outputs = [starter.communicate(timeout=30)[1] for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * 8, outputs


# spec: STORE-9 0682
def test_visitors_who_never_return_do_not_fill_the_store() -> None:
    clock = ManualClock()
    sessions = coatroom.Sessions("memory", TEST_KEYS, clock=clock, tombstone=1)
    for _ in range(3000):
        session = sessions.open(b"")
        session["n"] = 1
        assert session._exchange.close_without_waiting() is not None
        clock.advance(60)
    assert sessions.sweep(10**6) < 1500


# spec: CLAIM-10 1b5f, ID-5 2023
def test_a_dump_of_the_store_holds_no_id(tmp_path: Path) -> None:
    sessions = coatroom.Sessions(f"sqlite:{tmp_path / 'sessions.db'}", TEST_KEYS)
    browser = Browser()
    session = sessions.open(b"")
    session.login("alice")
    session._commit(200)
    browser.take(session._exchange.head()[2])
    import base64

    secret = base64.urlsafe_b64decode(browser.cookies["__Host-id"])[18:50]
    dump = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"alice" in dump
    assert secret not in dump
    assert browser.cookies["__Host-id"].encode() not in dump


@pytest.mark.parametrize("interpreter", interpreters())
def test_the_wheel_runs_on_every_interpreter_that_is_here(interpreter: str, tmp_path: Path) -> None:
    (wheel,) = (REPOSITORY / "target" / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    life = (
        "import coatroom, sys\n"
        "s = coatroom.Sessions(f'sqlite:{sys.argv[1]}', coatroom.Sessions.new_key(1))\n"
        "x = s.open(b''); x['n'] = [1, {'a': None}]; x.login('alice'); x._commit(200)\n"
        "cookie = x._exchange.head()[2][0].partition(';')[0]\n"
        "x = s.open(cookie); assert (x['n'], x.principal) == ([1, {'a': None}], 'alice'); x.logout(); x._commit(200)\n"
        "assert s.open(cookie).principal is None\n"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": os.environ["PATH"]}
    subprocess.run([interpreter, "-c", life, tmp_path / "sessions.db"], check=True, cwd=tmp_path, env=environment)


def test_the_module_needs_no_framework() -> None:
    code = "import coatroom, coatroom.asgi, coatroom.wsgi, coatroom.testing, sys; assert 'flask' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
