"""`POST /token`, the key set, and the guard of services that only verify: the same on every adapter."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import coatroom
import coatroom.django
import coatroom.flask
import coatroom.guards
import coatroom.litestar
import flask
import pytest
from coatroom import asgi, wsgi
from coatroom.fastapi import token_router
from coatroom.testing import ManualClock
from coatroom.tokens import Claims, Issuer, Revocations, Verifier
from conftest import TEST_KEYS, Browser
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.test import override_settings
from django.urls import path
from django_project import SESSION_ONLY
from fastapi import Depends, FastAPI
from litestar import Litestar, Request, get
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

SHOP, ORDERS = "https://shop.example", "orders"
KEYS = "ed-1:EdDSA:b2J2aW91c2x5IGEgdGVzdCBrZXksIG5vdCBhIHNlY3I"
JWKS = "/.well-known/jwks.json"
DJANGO_CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def cookies(self) -> list[str]:
        return [value for key, value in self.headers if key.lower() == "set-cookie"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Headers = dict[str, str]
Client = Callable[[str, str, Headers], Reply]


def over_wsgi(app: Any) -> Client:
    def ask(method: str, target: str, headers: Headers) -> Reply:
        heads: list[Reply] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            heads.append(Reply(int(status[:3]), headers, b""))
            return lambda chunk: None

        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": target, "wsgi.url_scheme": "https"}
        environ |= {"SERVER_NAME": "shop.example", "SERVER_PORT": "443", "wsgi.input": io.BytesIO()}
        environ |= {"CONTENT_LENGTH": "0", "HTTP_HOST": "shop.example", "QUERY_STRING": ""}
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        heads_and_body = app(environ, start)
        body = b"".join(heads_and_body)
        if hasattr(heads_and_body, "close"):
            heads_and_body.close()
        return Reply(heads[0].status, heads[0].headers, body)

    return ask


def over_asgi(app: Any) -> Client:
    def ask(method: str, target: str, headers: Headers) -> Reply:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            if asked:
                await asyncio.Event().wait()  # The client stays.
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}

        asked: list[bool] = []
        lines = [(name.lower().encode(), value.encode()) for name, value in {"Host": "shop.example", **headers}.items()]
        scope = {"type": "http", "method": method, "path": target, "raw_path": target.encode(), "headers": lines}
        scope |= {"query_string": b"", "http_version": "1.1", "root_path": "", "scheme": "https"}
        scope |= {"server": ("shop.example", 443)}
        asyncio.run(app(scope, receive, send))
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Reply(sent[0]["status"], [(n.decode(), v.decode()) for n, v in sent[0]["headers"]], body)

    return ask


def plain_wsgi(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    apps: dict[str, Any] = {"/token": wsgi.TokenEndpoint(issuer), JWKS: wsgi.KeysEndpoint(issuer)}

    def app(environ: Any, start: Any) -> Any:
        return apps[environ["PATH_INFO"]](environ, start)

    return over_wsgi(wsgi.CoatroomMiddleware(app, sessions, csrf=csrf, skip=[JWKS]))


def plain_asgi(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    apps: dict[str, Any] = {"/token": asgi.TokenEndpoint(issuer), JWKS: asgi.KeysEndpoint(issuer)}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await apps[scope["path"]](scope, receive, send)

    return over_asgi(asgi.CoatroomMiddleware(app, sessions, csrf=csrf, skip=[JWKS]))


def in_flask(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    app = flask.Flask(__name__)
    coatroom.flask.Coatroom(app, sessions, csrf=csrf)
    app.register_blueprint(coatroom.flask.token_blueprint(issuer))
    return over_wsgi(app)


def django_client(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool, of: Callable[[], Client]) -> Client:
    middleware = [*SESSION_ONLY, DJANGO_CSRF] if csrf else SESSION_ONLY

    def ask(method: str, target: str, headers: Headers) -> Reply:
        settings = override_settings(COATROOM={"sessions": sessions}, MIDDLEWARE=middleware)
        # The URLs are made once the settings are there.
        with settings, override_settings(ROOT_URLCONF=tuple(coatroom.django.token_urls(issuer))):
            return of()(method, target, headers)

    return ask


def in_django(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    return django_client(sessions, issuer, csrf, lambda: over_wsgi(WSGIHandler()))


def in_django_on_a_loop(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    return django_client(sessions, issuer, csrf, lambda: over_asgi(ASGIHandler()))


def in_starlette(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    app = Starlette(routes=[Route("/token", asgi.TokenEndpoint(issuer)), Route(JWKS, asgi.KeysEndpoint(issuer))])
    app.add_middleware(asgi.CoatroomMiddleware, sessions=sessions, csrf=csrf)
    return over_asgi(app)


def in_fastapi(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    app = FastAPI()
    app.add_middleware(asgi.CoatroomMiddleware, sessions=sessions, csrf=csrf)
    app.include_router(token_router(issuer))
    return over_asgi(app)


def in_litestar(sessions: coatroom.Sessions, issuer: Issuer, csrf: bool) -> Client:
    handlers = coatroom.litestar.token_handlers(issuer)
    return over_asgi(Litestar([*handlers], plugins=[coatroom.litestar.CoatroomPlugin(sessions)], openapi_config=None))


Maker = Callable[[coatroom.Sessions, Issuer, bool], Client]
MAKERS: list[Maker] = [
    plain_wsgi,
    plain_asgi,
    in_flask,
    in_django,
    in_django_on_a_loop,
    in_starlette,
    in_fastapi,
    in_litestar,
]


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Maker:
    maker: Maker = request.param
    return maker


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(SHOP, ORDERS, KEYS)


def verifier_of(issuer: Issuer, clock: ManualClock) -> Verifier:
    return Verifier(SHOP, ORDERS, jwks=issuer.jwks(), clock=clock)


def logged_in(sessions: coatroom.Sessions, principal: str = "ada") -> Browser:
    browser = Browser()
    session = sessions.open("")
    session.login(principal, ["staff"])
    session._commit(200)
    browser.take(session._exchange.head()[2])
    return browser


# spec: TOKEN-1 6e31
def test_whoever_is_logged_in_gets_a_token_and_nobody_keeps_the_answer(
    make: Maker, sessions: coatroom.Sessions, clock: ManualClock, issuer: Issuer
) -> None:
    reply = make(sessions, issuer, False)("POST", "/token", {"Cookie": logged_in(sessions).header})
    assert (reply.status, reply["Content-Type"].partition(";")[0]) == (200, "application/json")
    assert "no-store" in reply["Cache-Control"]
    assert set(reply.json) == {"access_token", "token_type", "expires_in"}
    assert (reply.json["token_type"], reply.json["expires_in"]) == ("Bearer", 300)
    claims = verifier_of(issuer, clock).verify(reply.json["access_token"])
    assert (claims.principal, claims.roles) == ("ada", frozenset({"staff"}))


# spec: TOKEN-3 c1a8
def test_nobody_gets_a_token_without_a_login(make: Maker, sessions: coatroom.Sessions, issuer: Issuer) -> None:
    client = make(sessions, issuer, False)
    browser = logged_in(sessions)
    ended = browser.header
    assert sessions.revoke_all("ada") == 1
    for cookie in ("", ended, "__Host-id=junk"):
        reply = client("POST", "/token", {"Cookie": cookie} if cookie else {})
        assert (reply.status, reply.json["error"]) == (401, "unauthenticated"), cookie
        assert "no-store" in reply["Cache-Control"]


def test_a_token_is_posted_for(make: Maker, sessions: coatroom.Sessions, issuer: Issuer) -> None:
    client = make(sessions, issuer, False)
    reply = client("GET", "/token", {"Cookie": logged_in(sessions).header})
    assert (reply.status, b"access_token" in reply.body) == (405, False)
    assert "POST" in reply["Allow"]


def test_an_id_in_a_header_renews_a_token_as_a_cookie_does_and_needs_no_csrf_token(
    make: Maker, clock: ManualClock, issuer: Issuer
) -> None:
    sessions = coatroom.Sessions("memory", TEST_KEYS, clock=clock, transport="header")
    client = make(sessions, issuer, True)
    value = logged_in(sessions).cookies["__Host-id"]
    for name, text in (("X-Session", value), ("Authorization", f"Bearer {value}")):
        reply = client("POST", "/token", {name: text})
        assert reply.status == 200, name
        assert verifier_of(issuer, clock).verify(reply.json["access_token"]).principal == "ada"
        assert reply.cookies == []
    assert client("POST", "/token", {"Cookie": f"__Host-id={value}"}).status == 401
    # An access token is no id: it opens no session, and renews nothing.
    assert client("POST", "/token", {"X-Session": reply.json["access_token"]}).status == 401


@pytest.mark.parametrize("make", MAKERS[:-1], ids=lambda make: make.__name__, indirect=True)
# spec: CSRF-4 1695
def test_a_page_elsewhere_cannot_ask_for_a_token(make: Maker, sessions: coatroom.Sessions, issuer: Issuer) -> None:
    client = make(sessions, issuer, True)
    browser = logged_in(sessions)
    reply = client("POST", "/token", {"Cookie": browser.header})
    assert (reply.status, b"access_token" in reply.body) == (403, False)
    if make in (in_django, in_django_on_a_loop):
        secret = "a" * 32
        headers = {"Cookie": f"{browser.header}; csrftoken={secret}", "X-CSRFToken": secret}
        headers["Referer"] = "https://shop.example/"
    else:
        headers = {"Cookie": browser.header, "X-CSRF-Token": sessions.open(browser.header).csrf_token()}
    assert client("POST", "/token", headers).status == 200
    if "Referer" not in headers:
        assert client("POST", "/token", {**headers, "Sec-Fetch-Site": "cross-site"}).status == 403


def test_asking_for_a_token_is_a_use_of_the_session_and_rotates_its_id(
    make: Maker, sessions: coatroom.Sessions, clock: ManualClock, issuer: Issuer
) -> None:
    client, browser = make(sessions, issuer, False), logged_in(sessions)
    first, ids = client("POST", "/token", {"Cookie": browser.header}), set()
    for _ in range(4):
        clock.advance(14 * 60)
        reply = client("POST", "/token", {"Cookie": browser.header})
        assert reply.status == 200
        browser.take(reply.cookies)
        ids.add(browser.header)
    assert len(ids) >= 2
    handles = {verifier_of(issuer, clock).verify(reply.json["access_token"]).handle}
    with pytest.raises(coatroom.TokenExpired):
        verifier_of(issuer, clock).verify(first.json["access_token"])
    assert handles == {sessions.open(browser.header).handle}


# spec: TOKEN-9 8191
def test_anybody_gets_the_public_keys_and_may_keep_them(
    make: Maker, sessions: coatroom.Sessions, issuer: Issuer
) -> None:
    reply = make(sessions, issuer, True)("GET", JWKS, {})
    assert (reply.status, reply["Content-Type"]) == (200, "application/jwk-set+json")
    assert reply["Cache-Control"] == "public, max-age=300"
    assert (reply.body.decode(), reply.cookies) == (issuer.jwks(), [])
    assert b'"d"' not in reply.body


def guarded_flask(verifier: Verifier) -> Client:
    app = flask.Flask(__name__)

    @app.get("/who")
    @coatroom.flask.require_token(verifier)
    def who() -> dict[str, str]:
        return {"who": coatroom.flask.current_claims().principal}

    @app.get("/admin")
    @coatroom.flask.require_token(verifier, "admin")
    async def admin() -> dict[str, str]:
        return {}

    return over_wsgi(app)


def guarded_starlette(verifier: Verifier) -> Client:
    require, require_admin = (coatroom.guards.require_token(verifier, role) for role in (None, "admin"))

    async def who(request: StarletteRequest) -> JSONResponse:
        return JSONResponse({"who": (await require(request)).principal})

    async def admin(request: StarletteRequest) -> JSONResponse:
        await require_admin(request)
        return JSONResponse({})

    return over_asgi(Starlette(routes=[Route("/who", who), Route("/admin", admin)]))


def guarded_fastapi(verifier: Verifier) -> Client:
    app = FastAPI()
    require, require_admin = (coatroom.guards.require_token(verifier, role) for role in (None, "admin"))

    def who(claims: Any) -> dict[str, str]:
        return {"who": claims.principal}

    who.__annotations__["claims"] = Annotated[Claims, Depends(require)]
    app.get("/who")(who)

    @app.get("/admin", dependencies=[Depends(require_admin)])
    def admin() -> dict[str, str]:
        return {}

    return over_asgi(app)


def guarded_litestar(verifier: Verifier) -> Client:
    @get("/who", guards=[coatroom.litestar.require_token(verifier)])
    async def who(request: Request[Any, Claims, Any]) -> dict[str, str]:
        return {"who": request.auth.principal}

    @get("/admin", guards=[coatroom.litestar.require_token(verifier, "admin")])
    async def admin() -> dict[str, str]:
        return {}

    return over_asgi(Litestar([who, admin], openapi_config=None))


def guarded_django(verifier: Verifier) -> Client:
    @coatroom.django.require_token(verifier)
    def who(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"who": request.claims.principal})

    @coatroom.django.require_token(verifier, "admin")
    async def admin(request: HttpRequest) -> JsonResponse:
        return JsonResponse({})

    def ask(method: str, target: str, headers: Headers) -> Reply:
        urls = (path("who", who), path("admin", admin))
        with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[], COATROOM=None):
            return over_asgi(ASGIHandler())(method, target, headers)

    return ask


GUARDED = [guarded_flask, guarded_starlette, guarded_fastapi, guarded_litestar, guarded_django]


@pytest.mark.parametrize("guarded", GUARDED, ids=lambda guarded: guarded.__name__)
# spec: TOKEN-13 0b79
def test_a_service_without_sessions_lets_in_whoever_has_a_token_that_counts(
    guarded: Callable[[Verifier], Client], clock: ManualClock, issuer: Issuer
) -> None:
    sessions = coatroom.Sessions("memory", TEST_KEYS, clock=clock, announce=True)
    revocations = Revocations(sessions)
    revocations.pull()
    client = guarded(Verifier(SHOP, ORDERS, jwks=issuer.jwks(), revocations=revocations))
    token = issuer.issue(sessions.open(logged_in(sessions).header)).text
    bearer = {"Authorization": f"Bearer {token}"}

    reply = client("GET", "/who", {})
    assert (reply.status, reply["WWW-Authenticate"]) == (401, "Bearer")
    reply = client("GET", "/who", {"Authorization": f"Bearer {token[:-4]}"})
    assert (reply.status, reply["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    reply = client("GET", "/who", bearer)
    assert (reply.status, reply.json) == (200, {"who": "ada"})
    assert client("GET", "/admin", bearer).status == 403

    clock.advance(60)
    reply = client("GET", "/who", bearer)
    assert (reply.status, reply["Retry-After"]) == (503, "1"), "nobody pulled for a minute"
    revocations.pull()
    assert client("GET", "/who", bearer).status == 200
    sessions.revoke_all("ada")
    revocations.pull()
    reply = client("GET", "/who", bearer)
    assert (reply.status, reply["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert token not in reply.body.decode()
