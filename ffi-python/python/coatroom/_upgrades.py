"""How an old session becomes a new one: once, under a new id, and never a second time."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from coatroom._events import call
from coatroom._native import Exchange
from coatroom.errors import CoatroomError, ConfigError, StoreUnavailable
from coatroom.remember import derived
from coatroom.upgrade import LONGEST, Found, Login, Reader

if TYPE_CHECKING:
    from coatroom.session import Session
    from coatroom.sessions import Sessions

log = logging.getLogger("coatroom")

PREFIX = "upgraded\x1f"
"""Stands before names in the index of principals, so that notes are neither listed nor counted as sessions."""

WINDOW = timedelta(seconds=30)
"""How long requests that the browser has sent already, with the old cookie alone, may still be under way."""


class Upgraded(NamedTuple):
    """What a request has taken over, until its response is written."""

    reader: Reader
    value: str
    name: str


class Upgrades:
    """The readers beside one :class:`coatroom.Sessions`, and notes in the same store of what they read: sessions of
    their own whose principal is a digest of the old cookie, and whose label is the handle of what became of it."""

    def __init__(
        self, readers: Sequence[Reader], sessions: Sessions, store: Any, ring: str, *, dev: bool, clock: Any
    ) -> None:
        self.readers = readers
        self.main = sessions
        self.clock = clock
        longest = max(reader.until for reader in readers) - self.now()
        if longest > LONGEST:
            raise ConfigError(f"`until` may be {LONGEST.days} days ahead at most")
        self.notes = type(sessions)(
            store,
            derived(ring, b"coatroom/1 upgraded session"),
            dev=dev,
            clock=clock,
            idle=None,
            absolute=max(longest, timedelta(hours=1)),
            rotate_every=None,
        )

    def now(self) -> datetime:
        return self.clock.now() if self.clock is not None else datetime.now(timezone.utc)

    def is_in(self, cookies: bytes | str) -> bool:
        """Whether a request may carry an old session, and none of ours: a quick look."""
        header = cookies.decode("latin-1") if isinstance(cookies, bytes) else cookies
        names = {pair.partition("=")[0].strip() for pair in header.split(";")}
        return names.isdisjoint(self.main.cookie_names) and any(reader.cookie in names for reader in self.readers)

    def upgrade(self, session: Session) -> None:
        """Fills a session that is not there yet with what an old one held."""
        if getattr(session, "_is_upgraded", False) or not self.is_in(session._cookies):
            return
        session._is_upgraded = True
        for reader in self.readers:
            value = _one(session._cookies, reader.cookie)
            if value is None or self.now() >= reader.until:
                continue
            found = _asked(reader, value)
            name = _name_of(reader, value)
            if found is not None and not self.is_spent(name):
                _fill(session, reader, found)
                session._upgraded = Upgraded(reader, value, name)
                return

    def is_spent(self, name: str) -> bool:
        """Whether an old session has had its time: it was taken over a while ago, or what became of it has ended."""
        for note in self.notes.devices(name):
            row = self.main._native.look_up(note.label) if note.label else None
            lives = row is not None and row[1] in ("login", "visitor")
            if not lives or self.now() - note.created > WINDOW:
                return True
        return False

    def is_due(self, session: Session) -> bool:
        """Whether :meth:`settle` has something to do."""
        return getattr(session, "_upgraded", None) is not None

    def settle(self, session: Session) -> None:
        """After the new session is written: the old one is used up. The response stands whatever fails here; what could
        not be noted or removed is told to the log."""
        upgraded: Upgraded | None = getattr(session, "_upgraded", None)
        if upgraded is None:
            return
        session._upgraded = None
        reader, value, name = upgraded
        handle = session.handle
        try:
            note = self.notes.open("")
            note.login(name, level=0)
            note.set_client(handle or "")
            note._commit(200)
        except CoatroomError as error:
            log.error("an old session was taken over, which could not be noted: %s", error)
        try:
            reader.remove(value)
        except Exception as error:
            log.error("an old session was taken over, but not removed: %s", type(error).__name__)
        session._more_lines = [*getattr(session, "_more_lines", ()), self.removal(reader)]
        if self.main._on_event is not None:
            call(self.main._on_event, "upgraded", handle, None)

    def removal(self, reader: Reader) -> str:
        """The Set-Cookie value that removes the old cookie."""
        domain = f"; Domain={reader.domain}" if reader.domain else ""
        secure = "; Secure" if self.main._is_secure else ""
        return f"{reader.cookie}=; Path={reader.path}{domain}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{secure}"


def _asked(reader: Reader, value: str) -> Found | None:
    try:
        return reader.read(value)
    except CoatroomError:
        raise
    except Exception as error:
        # Whoever may be logged in is not treated as nobody.
        log.error("an old session could not be read: %s raised %s", type(reader).__name__, type(error).__name__)
        raise StoreUnavailable("the store of the old sessions cannot answer: try again shortly") from None


def _fill(session: Session, reader: Reader, found: Found) -> None:
    login = reader.login(found) if reader.login is not None else None
    if login is not None:
        login = Login(login) if isinstance(login, str) else login
        session.login(login.principal, login.roles, login.level)
        session._entered = None
    companions = reader.companions if login is not None else frozenset()
    left = []
    for key, value in found.data.items():
        if not isinstance(key, str) or (key in reader.user_keys and key not in companions):
            continue
        try:
            Exchange.encode(value)
        except CoatroomError:
            left.append(key)
        else:
            session[key] = value
    if left:
        log.warning("not carried over from an old session, for it is no plain data: %s", ", ".join(sorted(left)))


def _one(cookies: bytes | str, name: str) -> str | None:
    """The value of a cookie that occurs once."""
    header = cookies.decode("latin-1") if isinstance(cookies, bytes) else cookies
    pairs = (pair.partition("=") for pair in header.split(";"))
    values = [value.strip() for key, _, value in pairs if key.strip() == name]
    return values[0].strip('"') or None if len(values) == 1 else None


def _name_of(reader: Reader, value: str) -> str:
    """Says nothing of the cookie to whoever reads the store."""
    digest = hashlib.sha256(f"{reader.cookie}={value}".encode()).digest()
    return PREFIX + base64.urlsafe_b64encode(digest).decode()
