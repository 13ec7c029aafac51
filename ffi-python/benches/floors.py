"""What no session in a store can do without that loses no write: a read of 300 bytes before each request, and a
compare-and-set after one that changes it, before its response begins."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import socket
import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

KINDS = ("bare calls, SQLite", "bare calls, Redis")
WRITES = "/incr"
RECORD = b"x" * 300
STAMP = 16
"""The first bytes of a record, which are compared."""

COMPARE_AND_SET = b"""#!lua
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', 86400000)
return 1"""


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


GET = command(b"GET", b"floor")
FOUND = b"$300\r\n" + RECORD + b"\r\n"
SWAP = command(b"EVALSHA", hashlib.sha1(COMPARE_AND_SET).hexdigest().encode(), b"1", b"floor", RECORD[:STAMP], RECORD)
DONE = b":1\r\n"


Calls = tuple[Callable[[], object], Callable[[], object]]
"""To read, and to write."""


def under_wsgi(app: Any, kind: str, folder: str, redis: str) -> Any:
    read, write = of_sqlite(folder) if kind == KINDS[0] else of_redis(redis)

    def wrapped(environ: Any, start_response: Any) -> Any:
        read()
        body = app(environ, start_response)
        if environ["PATH_INFO"] == WRITES:
            write()
        return body

    return wrapped


def under_asgi(app: Any, kind: str, folder: str, redis: str) -> Any:
    return with_sqlite(app, *of_sqlite(folder)) if kind == KINDS[0] else with_redis(app, redis)


def with_sqlite(app: Any, read: Callable[[], object], write: Callable[[], object]) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        async def hold(message: Any) -> None:
            if scope["path"] == WRITES and message["type"] == "http.response.start":
                write()
            await send(message)

        read()
        await app(scope, receive, hold)

    return wrapped


def with_redis(app: Any, redis: str) -> Any:
    client: Plain | None = None

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        nonlocal client
        if client is None:
            client = Plain(redis)
        ask = client.ask

        async def hold(message: Any) -> None:
            if scope["path"] == WRITES and message["type"] == "http.response.start":
                await ask(SWAP)
            await send(message)

        await ask(GET)
        await app(scope, receive, hold)

    return wrapped


class Plain:
    """As little as asyncio can do: one connection, what is asked in one turn of the loop is sent together, and a reply
    is known by its length."""

    def __init__(self, redis: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.connection = connected(redis)
        self.connection.setblocking(False)
        self.waiting: deque[asyncio.Future[bytes]] = deque()
        self.unsent: list[bytes] = []
        self.read = b""
        self.loop.add_reader(self.connection, self.hear)

    def ask(self, command: bytes) -> asyncio.Future[bytes]:
        answer = self.loop.create_future()
        self.waiting.append(answer)
        if not self.unsent:
            self.loop.call_soon(self.send)
        self.unsent.append(command)
        return answer

    def send(self) -> None:
        self.connection.send(b"".join(self.unsent))
        self.unsent.clear()

    def hear(self) -> None:
        read = self.read + self.connection.recv(65536)
        at = 0
        while at < len(read):
            end = at + (len(DONE) if read.startswith(DONE, at) else len(FOUND))
            if end > len(read):
                break
            self.waiting.popleft().set_result(read[at:end])
            at = end
        self.read = read[at:]


def of_sqlite(folder: str) -> Calls:
    connection = sqlite3.connect(f"{folder}/floor.db", isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, record BLOB)")
    connection.execute("INSERT INTO floor VALUES (1, ?)", (RECORD,))

    other = RECORD.swapcase()  # what stays the same, SQLite does not write
    swaps = itertools.cycle(((other, RECORD[:STAMP]), (RECORD, other[:STAMP])))

    def read() -> None:
        connection.execute("SELECT record FROM floor WHERE id = 1").fetchone()

    def write() -> None:
        connection.execute("UPDATE floor SET record = ? WHERE id = 1 AND substr(record, 1, 16) = ?", next(swaps))

    return read, write


def of_redis(redis: str) -> Calls:
    connection = connected(redis)

    def ask(command: bytes) -> None:
        connection.sendall(command)
        connection.recv(4096)

    return partial(ask, GET), partial(ask, SWAP)


def connected(redis: str) -> socket.socket:
    if redis.startswith("redis+unix://"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(redis.removeprefix("redis+unix://"))
    else:
        connection = socket.create_connection(("127.0.0.1", int(redis.rpartition(":")[2])))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for setting_up in (command(b"SET", b"floor", RECORD), command(b"SCRIPT", b"LOAD", COMPARE_AND_SET)):
        connection.sendall(setting_up)
        connection.recv(4096)
    return connection
