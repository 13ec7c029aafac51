"""Guards for Starlette and FastAPI: ``Depends(require_role("admin"))``, or ``await require_role("admin")(request)``.

Each gives the :class:`coatroom.Session` if the check holds; else its error becomes the response, 401 or 403.
:func:`require_token` gives the :class:`coatroom.tokens.Claims` of an access token, and needs no session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, cast

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from coatroom._answer import answer, report
from coatroom._token_answers import checked
from coatroom.errors import CoatroomError
from coatroom.session import Session

if TYPE_CHECKING:
    from coatroom.tokens import Claims, Verifier

__all__ = ["get_session", "require_fresh", "require_level", "require_login", "require_role", "require_token"]

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


def require_token(verifier: Verifier, role: str | None = None) -> Callable[[HTTPConnection], Awaitable[Claims]]:
    """The request carries an access token that counts, or 401; its principal has the role, or 403; 503 while endings
    are unknown. Where there is no session either: ``claims: Annotated[Claims, Depends(require_token(verifier))]``, or
    ``claims = await require_token(verifier)(request)``."""

    async def guard(request: HTTPConnection) -> Claims:
        try:
            return checked(verifier, ", ".join(request.headers.getlist("Authorization")) or None, role)
        except CoatroomError as error:
            report(error)
            made = answer(error)
            headers = {name: value for name, value in made.headers if name != "Content-Type"}
            raise HTTPException(made.status, str(error), headers) from None

    return guard
