"""The session of one request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING, Any, Generic, Literal, cast, overload

from coatroom import _flashes as flashes
from coatroom import _models as models
from coatroom import csrf
from coatroom._events import tell
from coatroom.errors import CoatroomError, ConfigError, NotFresh, SessionClosed, Unauthenticated

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from coatroom._native import Exchange
    from coatroom._upgrades import Upgraded
    from coatroom.csrf import Html
    from coatroom.sessions import Sessions

    Data = TypeVar("Data", bound=Mapping[str, object], covariant=True, default=Any)
    M = TypeVar("M")
else:
    from typing import TypeVar

    Data = TypeVar("Data", covariant=True)
    M = TypeVar("M")

Rotation = Literal["rotated", "pending", "postponed"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What an exchange found, and what it writes."""

    state: str | None
    """State of the presented id: Created, Active, Expired, Destroyed, Regenerated; None when no id was presented."""
    generation: int | None
    """How many ids were issued for the session before the present one."""
    handle: str | None
    """The session's public name. Never a credential."""
    written: tuple[str, ...]
    """Before the commit what would be written, afterwards what was."""
    trips: int
    """Store calls so far."""
    idle_left: float | None
    """Seconds until the idle limit, if nothing happens."""
    absolute_left: float | None
    """Seconds until the absolute limit."""
    events: tuple[str, ...]
    """What was noticed."""


@dataclass(frozen=True, slots=True)
class Device:
    """A live session, as a list of devices shows it. Times are aware and in UTC."""

    handle: str
    """The session's public name, by which it can be revoked."""
    label: str
    """What the application noted of the client."""
    address: str
    """Its network address, if that was noted."""
    created: datetime
    """When the session was created."""
    seen: datetime
    """When it was last used, to within a minute."""
    authenticated: datetime
    """When the login or the last elevation took place."""
    over: datetime
    """When it is over, however much it is used."""
    level: int
    """Level of authentication."""
    is_this: bool
    """Whether it is the session of the present request."""

    @classmethod
    def of(cls, parts: tuple[str, str, str, float, float, float, float, int], here: str | None) -> Device:
        """From what the native module returns."""
        handle, label, address, *times, level = parts
        created, seen, authenticated, over = (datetime.fromtimestamp(at, timezone.utc) for at in times)
        is_this = handle == here
        return cls(handle, label, address, created, seen, authenticated, over, level, is_this)


class Session(MutableMapping[str, Any], Generic[Data]):
    """A mapping from text to plain data: None, bool, int, float, str, bytes, and lists and dicts of them.

    Nothing is written before the response is ready; then everything is, or the request is refused. Lists and dicts may
    be changed in place. Reading never writes data.

    ``Session[Cart]`` says to type checkers that its :attr:`data` is a TypedDict ``Cart``.
    """

    __slots__ = (
        "_cookies",
        "_entered",
        "_exchange",
        "_handed_out",
        "_has_left",
        "_is_upgraded",
        "_more_lines",
        "_remembers",
        "_sessions",
        "_upgraded",
        "_visitor",
    )

    _visitor: str | None
    """The value of the cookie that the response gives a visitor for the sake of CSRF tokens, if it gives one."""
    _more_lines: Sequence[str]
    """Cookies of a remembered login."""
    _entered: str | None
    """Who proved to be who they are, in this request."""
    _remembers: str | None
    """Whose login is to be remembered."""
    _is_upgraded: bool
    """Whether an old session was looked for."""
    _upgraded: Upgraded | None
    """The old session that this one has taken over."""

    def __init__(self, exchange: Exchange, sessions: Sessions | None = None, cookies: bytes | str = "") -> None:
        self._exchange = exchange
        self._sessions = sessions
        self._cookies = cookies
        # Objects that the application may change in place; compared with what is stored when the exchange closes.
        self._handed_out: dict[str, Any] = {}
        self._visitor = None
        self._more_lines = ()
        self._has_left = False

    @property
    def data(self) -> Data:
        """This mapping itself, under the type that was declared for it. Nothing is checked when the program runs."""
        return cast("Data", self)

    def view(self, model: type[M]) -> M:
        """What the session holds, as a model: a msgspec Struct, a pydantic model, or a dataclass (with msgspec). Each
        field is a key; an absent one has its default. What is done to the model changes nothing.

        Raises :class:`coatroom.ModelMismatch` if it does not fit.
        """
        return models.view(self, model)

    def edit(self, model: type[M]) -> AbstractContextManager[M]:
        """``with session.edit(Shop) as shop: shop.visits += 1``: as :meth:`view`, and at the end of the block those
        fields are set that were changed. An exception in the block changes nothing."""
        return models.edit(self, model)

    def __getitem__(self, key: str) -> Any:
        handed_out = self._handed_out
        if key in handed_out:
            return handed_out[key]
        value = self._exchange.get(key)
        if type(value) is list or type(value) is dict:
            handed_out[key] = value
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._exchange.set(key, value)
        if isinstance(value, (list, dict)):
            self._handed_out[key] = value
        else:
            self._handed_out.pop(key, None)

    def __delitem__(self, key: str) -> None:
        self._exchange.remove(key)
        self._handed_out.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._exchange.contains(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._exchange.keys())

    def __len__(self) -> int:
        return len(self._exchange.keys())

    def clear(self) -> None:
        """Removes every key, also those that other requests have added by the time this one is written."""
        self._exchange.clear()
        self._handed_out.clear()

    def add(self, key: str, n: int = 1) -> int:
        """Adds ``n`` to the integer at ``key``, which starts at 0; returns the sum.

        Additions of requests that overlap are all counted, each once.
        """
        return self._exchange.add(key, n)

    @overload  # type: ignore[override]
    def update(self, key: str, function: Callable[[Any], Any], /) -> None: ...
    @overload
    def update(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **values: Any) -> None: ...
    def update(self, /, *args: Any, **values: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """``update(key, function)`` replaces the value by ``function(value)``, with None for an absent key.

        After a conflict the function runs again on the fresh value, possibly after the handler has returned: it must
        depend on nothing but its argument. Other arguments are those of :meth:`dict.update`.
        """
        if len(args) == 2:
            key, function = args
            self._write_back(key)
            self._exchange.update(key, function)
            self._handed_out.pop(key, None)
        else:
            super().update(*args, **values)

    def strict(self) -> None:
        """Refuses the commit of this request with :class:`coatroom.Conflict` if a key that it reads or sets from here
        on is changed by another request in between. Of a session in its cookie nobody can tell, so none is refused."""
        self._exchange.strict()

    def login(self, principal: str, roles: Iterable[str] = (), level: int = 1) -> None:
        """Logs ``principal`` in. The id changes, every older id is dead at once, the absolute limit begins anew.

        Call it after every successful authentication, also of somebody who is logged in already.
        """
        self._flush()
        self._exchange.login(principal, list(roles), level)
        self._entered = principal
        if getattr(self, "_remembers", principal) != principal:
            # A credential that was asked for somebody else's login would outlive this one.
            self._remembers = None
        # What the login does not carry along is no longer followed.
        self._handed_out = {key: value for key, value in self._handed_out.items() if key in self}

    def remember(self) -> None:
        """Remembers whoever is logged in beyond the session, where the sessions have ``remember``. Call it after
        ``login``, if the user wants it: on a machine of their own."""
        sessions: Sessions | None = getattr(self, "_sessions", None)
        if sessions is None or sessions._remembered is None:
            raise ConfigError("nothing is remembered here: make the sessions with remember=Remember(...)")
        principal = self.principal
        if principal is None:
            raise Unauthenticated("nobody is logged in")
        if self.level == 0:
            raise NotFresh("a remembered login is not prolonged: log in with the password")
        self._remembers = principal

    def elevate(self, level: int) -> None:
        """Notes a higher (or lower) level of authentication. The id changes, no limit moves."""
        self._exchange.elevate(level)

    def logout(self) -> None:
        """Ends the session and removes its cookies. What is set afterwards belongs to a fresh session."""
        self._exchange.logout()
        self._handed_out.clear()
        self._has_left = True
        self._remembers = self._entered = None

    def rotate(self) -> Rotation:
        """Asks for a new id: ``rotated``, ``pending`` (one is on its way already) or ``postponed`` (nobody is logged
        in, or the last rotation was too recent)."""
        return cast(Rotation, self._exchange.rotate())

    def require_role(self, role: str) -> None:
        """Raises :class:`coatroom.Unauthenticated` or :class:`coatroom.Forbidden` unless somebody with ``role`` is
        logged in. Left alone, they become the responses 401 and 403."""
        self._exchange.require_role(role)

    # spec: FRESH-1 a65a
    def require_fresh(self, minutes: float) -> None:
        """Raises :class:`coatroom.Unauthenticated` or :class:`coatroom.NotFresh` unless whoever is logged in proved who
        they are, by a login or an elevation, no longer than so many minutes ago. A login of level 0, one that was
        merely remembered, is never fresh."""
        self._exchange.require_fresh(minutes * 60)

    # spec: FRESH-1 a65a
    def require_level(self, level: int) -> None:
        """Raises :class:`coatroom.Unauthenticated` or :class:`coatroom.LevelTooLow` unless somebody is logged in with
        this level of authentication or a higher one."""
        self._exchange.require_level(level)

    def csrf_token(self) -> str:
        """The token against forged requests, for a header or a hidden field. It is masked anew each time, works as long
        as this login (or, for a visitor, this browser's session), and is not stored.

        Raises :class:`coatroom.SessionClosed` after a ``login`` or an ``elevate`` in the same request, whose token is
        known once they are written: redirect first, or let the client fetch it.
        """
        return csrf.token(self)

    def csrf_input(self, field: str = "csrf_token") -> Html:
        """A hidden field with that token: put it first into each form, as ``{{ session.csrf_input() }}``."""
        return csrf.Html(f'<input type="hidden" name="{escape(field)}" value="{csrf.token(self)}">')

    def flash(self, text: str, category: str = "message") -> None:
        """Leaves a message for the next page that asks for :meth:`flashes`."""
        flashes.leave(self, text, category)

    def flashes(self) -> list[tuple[str, str]]:
        """The messages that were left, as ``(category, text)``, the oldest first; they are gone once this request is
        written. One that another request leaves meanwhile is there the next time; two pages that ask at the same time
        may both show one."""
        return flashes.take(self)

    def devices(self) -> list[Device]:
        """The live sessions of whoever is logged in, the one used last first. Asks the store: an asynchronous handler
        calls this, and the three below, through ``asyncio.to_thread``.

        Raises :class:`coatroom.Unauthenticated` when nobody is logged in.
        """
        self._waits(index=True)
        return [Device.of(parts, self.handle) for parts in self._exchange.devices()]

    def revoke(self, handle: str) -> bool:
        """Ends one session of whoever is logged in, at once; whether it was live. Somebody else's raises
        :class:`coatroom.Refused`."""
        self._waits()
        was_live = self._exchange.revoke(handle)
        self._look_at_sockets({handle})
        return was_live

    def revoke_others(self) -> int:
        """Ends all sessions of whoever is logged in but this one, at once, and every remembered login, this browser's
        too; returns how many sessions."""
        self._forget_everywhere()
        ended = self._exchange.revoke_all(True)
        self._look_at_sockets(set())
        return ended

    def revoke_all(self) -> int:
        """Ends all sessions of whoever is logged in, at once, this one included; returns how many. What this request
        writes to its session afterwards is refused; call :meth:`logout` too to remove its cookie."""
        self._forget_everywhere()
        ended = self._exchange.revoke_all(False)
        self._look_at_sockets(set())
        return ended

    def _look_at_sockets(self, handles: set[str]) -> None:
        """Sessions of whoever is logged in have ended."""
        sessions: Sessions | None = getattr(self, "_sessions", None)
        if sessions is not None:
            sessions._look_at_sockets(handles, self.principal)

    def _waits(self, *, index: bool = False) -> None:
        """Called before the store is asked by a thread that waits."""
        sessions: Sessions | None = getattr(self, "_sessions", None)
        if sessions is not None:
            sessions._waits(index=index)

    def _forget_everywhere(self) -> None:
        self._waits(index=True)
        sessions: Sessions | None = getattr(self, "_sessions", None)
        principal = self.principal
        if sessions is not None and sessions._remembered is not None and principal is not None:
            sessions._remembered.revoke(principal)

    def set_client(self, label: str = "", address: str = "") -> None:
        """Notes what a list of devices shows of this client."""
        self._exchange.set_client(label, address)

    @property
    def principal(self) -> str | None:
        """Who is logged in."""
        return self._exchange.principal_name()

    @property
    def roles(self) -> frozenset[str]:
        """The roles of whoever is logged in."""
        principal = self._exchange.principal()
        return frozenset(principal[1]) if principal else frozenset()

    @property
    def level(self) -> int | None:
        """The level of authentication of whoever is logged in."""
        principal = self._exchange.principal()
        return principal[2] if principal else None

    @property
    def state(self) -> str | None:
        """The state of the presented id; None when no id was presented."""
        return self._exchange.trace()[0]

    @property
    def handle(self) -> str | None:
        """The session's public name: for logs and lists, never a credential."""
        return self._exchange.trace()[2]

    def trace(self) -> Trace:
        """What this exchange found and writes."""
        if self._handed_out:
            self._flush_if_open()
        state, generation, handle, written, trips, idle_left, absolute_left, events = self._exchange.trace()
        return Trace(state, generation, handle, tuple(written), trips, idle_left, absolute_left, tuple(events))

    def _commit(self, status: int) -> bool:
        """Closes the exchange for a response with ``status``; whether that response depends on the session.

        A status of 500 or above acknowledges nothing, so nothing that the handler asked for is written."""
        error = self._prepare(status)
        try:
            touched = bool(self._exchange.close())
        finally:
            tell(self)
        if error is not None:
            raise error
        self._settle()
        return touched

    # spec: WRITE-19 dc98, WRITE-15 bde4
    def _prepare(self, status: int) -> CoatroomError | None:
        """What precedes the closing. Why what the handler asked for cannot be written: what a dead id calls for is
        written all the same, and then that is raised."""
        failure = None
        if status >= 500:
            self._discard()
        elif self._handed_out:
            try:
                self._flush()
            except CoatroomError as error:
                self._discard()
                failure = error
            self._handed_out = {}
        return failure

    def _settle(self) -> None:
        """What follows a commit: the credential of a remembered login, and the end of an old session."""
        sessions = self._sessions
        if sessions is not None and sessions._has_more:
            if sessions._remembered is not None:
                sessions._remembered.settle(self)
            if sessions._upgrades is not None:
                sessions._upgrades.settle(self)

    def _discard(self) -> None:
        """Forgets whatever the handler asked for."""
        self._exchange.discard()
        self._handed_out = {}
        self._has_left = False
        self._remembers = self._entered = self._upgraded = None

    def __repr__(self) -> str:
        return "<coatroom.Session>"

    def _flush(self) -> None:
        """Writes back what was changed in place."""
        for key, value in self._handed_out.items():
            self._exchange.set_if_changed(key, value)

    def _flush_if_open(self) -> None:
        try:
            self._flush()
        except SessionClosed:
            self._handed_out.clear()

    def _write_back(self, key: str) -> None:
        if key in self._handed_out:
            self._exchange.set_if_changed(key, self._handed_out[key])
