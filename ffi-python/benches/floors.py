"""What no session in a store can do without: a read of 300 bytes for each request, a write for one that changes it."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

KINDS = ("bare calls, SQLite", "bare calls, Redis")
WRITES = "/incr"
RECORD = b"x" * 300
GET = b"*2\r\n$3\r\nGET\r\n$5\r\nfloor\r\n"
FOUND = b"$300\r\n" + RECORD + b"\r\n"
OK = b"+OK\r\n"
SET = b"*3\r\n$3\r\nSET\r\n$5\r\nfloor\r\n$300\r\n" + RECORD + b"\r\n"


def under_wsgi(app: Any, kind: str, folder: str, redis: str) -> Any:
    calls = of_sqlite(folder) if kind == KINDS[0] else of_redis(redis)

    def wrapped(environ: Any, start_response: Any) -> Any:
        calls(environ["PATH_INFO"])
        return app(environ, start_response)

    return wrapped


def under_asgi(app: Any, kind: str, folder: str, redis: str) -> Any:
    return with_sqlite(app, of_sqlite(folder)) if kind == KINDS[0] else with_redis(app, redis)


def with_sqlite(app: Any, calls: Callable[[str], None]) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        calls(scope["path"])
        await app(scope, receive, send)

    return wrapped


def with_redis(app: Any, redis: str) -> Any:
    """Reads before the application runs, and writes before its response begins, as a session has to."""
    client: Plain | None = None

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        nonlocal client
        if client is None:
            client = Plain(redis)
        ask = client.ask

        async def hold(message: Any) -> None:
            if scope["path"] == WRITES and message["type"] == "http.response.start":
                await ask(SET)
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
            end = at + (len(OK) if read.startswith(OK, at) else len(FOUND))
            if end > len(read):
                break
            self.waiting.popleft().set_result(read[at:end])
            at = end
        self.read = read[at:]


def of_sqlite(folder: str) -> Callable[[str], None]:
    connection = sqlite3.connect(f"{folder}/floor.db", isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, record BLOB)")
    connection.execute("INSERT INTO floor VALUES (1, ?)", (RECORD,))

    records = itertools.cycle((RECORD, RECORD.swapcase()))  # what stays the same, SQLite does not write

    def calls(path: str) -> None:
        connection.execute("SELECT record FROM floor WHERE id = 1").fetchone()
        if path == WRITES:
            connection.execute("UPDATE floor SET record = ? WHERE id = 1", (next(records),))

    return calls


def of_redis(redis: str) -> Callable[[str], None]:
    connection = connected(redis)

    def calls(path: str) -> None:
        for command in (GET, SET) if path == WRITES else (GET,):
            connection.sendall(command)
            connection.recv(4096)

    return calls


def connected(redis: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(redis.rpartition(":")[2])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(SET)
    connection.recv(4096)
    return connection
