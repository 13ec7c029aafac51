"""What a session costs a Python handler: CPU time over the same handler without a session, in one run.

Interleaved rounds, medians. The handler touches two keys (read) or adds to one (write) through the ASGI middleware;
the baseline is the same call with no session layer. All threads of the process count, a server of the store does not.

    exchange.py                                              # memory and SQLite, as a plain ASGI application
    exchange.py --store redis --framework starlette          # a Redis server of its own, one request in flight
    exchange.py --store redis --framework starlette --in-flight 32 --loop uvloop
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import random
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import coatroom
from coatroom.asgi import CoatroomMiddleware
from coatroom.wsgi import CoatroomMiddleware as WsgiMiddleware

KEYS = "1:" + base64.urlsafe_b64encode(b"obviously a test key, not a secret!").decode().rstrip("=")
ROUNDS = 15
CALLS = 2048
START_SECONDS = 30

Handler = Callable[[Any], None]
App = Callable[[Any, Any, Any], Awaitable[None]]


def plain(handler: Handler) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        handler(scope.get("session"))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


def starlette(handler: Handler) -> App:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def view(request: Request) -> PlainTextResponse:
        handler(request.scope.get("session"))
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/", view)])


def read(session: Any) -> None:
    session["views"]
    session["name"]


def write(session: Any) -> None:
    session.add("views", 1)


def nothing(session: Any) -> None:
    return None


async def send(message: Any) -> None:
    return None


async def receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def logged_in(sessions: coatroom.Sessions) -> bytes:
    session = sessions.open(b"")
    is_worn = sessions._native.policy()["place"] == "cookie"
    session.update(views=7, name="Ada Lovelace", cart="x" * (1024 if is_worn else 160))
    session.login("ada", roles=["admin"])
    session._commit(200)
    cookie = session._exchange.head()[2][0].partition(";")[0].encode()
    shown = sessions.open(cookie)
    shown._commit(200)
    # Where the session is in the cookie, so is the first presentation.
    return next((line.partition(";")[0].encode() for line in shown._exchange.head()[2]), cookie)


async def measure(app: App, cookies: list[bytes]) -> float:
    """CPU microseconds of one call, with as many in flight as there are cookies."""

    async def client(cookie: bytes) -> None:
        headers = [(b"cookie", cookie)] if cookie else []
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
        for _ in range(CALLS // len(cookies)):
            await app(dict(scope), receive, send)

    start = time.process_time_ns()
    if len(cookies) == 1:
        await client(cookies[0])
    else:
        await asyncio.gather(*(client(cookie) for cookie in cookies))
    return (time.process_time_ns() - start) / CALLS / 1000


async def in_loop(stores: dict[str, str], framework: Callable[[Handler], App], in_flight: int) -> None:
    cases: dict[str, tuple[App, list[bytes]]] = {"no session": (framework(nothing), [b""] * in_flight)}
    for name, store in stores.items():
        sessions = coatroom.Sessions(store, KEYS, rotate_every=None)
        sessions.migrate()
        cookies = [logged_in(sessions) for _ in range(in_flight)]
        cases[f"{name} read"] = (CoatroomMiddleware(framework(read), sessions), cookies)
        cases[f"{name} write"] = (CoatroomMiddleware(framework(write), sessions), cookies)
        cases[f"{name} untouched"] = (CoatroomMiddleware(framework(nothing), sessions), cookies)
        cases[f"{name} anonymous"] = (CoatroomMiddleware(framework(nothing), sessions), [b""] * in_flight)
    rounds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (app, cookies) in cases.items():
            rounds[name].append(await measure(app, cookies))
    show(rounds)


def wsgi(handler: Handler) -> Any:
    def app(environ: Any, start: Any) -> list[bytes]:
        handler(environ.get("coatroom.session"))
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    return app


def in_threads(stores: dict[str, str]) -> None:
    """The same under WSGI, one request at a time."""
    cases: dict[str, tuple[Any, str]] = {"no session": (wsgi(nothing), "")}
    for name, store in stores.items():
        sessions = coatroom.Sessions(store, KEYS, rotate_every=None)
        sessions.migrate()
        cookie = logged_in(sessions).decode()
        cases[f"{name} read"] = (WsgiMiddleware(wsgi(read), sessions), cookie)
        cases[f"{name} write"] = (WsgiMiddleware(wsgi(write), sessions), cookie)
    rounds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (app, cookie) in cases.items():
            start = time.process_time_ns()
            for _ in range(CALLS):
                app({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_COOKIE": cookie}, lambda *head: None)
            rounds[name].append((time.process_time_ns() - start) / CALLS / 1000)
    show(rounds)


def show(rounds: dict[str, list[float]]) -> None:
    base = statistics.median(rounds.pop("no session"))
    print(f"handler without a session: {base:.2f} us")
    for name, times in rounds.items():
        print(f"{name:18} +{statistics.median(times) - base:6.2f} us CPU")


@contextlib.contextmanager
def redis_server(folder: str) -> Iterator[str]:
    """A server of its own, ended with the block."""
    port = random.randrange(20_000, 32_000)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if server.poll() is not None or time.monotonic() > ends:
                raise RuntimeError("no answer from redis-server: scripts/need servers")
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="memory, sqlite, redis, or the address of a store")
    parser.add_argument("--framework", choices=["asgi", "starlette", "wsgi"], default="asgi")
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stores = {"memory": "memory", "sqlite": f"sqlite:{Path(folder) / 'sessions.db'}", "cookie, 1 KB": "cookie"}
        if flags.store == "redis":
            stores = {"redis": stack.enter_context(redis_server(folder))}
        elif flags.store is not None:
            stores = {flags.store.partition(":")[0]: stores.get(flags.store, flags.store)}
        if flags.framework == "wsgi":
            in_threads(stores)
            return
        if flags.loop == "uvloop":
            import uvloop

            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        asyncio.run(in_loop(stores, starlette if flags.framework == "starlette" else plain, flags.in_flight))


if __name__ == "__main__":
    main()
