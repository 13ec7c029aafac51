"""How an id travels: in cookies, or in headers for clients that are no browsers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coatroom._native import cookie_header
from coatroom.csrf import cookie_line
from coatroom.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from coatroom.session import Session
    from coatroom.sessions import Sessions

LOGIN, VISITOR = "X-Session", "X-Visitor"
"""One header for each of the two cookies, so that a late answer to a visitor cannot overwrite a login here either."""

CLEARABLE = ("cache", "cookies", "storage", "executionContexts")

Lines = list[tuple[str, str]]


@dataclass(frozen=True)
class Transport:
    """The settings ``transport`` and ``clear_site_data``."""

    is_header: bool
    clears: str

    @classmethod
    def of(cls, transport: object, clears: Any) -> Transport:
        if transport not in ("cookie", "header"):
            raise ConfigError("`transport` must be `cookie` or `header`")
        wanted = (clears,) if isinstance(clears, str) else tuple(clears)
        if not set(wanted) <= set(CLEARABLE):
            raise ConfigError(f"`clear_site_data` holds {', '.join(CLEARABLE)}")
        return cls(transport == "header", ", ".join(f'"{what}"' for what in wanted))


# spec: HEAD-1 5845
def header_from_environ(sessions: Sessions, environ: WSGIEnvironment) -> str:
    """The Cookie header of a WSGI request, or what stands for one."""
    if not sessions._transport.is_header:
        cookies: str = environ.get("HTTP_COOKIE", "")
        return cookies
    names = (LOGIN, VISITOR, "Authorization")
    found = [(name, environ.get("HTTP_" + name.upper().replace("-", "_"))) for name in names]
    return _as_cookies(sessions, [(name, value) for name, value in found if value is not None])


# spec: HEAD-1 5845
def header_from_scope(sessions: Sessions, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The Cookie header of an ASGI request, or what stands for one."""
    if not sessions._transport.is_header:
        return cookie_header(headers)
    names = {name.lower().encode(): name for name in (LOGIN, VISITOR, "Authorization")}
    found = [(names[name], value.decode("latin-1")) for name, value in headers if name in names]
    return _as_cookies(sessions, found).encode()


def one_of_scope(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """A header of an ASGI request; several of one name are joined."""
    wanted = name.lower().encode("latin-1")
    values = [value.decode("latin-1") for key, value in headers if key == wanted]
    return ", ".join(values) if values else None


def _as_cookies(sessions: Sessions, found: Lines) -> str:
    """Each header as the cookie of its kind; one that comes twice, or both ways, is a cookie that comes twice."""
    login, visitor = sessions.cookie_names
    pairs = []
    for name, value in found:
        if name == "Authorization":
            scheme, _, value = value.partition(" ")
            if scheme.lower() != "bearer":
                continue
        # Nothing but the alphabet of an id and its record goes further; two that a server joined by a comma are none.
        text = value.strip()
        is_id = re.fullmatch("[A-Za-z0-9_.-]{1,4096}", text) is not None
        pairs.append(f"{visitor if name == VISITOR else login}={text if is_id else 'junk'}")
    return "; ".join(pairs)


# spec: HEAD-1 5845, CSRF-3 e68e
def carried(session: Session, cookies: Collection[str]) -> Lines:
    """What the response of a committed exchange tells the client."""
    sessions = session._sessions
    if sessions is not None and sessions._transport.is_header:
        lines = [_as_header(sessions, line) for line in cookies]
    else:
        more = session._more_lines
        lines = [("Set-Cookie", line) for line in (*cookies, *more)] if cookies or more else []
        if sessions is not None and session._visitor is not None:
            lines.append(("Set-Cookie", cookie_line(sessions, session._visitor)))
    if session._has_left and sessions is not None and sessions._transport.clears:
        lines.append(("Clear-Site-Data", sessions._transport.clears))
    return lines


# spec: HEAD-1 5845
def _as_header(sessions: Sessions, line: str) -> tuple[str, str]:
    """The id of a Set-Cookie line; an empty header tells the client to forget what it has."""
    name, _, rest = line.partition("=")
    return (LOGIN if name == sessions.cookie_names[0] else VISITOR), rest.partition(";")[0]


# spec: HEAD-1 5845
def vary_of(session: Session, vary: str | None) -> str | None:
    """What the response depends on."""
    sessions = session._sessions
    if vary is None or sessions is None or not sessions._transport.is_header:
        return vary
    kept = [name for name in (name.strip() for name in vary.split(",")) if name.lower() != "cookie"]
    return ", ".join([*kept, LOGIN, VISITOR, "Authorization"])
