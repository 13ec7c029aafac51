"""Sessions for FastAPI: the middleware of :mod:`coatroom.asgi`, and dependencies that know their types.

.. code-block:: python

    app.add_middleware(CoatroomMiddleware, store="sqlite:sessions.db")

    @app.get("/")
    async def home(session: CurrentSession) -> int:
        return session.add("visits", 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Response
from starlette.requests import HTTPConnection

from coatroom._answer import Answer
from coatroom._token_answers import KEYS_PATH, TOKEN_PATH, keys_answer, token_answer
from coatroom.asgi import CoatroomMiddleware
from coatroom.errors import Unauthenticated
from coatroom.guards import require_token
from coatroom.session import Session

if TYPE_CHECKING:
    from coatroom.tokens import Issuer

__all__ = [
    "Answer",
    "CoatroomMiddleware",
    "CurrentPrincipal",
    "CurrentSession",
    "current_principal",
    "current_session",
    "require_token",
    "token_router",
]


async def current_session(connection: HTTPConnection) -> Session:
    """The session of a request, or of the handshake of a WebSocket."""
    session = connection.scope.get("session")
    if not isinstance(session, Session):
        raise RuntimeError("there is no session here: add CoatroomMiddleware to the application, or look at its `skip`")
    return session


CurrentSession = Annotated[Session, Depends(current_session)]
"""The session: ``async def home(session: CurrentSession)``."""


async def current_principal(session: CurrentSession) -> str:
    """Who is logged in; raises :class:`coatroom.Unauthenticated`, which becomes the response 401."""
    principal = session.principal
    if principal is None:
        raise Unauthenticated("nobody is logged in")
    return principal


CurrentPrincipal = Annotated[str, Depends(current_principal)]
"""Who is logged in, for handlers that are for nobody else: ``async def profile(user: CurrentPrincipal)``."""


def token_router(issuer: Issuer) -> APIRouter:
    """``POST /token``, a token for whoever is logged in, and ``GET /.well-known/jwks.json``, the public keys:
    ``app.include_router(token_router(issuer))``, perhaps with a ``prefix``."""
    router = APIRouter(tags=["tokens"])

    @router.post(TOKEN_PATH, response_class=Response)
    async def token(session: CurrentSession) -> Response:
        return _response(token_answer(issuer, session))

    @router.get(KEYS_PATH, response_class=Response)
    async def keys() -> Response:
        return _response(keys_answer(issuer))

    return router


def _response(made: Answer) -> Response:
    return Response(made.body, made.status, dict(made.headers))
