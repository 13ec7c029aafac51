"""What a session costs a Python handler: CPU time over the same handler without a session, in one run.

Interleaved rounds, medians. The handler touches two keys (read) or adds to one (write) through the ASGI middleware and
through the session object alone; the baseline is the same call with no session layer.
"""

from __future__ import annotations

import asyncio
import base64
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import coatroom
from coatroom.asgi import CoatroomMiddleware

KEYS = "1:" + base64.urlsafe_b64encode(b"obviously a test key, not a secret!").decode().rstrip("=")
ROUNDS = 15
CALLS = 2000

Handler = Callable[[dict[str, Any]], None]
App = Callable[[Any, Any, Any], Awaitable[None]]


def app_of(handler: Handler) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        handler(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


def read(scope: dict[str, Any]) -> None:
    session = scope["session"]
    session["views"]
    session["name"]


def write(scope: dict[str, Any]) -> None:
    scope["session"].add("views", 1)


def nothing(scope: dict[str, Any]) -> None:
    return None


async def send(message: Any) -> None:
    return None


def logged_in(sessions: coatroom.Sessions) -> bytes:
    session = sessions.open(b"")
    session.update(views=7, name="Ada Lovelace", cart="x" * 160)
    session.login("ada", roles=["admin"])
    session._commit(200)
    cookie = session._exchange.head()[2][0].partition(";")[0].encode()
    sessions.open(cookie)._commit(200)
    return cookie


async def measure(app: App, cookie: bytes) -> float:
    """CPU microseconds of one call; all threads of the process count."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"cookie", cookie)]}
    start = time.process_time_ns()
    for _ in range(CALLS):
        await app(dict(scope), None, send)
    return (time.process_time_ns() - start) / CALLS / 1000


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cases: dict[str, tuple[App, bytes]] = {"no session": (app_of(nothing), b"")}
        for store in ("memory", f"sqlite:{Path(folder) / 'sessions.db'}"):
            sessions = coatroom.Sessions(store, KEYS, rotate_every=None)
            cookie = logged_in(sessions)
            name = store.partition(":")[0]
            cases[f"{name} read"] = (CoatroomMiddleware(app_of(read), sessions), cookie)
            cases[f"{name} write"] = (CoatroomMiddleware(app_of(write), sessions), cookie)
            cases[f"{name} untouched"] = (CoatroomMiddleware(app_of(nothing), sessions), cookie)
            cases[f"{name} anonymous"] = (CoatroomMiddleware(app_of(nothing), sessions), b"")
        rounds: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, (app, cookie) in cases.items():
                rounds[name].append(await measure(app, cookie))
        base = statistics.median(rounds.pop("no session"))
        print(f"handler without a session: {base:.2f} us")
        for name, times in rounds.items():
            print(f"{name:18} +{statistics.median(times) - base:6.2f} us CPU")


asyncio.run(main())
