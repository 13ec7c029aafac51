"""Sessions for Litestar: ``Litestar(..., plugins=[CoatroomPlugin(store="sqlite:sessions.db")])``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from litestar import Request, Response, get, post
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.plugins import InitPluginProtocol
from litestar.types import Empty

from coatroom._answer import Answer, OnError, answer, report
from coatroom._token_answers import KEYS_PATH, TOKEN_PATH, checked, keys_answer, token_answer
from coatroom.asgi import App, CoatroomMiddleware, Message, Receive, Scope, Send
from coatroom.errors import CoatroomError
from coatroom.session import Session
from coatroom.sessions import Sessions, given_or_made

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from coatroom.sessions import Settings
    from coatroom.store import AsyncStore, Store
    from coatroom.tokens import Issuer, Verifier

__all__ = [
    "Answer",
    "CoatroomPlugin",
    "require_fresh",
    "require_level",
    "require_login",
    "require_role",
    "require_token",
    "session_of",
    "token_handlers",
]

Connection: TypeAlias = "ASGIConnection[Any, Any, Any, Any]"
Guard: TypeAlias = "Callable[[Connection, Any], None]"
RetrieveUser: TypeAlias = "Callable[[str], Awaitable[Any]]"


class CoatroomPlugin(InitPluginProtocol):
    """Makes ``request.session`` a :class:`coatroom.Session`: made with ``sessions=``, or with the arguments of
    :class:`coatroom.Sessions`.

    ``retrieve_user`` is a coroutine function from the name of whoever is logged in to your user, or to None. With it,
    ``request.user`` is that user, and None where nobody is logged in.

    ``request.clear_session()`` logs out, and ``request.set_session(mapping)`` replaces what the session holds. Requests
    whose path begins with one of ``skip`` have no session. ``on_error`` makes the response that stands in for a refused
    commit (409) or a store that cannot answer (503). WebSockets are closed within ``recheck`` seconds after the end of
    their session, as :class:`coatroom.asgi.CoatroomMiddleware` does.
    """

    def __init__(
        self,
        sessions: Sessions | None = None,
        *,
        store: str | Store | AsyncStore = "",
        retrieve_user: RetrieveUser | None = None,
        skip: Sequence[str] = (),
        on_error: OnError = answer,
        recheck: float = 30.0,
        dev: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        self.retrieve_user = retrieve_user
        self.sessions = given_or_made(sessions, store, dev, settings)
        self.skip = skip
        self.on_error = on_error
        self.recheck = recheck

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Adds the middleware, in front of all others, and the answer to errors that a handler lets through."""
        made: Any = _Middleware
        options = {"skip": self.skip, "on_error": self.on_error, "recheck": self.recheck}
        middleware = DefineMiddleware(made, sessions=self.sessions, **options)
        app_config.middleware.insert(0, middleware)
        app_config.exception_handlers.setdefault(CoatroomError, self._answer)
        if self.retrieve_user is not None:
            finds_users: Any = _Users
            app_config.middleware.insert(1, DefineMiddleware(finds_users, retrieve=self.retrieve_user))
        return app_config

    def _answer(self, request: Request[Any, Any, Any], error: CoatroomError) -> Response[bytes]:
        """Nothing that the handler asked for is written."""
        session = request.scope.get("coatroom.session")
        if isinstance(session, Session):
            session._discard()
        report(error)
        return _response(self.on_error(error))


def session_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Session:
    """The session of a request, with its type, for ``request.session`` is said to be a dict."""
    return cast(Session, connection.session)


def require_login(connection: Connection, _: Any) -> None:
    """Somebody is logged in, or 401: ``guards=[require_login]`` of a handler, a router or the application."""
    session_of(connection).require_level(0)


def require_role(role: str) -> Guard:
    """Somebody with this role is logged in, or 401 or 403."""
    return lambda connection, _: session_of(connection).require_role(role)


def require_fresh(minutes: float) -> Guard:
    """Whoever is logged in proved it no longer than so many minutes ago, or 401."""
    return lambda connection, _: session_of(connection).require_fresh(minutes)


def require_level(level: int) -> Guard:
    """Somebody is logged in at this level or a higher one, or 401."""
    return lambda connection, _: session_of(connection).require_level(level)


def token_handlers(issuer: Issuer) -> list[HTTPRouteHandler]:
    """``POST /token``, a token for whoever is logged in, and ``GET /.well-known/jwks.json``, the public keys:
    ``Litestar([*token_handlers(issuer), ...], plugins=[CoatroomPlugin(...)])``."""

    @post(TOKEN_PATH, status_code=200)
    async def token(request: Request[Any, Any, Any]) -> Response[bytes]:
        return _response(token_answer(issuer, request.scope.get("coatroom.session")))

    @get(KEYS_PATH)
    async def keys() -> Response[bytes]:
        return _response(keys_answer(issuer))

    return [token, keys]


def require_token(verifier: Verifier, role: str | None = None) -> Guard:
    """The request carries an access token that counts, or 401; its principal has the role, or 403; 503 while endings
    are unknown. Then ``request.auth`` is what the token states. The application needs no sessions."""

    def guard(connection: Connection, _: Any) -> None:
        try:
            found = ", ".join(connection.headers.getall("Authorization", [])) or None
            connection.scope["auth"] = checked(verifier, found, role)
        except CoatroomError as error:
            report(error)
            made = answer(error)
            headers = {name: value for name, value in made.headers if name != "Content-Type"}
            raise HTTPException(str(error), status_code=made.status, headers=headers) from None

    return guard


def _response(made: Answer) -> Response[bytes]:
    headers = dict(made.headers)
    media_type = headers.pop("Content-Type", "application/octet-stream")
    return Response(made.body, status_code=made.status, headers=headers, media_type=media_type)


class _Users:
    """Finds out whose session it is, once a request."""

    def __init__(self, app: App, retrieve: RetrieveUser) -> None:
        self.app = app
        self.retrieve = retrieve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = scope.get("session")
        principal = session.principal if isinstance(session, Session) else None
        scope["user"] = None if principal is None else await self.retrieve(principal)
        scope["auth"] = session
        await self.app(scope, receive, send)


class _Middleware(CoatroomMiddleware):
    """Notices what a handler did to ``scope["session"]`` by Litestar's own methods."""

    def __init__(self, app: App, **arguments: Any) -> None:
        super().__init__(_settling(app), **arguments)


def _settling(app: App) -> App:
    async def settle(scope: Scope, receive: Receive, send: Send) -> None:
        session = scope.get("session")
        if not isinstance(session, Session):
            await app(scope, receive, send)
            return
        scope["coatroom.session"] = session

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                found, scope["session"] = scope["session"], session
                _settle(session, found)
            await send(message)

        await app(scope, receive, watched)

    return settle


def _settle(session: Session, found: Any) -> None:
    if found is Empty or found is None:
        session.logout()
    elif found is not session:
        session.clear()
        session.update(cast("Mapping[str, Any]", found))
