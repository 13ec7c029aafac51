"""Forged requests: a token that is derived and never stored, and a look at where a request comes from.

An adapter with ``csrf=True`` (or ``csrf=Csrf(...)``) refuses what it cannot vouch for with
:class:`coatroom.CsrfRefused` (403) before the handler runs. Forms carry ``session.csrf_input()``, scripts send
``session.csrf_token()`` in a header.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coatroom.errors import ConfigError, CsrfRefused

if TYPE_CHECKING:
    from coatroom.session import Session
    from coatroom.sessions import Sessions

__all__ = ["Csrf", "CsrfRefused"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1. An application that changes something on these is not protected by anything here."""

TOKEN = "[A-Za-z0-9_-]{88}"
ORIGIN = "(https?)://([^/?#@\\sA-Z]+)"
VISITOR_BYTES = 16
BODY_LIMIT = 65536


class Html(str):
    """Markup that templates take as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Csrf:
    """What an adapter asks of requests with unsafe methods."""

    exempt: Sequence[str] = ()
    """Paths without protection, each with all below it: ``/hooks`` is ``/hooks`` and ``/hooks/...``."""
    trusted: Sequence[str] = ()
    """Other origins whose pages may send requests, such as ``https://app.example.org``. Those need a token too."""
    tokens: bool = True
    """Whether a token is needed. Without, ``Sec-Fetch-Site`` or ``Origin`` has to say that the request is our own's."""
    field: str = "csrf_token"
    """The field of a form."""
    header: str = "X-CSRF-Token"
    """The header that scripts send."""

    def __post_init__(self) -> None:
        for path in self.exempt:
            if not path.startswith("/"):
                raise ConfigError("`exempt` holds paths that begin with /")
        for origin in self.trusted:
            if re.fullmatch(ORIGIN, origin) is None:
                raise ConfigError("`trusted` holds origins such as https://app.example.org, without a path")

    def guards(self, method: str, path: str) -> bool:
        """Whether a request is looked at."""
        return method not in SAFE_METHODS and not self._is_exempt(path)

    def _is_exempt(self, path: str) -> bool:
        # What a router may read as another path than it begins like is not exempt.
        if any(part in (".", "..") for part in re.split(r"[/\\]", path)) or "//" in path:
            return False
        return any(path == prefix or path.startswith(prefix.rstrip("/") + "/") for prefix in self.exempt)

    # spec: CSRF-4 1695
    def check_source(self, sessions: Sessions, host: str | None, origin: str | None, site: str | None) -> None:
        """Refuses a request that a page of another site sent, by what browsers say of it and pages cannot change."""
        if origin is not None and origin.lower() in self.trusted:
            return
        if site is not None:
            if site not in ("same-origin", "none"):
                raise _refused("cross-site", "the request comes from another site: send it from a page of this one")
        elif origin is not None:
            self._check_origin(sessions, host, origin)
        elif not self.tokens:
            raise _refused("no-source", "nothing says where the request comes from: use a browser of this decade")

    # spec: CSRF-4 1695, CSRF-5 5a07
    def check_handshake(self, sessions: Sessions, host: str | None, origin: str | None) -> None:
        """Refuses a WebSocket that a page of another site opens: it would come with the user's cookies."""
        if origin is not None and origin.lower() not in self.trusted:
            self._check_origin(sessions, host, origin)

    # spec: CSRF-4 1695
    def _check_origin(self, sessions: Sessions, host: str | None, origin: str) -> None:
        parts = re.fullmatch(ORIGIN, origin.lower())
        scheme, netloc = parts.groups() if parts else ("", "")
        # Behind a proxy nobody knows the scheme. But cookies that are Secure came over https, and so does the page.
        is_ours = scheme == "https" or (scheme == "http" and not sessions._is_secure)
        default = ":443" if scheme == "https" else ":80"
        here = None if host is None else host.lower().removesuffix(default)
        if not is_ours or netloc.removesuffix(default) != here:
            raise _refused("cross-site", "the request comes from another site: send it from a page of this one")

    # spec: CSRF-1 2d9f, CSRF-4 1695
    def check_token(self, session: Session, token: str | None) -> None:
        """Refuses a request whose token is not the session's."""
        if token is None:
            raise _refused("no-token", "the request carries no token: put csrf_input() first into the form")
        if not checks(session, token):
            raise _refused("wrong-token", "the page is older than the login, or the session is over: load it again")

    def token_in(self, content_type: str, body: bytes) -> str | None:
        """The token in the first bytes of a form's body."""
        kind = content_type.partition(";")[0].strip().lower()
        field = re.escape(self.field).encode()
        if kind == "application/x-www-form-urlencoded":
            found = re.search(b"(?:^|&)" + field + b"=(" + TOKEN.encode() + b")(?:&|$)", body)
        elif kind == "multipart/form-data":
            found = re.search(b'; name="' + field + b'"\r\n\r\n(' + TOKEN.encode() + b")\r\n", body)
        else:
            found = None
        return found[1].decode() if found else None


def of(option: bool | Csrf) -> Csrf | None:
    """What the ``csrf`` of an adapter means."""
    if isinstance(option, Csrf):
        return option
    return Csrf() if option else None


def guard(csrf: Csrf | None, sessions: Sessions) -> Csrf | None:
    """What applies to these sessions: an id in a header is sent by nobody's browser on its own."""
    return csrf if csrf is not None and not sessions._uses_headers else None


# spec: CSRF-1 2d9f, CSRF-3 e68e
def token(session: Session) -> str:
    """A fresh copy of the session's token."""
    visitor = b""
    if session.principal is None:
        visitor = _visitor_of(session) or _new_visitor(session)
    return base64.urlsafe_b64encode(session._exchange.csrf_token(visitor)).decode()


# spec: CSRF-2 c5a7
def checks(session: Session, token: str) -> bool:
    """Whether a token is the session's."""
    if re.fullmatch(TOKEN, token) is None:
        return False
    visitor = b""
    if session.principal is None:
        visitor = _visitor_of(session) or b""
        if not visitor:
            return False
    return session._exchange.csrf_checks(visitor, base64.urlsafe_b64decode(token))


# spec: CSRF-3 e68e
def cookie_line(sessions: Sessions, value: str) -> str:
    """The Set-Cookie value that tells a visitor's browser from others."""
    secure = "; Secure" if sessions._is_secure else ""
    same_site = "None" if sessions._is_embedded else "Lax"
    return f"{cookie_name(sessions)}={value}; Path=/{secure}; HttpOnly; SameSite={same_site}"


def cookie_name(sessions: Sessions) -> str:
    # Whatever the session cookies share with other hosts, this one is of this host alone.
    return "__Host-csrf" if sessions._is_secure else "csrf"


def _new_visitor(session: Session) -> bytes:
    visitor = secrets.token_bytes(VISITOR_BYTES)
    session._visitor = base64.urlsafe_b64encode(visitor).decode().rstrip("=")
    return visitor


# spec: CSRF-3 e68e
def _visitor_of(session: Session) -> bytes | None:
    """What is in the visitor's cookie, or is about to be. A name that comes twice counts as absent."""
    fresh: str | None = getattr(session, "_visitor", None)
    if fresh is not None:
        return _decoded(fresh)
    sessions: Sessions | None = getattr(session, "_sessions", None)
    if sessions is None:
        return None
    cookies = session._cookies
    header = cookies.decode("latin-1") if isinstance(cookies, bytes) else cookies
    name = cookie_name(sessions) + "="
    found = [pair for pair in (pair.lstrip() for pair in header.split(";")) if pair.startswith(name)]
    return _decoded(found[0][len(name) :]) if len(found) == 1 else None


def _decoded(value: str) -> bytes | None:
    if re.fullmatch("[A-Za-z0-9_-]{22}", value) is None:
        return None
    try:
        return base64.urlsafe_b64decode(value + "==")
    except binascii.Error:
        return None


def _refused(reason: str, message: str) -> CsrfRefused:
    error = CsrfRefused(message)
    error.reason = reason
    return error
