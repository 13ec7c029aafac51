"""Remembered logins: a credential of its own that outlives the session, and is replaced by being used.

``Sessions(..., remember=Remember(roles_of))`` and ``session.remember()`` after ``session.login(...)``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coatroom import _keys
from coatroom.errors import CoatroomError, ConfigError

if TYPE_CHECKING:
    from coatroom.session import Session
    from coatroom.sessions import Sessions
    from coatroom.testing import ManualClock

__all__ = ["Remember"]

log = logging.getLogger("coatroom")

PREFIX = "remember\x1f"
"""Stands before names in the index of principals, so that credentials are neither listed nor counted as sessions."""


@dataclass(frozen=True)
class Remember:
    """How logins are remembered."""

    roles_of: Callable[[str], Iterable[str] | None]
    """The roles that a principal has today, asked whenever a remembered login begins; None if there is no such user any
    more, or none that may log in. On an event loop it is called from another thread."""
    days: float = 30
    """How long after the login with a password; no use prolongs it."""
    cookie: str = "remember"
    """Name of its cookie, to which the prefix is added."""

    def __post_init__(self) -> None:
        if not 0 < self.days <= 400:
            raise ConfigError("`days` must be more than 0 and at most 400")


class Remembered:
    """The credentials beside one :class:`coatroom.Sessions`: sessions of their own in the same store, without data."""

    # spec: REM-1 bbac, REM-2 698a
    def __init__(
        self,
        chosen: Remember,
        sessions: Sessions,
        store: Any,
        ring: str,
        *,
        dev: bool,
        clock: ManualClock | None,
    ) -> None:
        span = chosen.days * 86400
        prefix = "" if dev else "__Host-"
        self.roles_of = chosen.roles_of
        self.main = sessions
        self.own = type(sessions)(
            store,
            derived(ring),
            dev=dev,
            clock=clock,
            idle=None,
            absolute=span,
            max_age=span,
            rotate_every=None,
            reuse="revoke-all",
            login_cookie=prefix + chosen.cookie,
            visitor_cookie=f"{prefix}{chosen.cookie}-unused",
            on_event=self._tell,
        )
        self.cookie = self.own.cookie_names[0]

    def is_in(self, cookies: bytes | str) -> bool:
        """Whether a request may carry a credential: a quick look, the rest is judged by the core."""
        name = self.cookie + "="
        return name.encode() in cookies if isinstance(cookies, bytes) else name in cookies

    # spec: REM-2 698a, REM-3 3625
    def restore(self, session: Session) -> None:
        """Logs in whom the credential names, at level 0, if nobody is logged in; the credential is replaced."""
        if session.principal is not None:
            return
        credential = self.own.open(session._cookies)
        name = _name_of(credential)
        if name is not None:
            roles = self.roles_of(name)
            if roles is None:
                credential.logout()
            else:
                credential.rotate()
                session.login(name, roles, level=0)
                session._entered = None
        self._commit(credential, session)

    def is_due(self, session: Session) -> bool:
        """Whether :meth:`settle` has something to do."""
        if getattr(session, "_remembers", None) is not None:
            return True
        changes = getattr(session, "_has_left", False) or getattr(session, "_entered", None) is not None
        return changes and self.is_in(session._cookies)

    # spec: REM-1 bbac, REM-4 55b3
    def settle(self, session: Session) -> None:
        """After a session was committed: makes the credential that was asked for, or ends one that a logout or the
        login of somebody else leaves behind.

        The session stands already. A credential that cannot be made costs the user one more login, and is logged; one
        that cannot be ended is an error: a page that says "logged out" must not log in again.
        """
        if not self.is_due(session):
            return
        wanted: str | None = getattr(session, "_remembers", None)
        entered: str | None = getattr(session, "_entered", None)
        try:
            credential = self.own.open(session._cookies)
            if wanted is not None:
                credential.login(PREFIX + wanted, level=0)
            elif getattr(session, "_has_left", False) or _name_of(credential) != entered:
                credential.logout()
            self._commit(credential, session)
        except CoatroomError as error:
            if wanted is None:
                raise
            log.error("a login was not remembered: %s", error)

    # spec: REM-3 3625
    def _commit(self, credential: Session, session: Session) -> None:
        credential._commit(200)
        lines = credential._exchange.head()[2]
        session._more_lines = [line for line in lines if line.startswith(self.cookie + "=")]
        for event, handle, _ in credential._exchange.events():
            row = self.own._native.look_up(handle) if event == "reuse" and handle is not None else None
            if row is not None and row[3] is not None:
                # Whoever had the copy may have logged in with it.
                self.main.revoke_all(row[3].removeprefix(PREFIX))

    def _tell(self, name: str, handle: str | None, cause: str | None) -> None:
        if self.main._on_event is not None:
            self.main._on_event(f"remembered {name}", handle, cause)

    # spec: REM-4 55b3
    def revoke(self, principal: str) -> None:
        """Ends all credentials of a principal."""
        self.own.revoke_all(PREFIX + principal)

    def rename(self, old: str, new: str) -> None:
        """Gives a principal another name. The empty one is refused for the sessions, which come next."""
        if new:
            self.own.rename_principal(PREFIX + old, PREFIX + new)


def _name_of(credential: Session) -> str | None:
    """Whose credential it is."""
    principal = credential.principal
    return principal.removeprefix(PREFIX) if principal is not None and principal.startswith(PREFIX) else None


# spec: REM-1 bbac
def derived(ring: str, use: bytes = b"coatroom/1 remembered login") -> str:
    """A ring for one use alone, so that no id of one kind is one of the other."""
    entries = []
    for entry in _keys.parse(ring):
        key = hmac.new(entry.material, use, hashlib.sha256).digest()
        entries.append(f"{entry.number}:{base64.urlsafe_b64encode(key).decode().rstrip('=')}")
    return ",".join(entries)
