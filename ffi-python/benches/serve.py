"""One application, measured from inside its process: `serve.py FRAMEWORK SESSIONS [REDIS]`.

Each line of the input, such as `read 500 1`, is answered by the CPU microseconds of one request: of all threads of this
process, without an HTTP server, of so many requests with so many of them in flight.
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import floors

KEYS = "1:" + base64.urlsafe_b64encode(b"obviously a test key, not a secret!").decode().rstrip("=")
BEGINNING = {"views": 7, "name": "Ada Lovelace", "cart": "x" * 160}
MANY = 32
ROUTES = {"read": ("GET", "/me"), "write": ("POST", "/incr")}
SETTINGS: Any = {"rotate_every": None}

Server = Callable[[str, str, str, int, int], tuple[float, list[str]]]
"""Sends requests with method, path and cookies: so many, so many in flight. CPU of one, and the cookies set last."""


def of_coatroom(kind: str, folder: str, redis: str) -> Any:
    import coatroom

    stores = {"memory": "memory", "sqlite": f"sqlite:{folder}/sessions.db", "redis": redis}
    return coatroom.Sessions(stores[kind], KEYS, **SETTINGS)


# As a program reads and writes its session: ours, and a session that is a dict.


def my_me(session: Any) -> dict[str, Any]:
    return {"user": session.principal, "views": session["views"]}


def my_incr(session: Any) -> dict[str, Any]:
    return {"views": session.add("views", 1)}


def my_login(session: Any) -> dict[str, Any]:
    session.update(BEGINNING)
    session.login("ada")
    return {}


def me(session: Any) -> dict[str, Any]:
    return {"user": session["user"], "views": session["views"]}


def incr(session: Any) -> dict[str, Any]:
    session["views"] += 1
    return {"views": session["views"]}


def login(session: Any) -> dict[str, Any]:
    session.update(BEGINNING | {"user": "ada"})
    return {}


def without_session(kind: str) -> bool:
    return kind == "bare" or kind in floors.KINDS


def views_of(kind: str) -> dict[str, Any]:
    if without_session(kind):
        return dict.fromkeys(("/me", "/incr", "/login"), lambda session: {"views": 7})
    ours = kind in ("memory", "sqlite", "redis")
    return {"/me": my_me, "/incr": my_incr, "/login": my_login} if ours else {"/me": me, "/incr": incr, "/login": login}


def flask_app(kind: str, folder: str, redis: str) -> Server:
    import flask

    app = flask.Flask(__name__)
    app.secret_key = "a test key, not a secret"
    if kind in ("memory", "sqlite", "redis"):
        from coatroom.flask import Coatroom

        Coatroom(app, of_coatroom(kind, folder, redis))
    elif kind == "Flask-Session, Redis":
        from flask_session import Session
        from redis import Redis

        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(redis))
        Session(app)
    for path, view in views_of(kind).items():
        run: Any = partial(view, None if without_session(kind) else flask.session)
        app.add_url_rule(path, path, run, methods=["GET", "POST"])
    return wsgi(app, kind, folder, redis)


def django_app(kind: str, folder: str, redis: str) -> Server:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    theirs = {"signed_cookies": "signed_cookies", "cache, Redis": "cache", "db, SQLite": "db"}
    chosen: dict[str, Any] = {"MIDDLEWARE": []}
    if kind in theirs:
        chosen["MIDDLEWARE"] = ["django.contrib.sessions.middleware.SessionMiddleware"]
        chosen["SESSION_ENGINE"] = f"django.contrib.sessions.backends.{theirs[kind]}"
    elif not without_session(kind):
        chosen["MIDDLEWARE"] = ["coatroom.django.SessionMiddleware"]
        chosen["SESSION_ENGINE"] = "coatroom.django.sessions"
        chosen["COATROOM"] = {"sessions": of_coatroom(kind, folder, redis)}

    def view_of(view: Callable[[Any], dict[str, Any]]) -> Callable[[HttpRequest], JsonResponse]:
        return lambda request: JsonResponse(view(None if without_session(kind) else request.session))

    urls = type("Urls", (), {"urlpatterns": [path(route[1:], view_of(view)) for route, view in views_of(kind).items()]})
    settings.configure(
        SECRET_KEY="a test key, not a secret",
        ALLOWED_HOSTS=["site.test"],
        ROOT_URLCONF=urls,
        INSTALLED_APPS=["django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/django.db"}},
        CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis}},
        **chosen,
    )
    app = get_wsgi_application()
    if kind == "db, SQLite":
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
    return wsgi(app, kind, folder, redis)


def starlette_app(kind: str, folder: str, redis: str) -> Server:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    def endpoint(view: Callable[[Any], dict[str, Any]]) -> Any:
        async def run(request: Request) -> JSONResponse:
            return JSONResponse(view(None if without_session(kind) else request.session))

        return run

    views = views_of(kind)
    app = Starlette(routes=[Route(path, endpoint(view), methods=["GET", "POST"]) for path, view in views.items()])
    return asgi(with_sessions(app, kind, folder, redis))


def fastapi_app(kind: str, folder: str, redis: str) -> Server:
    from fastapi import FastAPI, Request

    def endpoint(view: Callable[[Any], dict[str, Any]]) -> Any:
        async def run(request):  # type: ignore[no-untyped-def]
            return view(None if without_session(kind) else request.session)

        # FastAPI goes by annotations, and those of a module do not see what a function imports.
        run.__annotations__ = {"request": Request}
        return run

    app = FastAPI()
    for path, view in views_of(kind).items():
        app.add_api_route(path, endpoint(view), methods=["GET", "POST"])
    return asgi(with_sessions(app, kind, folder, redis))


def with_sessions(app: Any, kind: str, folder: str, redis: str) -> Any:
    if kind in ("memory", "sqlite", "redis"):
        from coatroom.asgi import CoatroomMiddleware

        app.add_middleware(CoatroomMiddleware, of_coatroom(kind, folder, redis))
    elif kind == "signed cookie":
        from starlette.middleware.sessions import SessionMiddleware

        app.add_middleware(SessionMiddleware, "a test key, not a secret")
    elif kind == "starsessions, Redis":
        from starsessions import SessionAutoloadMiddleware
        from starsessions import SessionMiddleware as Starsessions
        from starsessions.stores.redis import RedisStore

        app.add_middleware(SessionAutoloadMiddleware)
        app.add_middleware(Starsessions, store=RedisStore(redis), lifetime=1800, rolling=True)
    elif kind in floors.KINDS:
        return floors.under_asgi(app, kind, folder, redis)
    return app


def wsgi(app: Any, kind: str, folder: str, redis: str) -> Server:
    heads: list[list[tuple[str, str]]] = []
    if kind in floors.KINDS:
        app = floors.under_wsgi(app, kind, folder, redis)

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        assert status.startswith("200"), status
        heads[:] = [headers]
        return lambda chunk: None

    def send(method: str, path: str, cookie: str, count: int, in_flight: int) -> tuple[float, list[str]]:
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
            "HTTP_COOKIE": cookie,
            "HTTP_HOST": "site.test",
            "SERVER_NAME": "site.test",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": "0",
            "wsgi.url_scheme": "https",
            "wsgi.errors": sys.stderr,
        }
        start = time.process_time_ns()
        for _ in range(count):
            body = app({**environ, "wsgi.input": io.BytesIO()}, start_response)
            b"".join(body)
            if hasattr(body, "close"):
                body.close()
        spent = time.process_time_ns() - start
        return spent / count / 1000, [value for name, value in heads[0] if name.lower() == "set-cookie"]

    return send


def asgi(app: Any) -> Server:
    loop = asyncio.new_event_loop()
    heads: list[list[tuple[bytes, bytes]]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def answered(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message
            heads[:] = [message["headers"]]

    async def some(scope: dict[str, Any], cookies: Iterable[bytes], count: int) -> None:
        headers = [(b"host", b"site.test")]
        for _, cookie in zip(range(count), cookies):  # noqa: B905
            await app({**scope, "headers": [*headers, (b"cookie", cookie)], "state": {}}, receive, answered)

    async def all_of(scope: dict[str, Any], cookie: str, count: int, in_flight: int) -> None:
        # As many sessions as there are requests in flight: they do not wait for each other.
        cookies = itertools.cycle(cookie.encode().split(b"\n"))
        chains = [itertools.repeat(next(cookies)) for _ in range(in_flight)]
        await asyncio.gather(*(some(scope, chain, count // in_flight) for chain in chains))

    def send(method: str, path: str, cookie: str, count: int, in_flight: int) -> tuple[float, list[str]]:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "server": ("site.test", 443),
            "client": ("127.0.0.1", 1),
        }
        start = time.process_time_ns()
        loop.run_until_complete(all_of(scope, cookie, count, in_flight))
        spent = time.process_time_ns() - start
        cookies = [value.decode("latin-1") for name, value in heads[0] if name.lower() == b"set-cookie"]
        return spent / (count // in_flight * in_flight) / 1000, cookies

    return send


APPS = {"Flask": flask_app, "Django": django_app, "Starlette": starlette_app, "FastAPI": fastapi_app}


def main() -> None:
    framework, kind, redis = sys.argv[1], sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory() as folder:
        send = APPS[framework](kind, folder, redis)
        jar = []
        for _ in range(1 if framework in ("Flask", "Django") else MANY):
            _, lines = send("POST", "/login", "", 1, 1)
            jar.append("; ".join(line.partition(";")[0] for line in lines if "Max-Age=0" not in line))
        cookies = "\n".join(jar)
        print("ready", flush=True)
        for line in sys.stdin:
            what, count, in_flight = line.split()
            method, path = ROUTES[what]
            cost, _ = send(method, path, cookies, int(count), int(in_flight))
            print(json.dumps(cost), flush=True)


if __name__ == "__main__":
    main()
