"""Guards for Starlette and FastAPI: ``Depends(require_role("admin"))``, or ``await require_role("admin")(request)``.

Each gives the :class:`coatroom.Session` if the check holds; else its error becomes the response, 401 or 403.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from starlette.requests import HTTPConnection

from coatroom.session import Session

__all__ = ["get_session", "require_fresh", "require_level", "require_login", "require_role"]

Guard: TypeAlias = "Callable[[HTTPConnection], Awaitable[Session]]"


async def get_session(request: HTTPConnection) -> Session:
    """The session of the request."""
    return cast(Session, request.scope["session"])


async def require_login(request: HTTPConnection) -> Session:
    """Somebody is logged in, or 401."""
    session = await get_session(request)
    session.require_level(0)
    return session


# spec: LOGIN-9 c39d
def require_role(role: str) -> Guard:
    """Somebody with this role is logged in, or 401 or 403."""
    return _guard(lambda session: session.require_role(role))


# spec: FRESH-1 a65a
def require_fresh(minutes: float) -> Guard:
    """Whoever is logged in proved it no longer than so many minutes ago, or 401."""
    return _guard(lambda session: session.require_fresh(minutes))


# spec: FRESH-1 a65a
def require_level(level: int) -> Guard:
    """Somebody is logged in at this level or a higher one, or 401."""
    return _guard(lambda session: session.require_level(level))


def _guard(check: Callable[[Session], None]) -> Guard:
    async def guard(request: HTTPConnection) -> Session:
        session = await get_session(request)
        check(session)
        return session

    return guard
