"""Sessions for Litestar: ``Litestar(..., plugins=[CoatroomPlugin(store="sqlite:sessions.db")])``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from litestar import Request, Response
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.middleware import DefineMiddleware
from litestar.plugins import InitPluginProtocol
from litestar.types import Empty

from coatroom._answer import Answer, OnError, answer, report
from coatroom.asgi import App, CoatroomMiddleware, Message, Receive, Scope, Send
from coatroom.errors import CoatroomError
from coatroom.session import Session
from coatroom.sessions import Sessions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from coatroom.sessions import Settings

__all__ = ["Answer", "CoatroomPlugin", "session_of"]


class CoatroomPlugin(InitPluginProtocol):
    """Makes ``request.session`` a :class:`coatroom.Session`: made with ``sessions=``, or with the arguments of
    :class:`coatroom.Sessions`.

    ``request.clear_session()`` logs out, and ``request.set_session(mapping)`` replaces what the session holds. Requests
    whose path begins with one of ``skip`` have no session. ``on_error`` makes the response that stands in for a refused
    commit (409) or a store that cannot answer (503).
    """

    def __init__(
        self,
        sessions: Sessions | None = None,
        *,
        store: str = "",
        skip: Sequence[str] = (),
        on_error: OnError = answer,
        dev: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        self.sessions = sessions or Sessions(store, dev=dev, **settings)
        self.skip = skip
        self.on_error = on_error

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Adds the middleware, in front of all others, and the answer to errors that a handler lets through."""
        made: Any = _Middleware
        middleware = DefineMiddleware(made, sessions=self.sessions, skip=self.skip, on_error=self.on_error)
        app_config.middleware.insert(0, middleware)
        app_config.exception_handlers.setdefault(CoatroomError, self._answer)
        return app_config

    def _answer(self, request: Request[Any, Any, Any], error: CoatroomError) -> Response[bytes]:
        """Nothing that the handler asked for is written."""
        session = request.scope.get("coatroom.session")
        if isinstance(session, Session):
            session._discard()
        report(error)
        made = self.on_error(error)
        headers = dict(made.headers)
        media_type = headers.pop("Content-Type", "application/octet-stream")
        return Response(made.body, status_code=made.status, headers=headers, media_type=media_type)


def session_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Session:
    """The session of a request, with its type, for ``request.session`` is said to be a dict."""
    return cast(Session, connection.session)


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
