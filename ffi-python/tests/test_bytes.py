"""A second maker of ids and records, written from `spec/clauses` with the standard library alone. The library takes
what it makes, and it reads what the library makes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
import struct
from pathlib import Path

import coatroom
import pytest
from coatroom.testing import ManualClock
from conftest import TEST_KEYS, Browser


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def tag_key() -> bytes:
    """KEY-4: HKDF-SHA-256 without salt, 64 bytes."""
    text = TEST_KEYS.partition(":")[2]
    extracted = mac(bytes(32), base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    first = mac(extracted, b"coatroom/1 session id tag\x01")
    return first + mac(extracted, first + b"coatroom/1 session id tag\x02")


def make_id(handle: bytes, generation: int, secret: bytes) -> str:
    """ID-1 and ID-2."""
    signed = handle + struct.pack(">IH", generation, 1) + secret
    return base64.urlsafe_b64encode(signed + mac(tag_key(), signed)[:16]).decode()


def time(ms: int) -> bytes:
    return struct.pack(">Q", ms)[2:]


def text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


def make_record(now: int, secret: bytes, principal: str, data: bytes) -> bytes:
    """REC-1: one login, presented once."""
    front = struct.pack(">BBQ", 1, 1, 7) + b"commit 1" + bytes(24)
    times = time(now) + time(now) + time(now + 3_600_000) + time(60_000)
    current = struct.pack(">I", 1) + hashlib.sha256(secret).digest() + time(now) + time(now)
    who = b"\1\2" + time(now) + text(principal) + struct.pack(">H", 1) + text("admin")
    return front + times + current + struct.pack(">IB", 1, 0) + who + text("") + text("") + data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def commit(session: coatroom.Session, browser: Browser) -> None:
    session._commit(200)
    browser.take(session._exchange.head()[2])


# spec: ID-1 bd5d, ID-2 5b7c, KEY-4 af29, REC-1 14f3, LIFE-4 4620
def test_a_session_made_by_hand_is_taken_for_what_it_is(path: Path, clock: ManualClock, browser: Browser) -> None:
    sessions = coatroom.Sessions(f"sqlite:{path}", TEST_KEYS, clock=clock)
    now = int(clock.now().timestamp() * 1000)
    handle, secret = b"twelve bytes", b"32 bytes that nobody could guess"
    row = (handle, 2**40, make_record(now, secret, "alice", b"\xa1\x61n\x18\x2a"))
    with sqlite3.connect(path) as raw:
        raw.execute("INSERT INTO session (handle, garbage_at, record) VALUES (?, ?, ?)", row)
    raw.close()

    browser.cookies["__Host-id"] = make_id(handle, 1, secret)
    session = sessions.open(browser.header)
    assert (session.principal, session.roles, session.level) == ("alice", frozenset({"admin"}), 2)
    assert session["n"] == 42
    for dead in (make_id(handle, 0, secret), make_id(handle, 1, bytes(32)), make_id(bytes(12), 1, secret)):
        assert sessions.open(f"__Host-id={dead}").principal is None


# spec: ID-1 bd5d, ID-5 2023, ROT-3 0963, KEY-4 af29
def test_what_the_library_makes_is_read_by_hand(path: Path, clock: ManualClock, browser: Browser) -> None:
    sessions = coatroom.Sessions(f"sqlite:{path}", TEST_KEYS, clock=clock)
    session = sessions.open(b"")
    session.login("alice")
    commit(session, browser)
    old = base64.urlsafe_b64decode(browser.cookies["__Host-id"])
    handle, secret = old[:12], old[18:50]
    assert make_id(handle, 0, secret) == browser.cookies["__Host-id"]

    commit(sessions.open(browser.header), browser)
    clock.advance(60)
    session = sessions.open(browser.header)
    assert session.rotate() == "rotated"
    commit(session, browser)
    with sqlite3.connect(path) as raw:
        (record,) = raw.execute("SELECT record FROM session WHERE handle = ?", (handle,)).fetchone()
    raw.close()
    digest, previous, nonce = record[70:102], record[119:151], record[151:167]
    following = mac(secret, b"rotate|" + nonce)
    assert (digest, previous) == (hashlib.sha256(following).digest(), hashlib.sha256(secret).digest())
    assert browser.cookies["__Host-id"] == make_id(handle, 1, following)
