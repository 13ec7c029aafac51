"""What no session in a store can do without: a read of 300 bytes for each request, a write for one that changes it."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

KINDS = ("bare calls, SQLite", "bare calls, Redis")
WRITES = "/incr"
RECORD = b"x" * 300
GET = b"*2\r\n$3\r\nGET\r\n$5\r\nfloor\r\n"
SET = b"*3\r\n$3\r\nSET\r\n$5\r\nfloor\r\n$300\r\n" + RECORD + b"\r\n"


def under_wsgi(app: Any, kind: str, folder: str, redis: str) -> Any:
    calls = of_sqlite(folder) if kind == KINDS[0] else of_redis(redis)

    def wrapped(environ: Any, start_response: Any) -> Any:
        calls(environ["PATH_INFO"])
        return app(environ, start_response)

    return wrapped


def under_asgi(app: Any, kind: str, folder: str, redis: str) -> Any:
    ask = in_passing(of_sqlite(folder)) if kind == KINDS[0] else of_redis_in_loop(redis)

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await ask(scope["path"])
        await app(scope, receive, send)

    return wrapped


def in_passing(calls: Callable[[str], None]) -> Callable[[str], Awaitable[None]]:
    async def called(path: str) -> None:
        calls(path)

    return called


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


def of_redis_in_loop(redis: str) -> Callable[[str], Awaitable[None]]:
    idle: list[socket.socket] = []

    async def calls(path: str) -> None:
        loop = asyncio.get_running_loop()
        connection = idle.pop() if idle else connected(redis)
        connection.setblocking(False)
        for command in (GET, SET) if path == WRITES else (GET,):
            await loop.sock_sendall(connection, command)
            await loop.sock_recv(connection, 4096)
        idle.append(connection)

    return calls


def connected(redis: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(redis.rpartition(":")[2])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(SET)
    connection.recv(4096)
    return connection
