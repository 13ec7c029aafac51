"""The object that an application makes once."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import secrets
import threading
import weakref
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, cast

from coatroom import _native, csrf
from coatroom._events import OnEvent, not_opened
from coatroom._own import Asker
from coatroom._transport import Transport
from coatroom._upgrades import Upgrades
from coatroom.errors import CoatroomError, ConfigError, StoreUnavailable
from coatroom.remember import Remember, Remembered
from coatroom.session import Device, Session
from coatroom.store import AsyncStore, Store
from coatroom.upgrade import Reader

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from coatroom._sockets import Sockets
    from coatroom.testing import ManualClock

Span: TypeAlias = "float | timedelta"

log = logging.getLogger("coatroom")


class Settings(TypedDict, total=False):
    """What may be chosen. Spans are seconds or timedeltas; what is left out keeps the default of the policy."""

    preset: Literal["aal1", "aal2", "aal3"]
    """The limits of an assurance level of NIST SP 800-63B-4, which the other settings then cannot exceed."""
    idle: Span | None
    """A session ends when it was not used for this long. None: only the absolute limit. Default 30 minutes."""
    touch: Span | None
    """How old the noted time of the last use may be before it is noted again. Default a sixteenth of ``idle``."""
    absolute: Span
    """A session ends this long after login, whatever happens. Default 12 hours."""
    activation: Span | None
    """A session whose first id is never presented ends after this. Default off."""
    skew: Span
    """How far the clocks of the nodes may differ. Default 5 seconds."""
    rotate_every: Span | None
    """How long an id of a login is used before it is replaced. Default 15 minutes."""
    grace: Span
    """How long a replaced id still works once the client has shown the new one. Default 30 seconds."""
    carry: Literal["all", "none"] | Sequence[str]
    """What anonymous data survives a login. Default all."""
    reuse: Literal["destroy", "revoke-all", "danger-refuse-only"]
    """What follows when an id is presented that was replaced long ago. Default: the session ends."""
    limit: tuple[Literal["refuse", "evict-oldest", "evict-idlest"], int] | None
    """How many sessions a principal may have, and what gives way beyond it. Default any number."""
    concurrency: Literal["merge", "strict", "serial"]
    """How requests that overlap are brought together. ``merge``: changes of different keys all survive, ``add`` sums,
    the last write of a key wins. ``strict``: a request is refused (409) if a key that it read or set was changed
    meanwhile. ``serial``: requests with unsafe methods have the session one after the other. Default merge."""
    lease: Span
    """How long a request of serial mode has the session to itself; one that takes longer is refused (409) if others
    wrote meanwhile. Default 10 seconds."""
    sealed: bool
    """Whether what is stored is encrypted, under keys of the ring. Default false."""
    size: int
    """Bytes that the record of a session may have. Default 65,536."""
    tombstone: Span
    """How long an ended session remembers why. Default one hour."""
    login_cookie: str
    """Name of the login cookie. Default ``__Host-id``."""
    visitor_cookie: str
    """Name of the visitor cookie. Default ``__Host-visitor``."""
    path: str
    """Path below which the cookies are sent. Default ``/``."""
    domain: str | None
    """Domain whose hosts all get the cookies; the names then begin with ``__Secure-``. Default this host alone."""
    same_site: Literal["lax", "strict", "none"]
    """When the cookies go along with requests from other sites. Default lax."""
    max_age: Span | None
    """How long browsers keep the cookies, never beyond the absolute limit. Default until they are closed."""
    transport: Literal["cookie", "header"]
    """How ids travel. ``header``: for native clients, in headers of their own, and cookies are not looked at. Default
    cookie."""
    clear_site_data: Sequence[Literal["cache", "cookies", "storage", "executionContexts"]]
    """What browsers throw away with the response of a logout. Default nothing."""
    remember: Remember | None
    """How logins are remembered beyond their session: see :mod:`coatroom.remember`. Default not at all."""
    upgrade_from: Sequence[Reader]
    """Readers of the sessions that another library left in browsers: see :mod:`coatroom.upgrade`. Default none."""
    announce: bool
    """Whether every ending of a login is announced in the store, for those who verify its access tokens: see
    :mod:`coatroom.tokens`. Stores of your own keep no such feed. Default false."""
    on_event: OnEvent | None
    """Called with the name of each event, the handle of its session and the cause of an end, once it is written."""


class Sessions:
    """The sessions of one application: a store, a key ring and a policy. Share one between all requests and threads.

    ``store`` is ``sqlite:PATH``, a file that all worker processes of the host share; ``redis://HOST:PORT`` (also
    ``rediss``, ``redis+cluster``, ``redis+sentinel``) or ``postgres://USER@HOST/DATABASE``, for several hosts;
    ``redis+unix:///PATH``, a Redis server of this host by its Unix socket; ``file:PATH``, a folder to look into; or
    ``memory``, for one process. What each survives is in ``docs/stores.md``.
    ``cookie`` keeps no state on the server: sessions live in their cookies, encrypted. ``cookie+deny:STORE`` does too,
    and lists in that store what is no longer good, so that a logout is final; ``cookie-until-login+STORE`` moves a
    session in to the store when somebody logs in. What cookies cannot keep is in ``docs/stateful-or-stateless.md``.
    Or it is a store of your own, an object with the methods of :class:`coatroom.Store` or :class:`coatroom.AsyncStore`.
    A PostgreSQL database has to be prepared by :meth:`migrate` once per release.
    ``keys`` is a list ``number:base64url,...`` whose first entry signs; without it ``COATROOM_KEYS`` or the file that
    ``COATROOM_KEYS_FILE`` names (one entry per line) is read. Make an entry with ``Sessions.new_key(1)``.

    What the policy lets an application choose is listed at :class:`coatroom.sessions.Settings`.

    ``dev=True`` is for development over plain http only: cookies go without ``Secure`` and name prefix, and a key file
    beside the store is made if no keys are given.
    """

    # spec: POL-4 713a
    def __init__(
        self,
        store: str | Store | AsyncStore,
        keys: str | None = None,
        *,
        dev: bool = False,
        clock: ManualClock | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        chosen: dict[str, object] = {name: _seconds(value) for name, value in settings.items()}
        if dev:
            chosen["plain_http"] = True
            log.warning("development mode: session cookies are not confined to https")
        self._transport = Transport.of(chosen.pop("transport", "cookie"), chosen.pop("clear_site_data", ()))
        remember = cast("Remember | None", chosen.pop("remember", None))
        self._on_event = cast("OnEvent | None", chosen.pop("on_event", None))
        ring = _find_keys(keys, store, dev, os.environ)
        upgrade_from = cast("Sequence[Reader]", chosen.pop("upgrade_from", ()))
        self._own = Asker.of(store)
        if self._own is not None and (chosen.get("limit") is not None or chosen.get("reuse") == "revoke-all"):
            self._own.needs_index()
        self._native = _native.Sessions(self._own or store, ring, chosen, clock._native if clock else None)
        self._clock = clock
        self._sockets: weakref.WeakSet[Sockets] = weakref.WeakSet()
        self._is_heard = self._on_event is not None
        """Whether anybody is to hear of events: the application, or WebSockets, if there ever were any."""
        _LIVE.add(self)
        if self._own is not None and (remember is not None or upgrade_from):
            self._own.needs_index()
        beside = self._own or _beside(store, remember is not None or upgrade_from)
        self._remembered = Remembered(remember, self, beside, ring, dev=dev, clock=clock) if remember else None
        if remember is not None and self._transport.is_header:
            raise ConfigError("`remember` is for browsers: a native client keeps its id for as long as it likes")
        self._upgrades = Upgrades(upgrade_from, self, beside, ring, dev=dev, clock=clock) if upgrade_from else None
        if upgrade_from and self._transport.is_header:
            raise ConfigError("`upgrade_from` is for browsers: a native client has no cookies")
        self._has_more = remember is not None or bool(upgrade_from)
        """Whether a request may carry more than a session, and leave more behind."""
        self._answers_at_once = self._own is None and not self._native.waits()
        self._is_far = self._native.is_far()
        self._has_turns = self._native.takes_turns("POST")
        policy = self._native.policy()
        self._is_secure: bool = not policy["plain_http"]
        self._is_embedded: bool = policy["same_site"] == "none"
        self.cookie_names: tuple[str, str] = self._native.cookie_names()
        """Names of the login and the visitor cookie."""
        if isinstance(store, str) and (_native.plain_store(store) or "").startswith(("redis", "valkey")):
            # Nobody waits for it. Not a daemon: those are cut off inside of the native module when the process ends.
            threading.Thread(target=self._warn, name="coatroom warnings").start()

    def _warn(self) -> None:
        """Tells the log at the start what :meth:`warnings` finds."""
        with contextlib.suppress(StoreUnavailable):
            for warning in self.warnings():
                log.warning(warning)

    @staticmethod
    def new_key(number: int) -> str:
        """A fresh entry for a key ring."""
        return f"{number}:{base64.urlsafe_b64encode(_native.keygen()).decode().rstrip('=')}"

    def open(self, cookies: bytes | str, *, method: str = "GET", serial: bool | None = None) -> Session:
        """Opens the exchange of one request on its Cookie header; several headers are joined by ``; ``.

        In turn, that is one after the other, if ``serial`` says so, or if it is None, ``concurrency`` is ``serial`` and
        ``method`` is not a safe one: then this waits for others, and raises :class:`coatroom.Busy` when they take too
        long.

        Raises :class:`coatroom.StoreUnavailable` when the store cannot say whether there is a session.
        """
        self._waits()
        in_turn = self._native.takes_turns(method) if serial is None else serial
        try:
            exchange = self._native.open(cookies, in_turn)
        except CoatroomError as error:
            not_opened(self, error)
            raise
        return Session(exchange, self, cookies)

    def _restore(self, session: Session, method: str) -> None:
        """Takes over an old session, or logs in whom the request's credential names, or leaves the session as it is."""
        if self._upgrades is not None:
            self._upgrades.upgrade(session)
        if self._may_remember(method, session._cookies) and self._remembered is not None:
            self._remembered.restore(session)

    def _may_restore(self, method: str, cookies: bytes | str) -> bool:
        """Whether there is anything to take over or to restore: a quick look."""
        is_old = self._upgrades is not None and self._upgrades.is_in(cookies)
        return is_old or self._may_remember(method, cookies)

    def _is_to_settle(self, session: Session) -> bool:
        """Whether something follows the commit that asks a store."""
        credential = self._remembered is not None and self._remembered.is_due(session)
        return credential or (self._upgrades is not None and self._upgrades.is_due(session))

    def _may_remember(self, method: str, cookies: bytes | str) -> bool:
        """Whether a remembered login may begin here. Not where it would also change something: a request that was made
        for an older login, or forged, finds nobody."""
        return self._remembered is not None and method in csrf.SAFE_METHODS and self._remembered.is_in(cookies)

    @property
    def _uses_headers(self) -> bool:
        return self._transport.is_header

    def devices(self, principal: str) -> list[Device]:
        """The live sessions of a principal, the one used last first."""
        self._waits(index=True)
        return [Device.of(parts, None) for parts in self._native.devices(principal)]

    def revoke(self, principal: str, handle: str) -> bool:
        """Ends one session of a principal; whether it was live. Another's raises :class:`coatroom.Refused`."""
        self._waits()
        was_live = self._native.revoke(principal, handle)
        self._look_at_sockets({handle})
        return was_live

    def revoke_all(self, principal: str, *, but: str | None = None) -> int:
        """Ends all sessions of a principal, but for the one with the handle ``but``; returns how many.

        Logins that are under way are refused, also for the few seconds by which clocks may differ: when this returns,
        no session that was logged in by a request which began before works any more. A handler that resets a password
        and logs in calls :meth:`coatroom.Session.revoke_all` after its ``login`` instead.
        """
        self._waits(index=True)
        if self._remembered is not None:
            self._remembered.revoke(principal)
        ended = self._native.revoke_all(principal, but)
        self._look_at_sockets(set(), principal)
        return ended

    def revoke_everything(self) -> int:
        """Ends every login, the remembered ones too, after an incident; visitors stay. Returns how many."""
        self._waits()
        if self._own is not None:
            self._own.needs_scan()
        # Credentials first, for they log in: in one store with the sessions, these end with them.
        ended = self._remembered.own.revoke_everything() if self._remembered is not None else 0
        ended += self._native.revoke_everything()
        self._look_at_sockets(None)
        return ended

    def rename_principal(self, old: str, new: str) -> int:
        """Gives a principal another name in all its sessions; returns in how many. Change it elsewhere first."""
        self._waits(index=True)
        if self._remembered is not None:
            self._remembered.rename(old, new)
        return self._native.rename_principal(old, new)

    def _look_at_sockets(self, handles: set[str] | None, principal: str | None = None) -> None:
        """Sessions may have ended: those with these handles, those of the principal; any if None."""
        for sockets in list(self._sockets):
            sockets.look(handles, principal)

    def migrate(self) -> None:
        """Makes the tables of a PostgreSQL store, or brings them up to date; the other stores do so by themselves.
        Tables of a newer version are left alone and raise :class:`coatroom.StoreUnavailable`."""
        self._native.migrate()

    def warnings(self) -> list[str]:
        """What an operator ought to know of the store as it is set up, such as a Redis server that evicts sessions.

        For Redis it is told to the log ``coatroom`` as well, when the object is made and the server answers.
        """
        return self._native.warnings()

    def sweep(self, most: int = 1000) -> int:
        """Removes at most about ``most`` records that are over for good; returns how many. Only space depends on it."""
        self._waits()
        return self._native.sweep(most)

    def _waits(self, *, index: bool = False) -> None:
        """Called before the store is asked by a thread that waits."""
        if self._own is not None:
            self._own.may_be_asked_here()
            if index:
                self._own.needs_index()


_LIVE: weakref.WeakSet[Sessions] = weakref.WeakSet()


def _before_fork() -> None:
    """A child must not inherit an open file of SQLite, whose locks it would believe to hold."""
    for sessions in list(_LIVE):
        sessions._native.release()


def _after_fork() -> None:
    for sessions in list(_LIVE):
        sessions._native.resume()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)


def _seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


# spec: KEY-6 90a8, KEY-7 ffb4
# spec: COAT-12 ce17
def _beside(store: str | Store | AsyncStore, is_needed: object) -> str | Store | AsyncStore | None:
    """The store of what has to be kept, wherever the sessions themselves live."""
    plain = _native.plain_store(store) if isinstance(store, str) else store
    if plain is None and is_needed:
        raise ConfigError("`remember` and `upgrade_from` keep something on the server: name a store, or a deny list")
    return plain


def _find_keys(keys: str | None, store: object, dev: bool, environ: Mapping[str, str]) -> str:
    if keys is not None:
        return keys
    if "COATROOM_KEYS" in environ:
        return environ["COATROOM_KEYS"]
    if "COATROOM_KEYS_FILE" in environ:
        return _read_keys(Path(environ["COATROOM_KEYS_FILE"]))
    if dev:
        return _dev_keys(store)
    raise ConfigError(
        "no session keys: set COATROOM_KEYS or COATROOM_KEYS_FILE to what `Sessions.new_key(1)` gives, or use dev=True"
    )


def _read_keys(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key file cannot be read ({type(error).__name__}): check COATROOM_KEYS_FILE") from None


# spec: KEY-6 90a8
def _dev_keys(store: object) -> str:
    """The key file beside the store, made on first use and readable by its owner alone."""
    plain = _native.plain_store(store) if isinstance(store, str) else None
    kind, _, name = (plain or "").partition(":")
    if kind != "sqlite":
        return Sessions.new_key(1)
    path = Path(name + ".keys")
    if path.exists():
        return _read_keys(path)
    fresh = Path(f"{path}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(Sessions.new_key(1) + "\n")
        try:
            # Whoever links first wins, and everybody reads a whole file.
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    except OSError as error:
        raise ConfigError(f"the key file beside the store cannot be made ({type(error).__name__})") from None
    return _read_keys(path)


def given_or_made(
    sessions: Sessions | None, store: str | Store | AsyncStore, dev: bool, settings: Settings
) -> Sessions:
    """The sessions of an adapter: those that it is given, or made of its arguments, and never some of each."""
    if sessions is None:
        return Sessions(store, dev=dev, **settings)
    beside = [*settings, *(["store"] if store != "" else []), *(["dev"] if dev else [])]
    if beside:
        raise ConfigError(f"`sessions` is given, so these would have no effect: {', '.join(sorted(beside))}")
    return sessions
