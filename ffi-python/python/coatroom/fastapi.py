"""Sessions for FastAPI: the middleware of :mod:`coatroom.asgi`, and dependencies that know their types.

.. code-block:: python

    app.add_middleware(CoatroomMiddleware, store="sqlite:sessions.db")

    @app.get("/")
    async def home(session: CurrentSession) -> int:
        return session.add("visits", 1)
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from coatroom._answer import Answer
from coatroom.asgi import CoatroomMiddleware
from coatroom.errors import Unauthenticated
from coatroom.session import Session

__all__ = ["Answer", "CoatroomMiddleware", "CurrentPrincipal", "CurrentSession", "current_principal", "current_session"]


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
