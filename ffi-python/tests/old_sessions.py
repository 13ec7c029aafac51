"""Live sessions as other libraries leave them, each made by the library itself, and the applications that take over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any

import coatroom
from coatroom.asgi import CoatroomMiddleware
from coatroom.flask import Coatroom
from coatroom.upgrade import (
    DjangoCookie,
    DjangoStore,
    FlaskCookie,
    FlaskRedis,
    Found,
    Reader,
    StarletteCookie,
    django_user,
)
from django.contrib import auth
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path
from django_project import SESSION_ONLY, User
from flask import Flask, session
from flask_session import Session as FlaskSession
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from test_adapters import Client, asgi_client, wsgi_client

SECRET = "the old secret"
HELD = {"cart": ["hat"], "n": 1}


@dataclass
class Old:
    """A live session of another library, of the user whom ``user`` names."""

    cookie: str
    value: str
    user: str
    reader: Callable[..., Reader]
    who: Callable[[Found], str | None]
    is_there: Callable[[], bool] | None = None
    """Whether its store still holds it."""


def by(key: str) -> Callable[[Found], str | None]:
    return lambda found: found.data.get(key)


def popped(found: Found) -> str | None:
    """Under a key of the application's own, which is data if nobody takes it away."""
    user: str | None = found.data.pop("user", None)
    return user


def flask_cookie() -> Old:
    value = _of_flask(Flask("old", static_folder=None))
    return Old("session", value, "7", lambda **options: FlaskCookie(SECRET, **options), by("_user_id"))


def flask_redis(redis: Any, serializer: str = "msgpack", signed: bool = False) -> Old:
    app = Flask("old", static_folder=None)
    app.config.update(
        SESSION_TYPE="redis",
        SESSION_REDIS=redis,
        SESSION_SERIALIZATION_FORMAT=serializer,
        SESSION_USE_SIGNER=signed,
        SESSION_PERMANENT=False,
    )
    app.secret_key = SECRET
    FlaskSession(app)
    value = _of_flask(app)
    sid = value.partition(".")[0] if signed else value
    signed_by = SECRET if signed else None
    return Old(
        "session",
        value,
        "7",
        lambda **options: FlaskRedis(redis, signed_by=signed_by, **options),
        by("_user_id"),
        lambda: bool(redis.exists(f"session:{sid}")),
    )


def _of_flask(app: Flask) -> str:
    app.secret_key = SECRET

    @app.get("/")
    def fill() -> str:
        session.update(HELD, _user_id="7", _fresh=True)
        return ""

    client = app.test_client()
    client.get("/")
    cookie = client.get_cookie("session")
    assert cookie is not None
    return cookie.value


def starlette_cookie() -> Old:
    async def fill(request: Request) -> Response:
        request.session.update(HELD | {"user": "7"})
        return Response()

    app = SessionMiddleware(Starlette(routes=[Route("/", fill)]), SECRET)
    client = TestClient(app)
    client.get("/")
    value = client.cookies["session"]
    return Old("session", value, "7", lambda **options: StarletteCookie(SECRET, **options), popped)


def django(engine: str) -> Old:
    engine = f"django.contrib.sessions.backends.{engine}"
    store: Any = import_module(engine).SessionStore
    user = User.objects.get(username="ada")
    request: Any = RequestFactory().get("/")
    request.session = store()
    auth.login(request, user)
    request.session.update(HELD)
    request.session.save()
    key: str = request.session.session_key
    is_signed = engine.endswith("cookies")
    return Old(
        "sessionid",
        key,
        str(user.pk),
        DjangoCookie if is_signed else lambda **options: DjangoStore(engine, **options),
        django_user,
        None if is_signed else lambda: bool(store().exists(key)),
    )


def handle(path: str, session: Any) -> tuple[int, dict[str, Any]]:
    """What each of the applications does."""
    if path == "/logout":
        session.logout()
    if path == "/add":
        session.add("n")
    data = {key: session[key] for key in session if not key.startswith("_auth_user")}
    known = {"principal": session.principal, "level": session.level, "data": data}
    return (500 if path == "/fail" else 200), known


@contextmanager
def in_flask(sessions: coatroom.Sessions) -> Iterator[Client]:
    app = Flask("new", static_folder=None)
    Coatroom(app, sessions)

    @app.get("/<path>")
    def view(path: str) -> tuple[dict[str, Any], int]:
        status, known = handle(f"/{path}", session)
        return known, status

    yield wsgi_client(app.wsgi_app)


@contextmanager
def in_starlette(sessions: coatroom.Sessions) -> Iterator[Client]:
    async def view(request: Request) -> JSONResponse:
        status, known = handle(request.url.path, request.session)
        return JSONResponse(known, status)

    yield asgi_client(CoatroomMiddleware(Starlette(routes=[Route("/{path}", view)]), sessions))


def _django_view(request: HttpRequest, path: str) -> HttpResponse:
    status, known = handle(f"/{path}", request.session)
    return HttpResponse(json.dumps(known), status=status)


async def _django_async_view(request: HttpRequest, path: str) -> HttpResponse:
    return _django_view(request, path)


@contextmanager
def in_django(sessions: coatroom.Sessions) -> Iterator[Client]:
    with _settings(sessions, _django_view):
        yield wsgi_client(WSGIHandler())


@contextmanager
def in_django_async(sessions: coatroom.Sessions) -> Iterator[Client]:
    with _settings(sessions, _django_async_view):
        yield asgi_client(ASGIHandler())


def _settings(sessions: coatroom.Sessions, view: Any) -> Any:
    setting = {"sessions": sessions}
    return override_settings(ROOT_URLCONF=(path("<path:path>", view),), MIDDLEWARE=SESSION_ONLY, COATROOM=setting)


LATER = timedelta(days=30)
