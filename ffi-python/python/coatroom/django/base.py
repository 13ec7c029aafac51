"""``request.session`` without its asynchronous half."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.utils.functional import SimpleLazyObject, empty

from coatroom._events import not_opened
from coatroom._on_loop import open_on_loop
from coatroom._user_key import UserKeySession
from coatroom.django.expiry import EXPIRY_KEY, Expiry, Limits
from coatroom.errors import CoatroomError
from coatroom.sessions import Sessions

if TYPE_CHECKING:
    from coatroom._native import Exchange

USER_KEY = "_auth_user_id"
"""``django.contrib.auth.SESSION_KEY``. It is not stored: it is the principal, under the name that Django has for it."""

HASH_KEY = "_auth_user_hash"
"""``django.contrib.auth.HASH_SESSION_KEY``: what changes with the user's password."""

_CHANGES = {"created", "data", "logged in", "elevated", "ended"}
_LIFETIME = re.compile("; (Max-Age|Expires)=[^;]*")


class SessionBase(UserKeySession, Expiry):
    """What :class:`coatroom.django.DjangoSession` can do without ``await``."""

    _user_key = USER_KEY
    TEST_COOKIE_NAME = "testcookie"
    TEST_COOKIE_VALUE = "worked"

    accessed = False
    """Whether anything looked at the session."""
    _opened: Exchange | None = None
    _failure: CoatroomError | None = None
    """Why the session could not be opened."""
    _is_other = False
    """Whether what is written goes to another session than the one that was opened."""
    _ran_out = False
    """Whether ``set_expiry`` ended it: like every end that the browser did not ask for, it removes no cookie."""
    _is_mirrored = False
    """Whether it is looked at by Django's test client."""
    _marked = False
    _is_closing = False
    _is_forgotten = False
    """Whether ``set_expiry(0)`` lets browsers forget the cookie when they are closed."""

    def __init__(
        self, sessions: Sessions, limits: Limits, cookies: str | bytes, in_turn: bool, request: Any = None
    ) -> None:
        self._sessions = sessions
        self._limits = limits
        self._cookies = cookies
        self._in_turn = in_turn
        self._request = weakref.ref(request) if request is not None else None
        self._handed_out = {}
        self._lines: dict[str, str] = {}
        """Cookies of what ``save`` has written already, by name."""

    # Opening

    @property
    def _exchange(self) -> Exchange:  # type: ignore[override]
        exchange = self._opened or self._open()
        if not self._is_closing:
            self.accessed = True
        return exchange

    def _open(self) -> Exchange:
        """Opens the session, if that has not been done."""
        exchange = self._opened
        if exchange is None:
            try:
                exchange = self._opened = self._sessions._native.open(self._cookies, self._in_turn)
            except CoatroomError as error:
                not_opened(self._sessions, error)
                self._fail(error)
                raise
            self._end_if_over(exchange)
            if self._takes_over():
                self._sessions._restore(self, "")
        return exchange

    async def _aopen(self) -> None:
        """As ``_open``, on an event loop."""
        if self._opened is None:
            try:
                self._opened = await open_on_loop(self._sessions, self._cookies, self._in_turn)
            except CoatroomError as error:
                self._fail(error)
                raise
            self._end_if_over(self._opened)
            if self._takes_over():
                # The thread in which Django asks the database on behalf of asynchronous code.
                await sync_to_async(self._sessions._restore)(self, "")

    def _takes_over(self) -> bool:
        """Whether the request may carry an old session. Logins are remembered by Django's own means."""
        return self._sessions._upgrades is not None and self._sessions._upgrades.is_in(self._cookies)

    def _note_readonly(self, view: Any) -> None:
        """Nothing more can be told to the browser of a view that only reads."""
        if self._opened is not None and getattr(view, "coatroom_readonly", False):
            self._opened.head_sent()

    def _fail(self, error: CoatroomError) -> None:
        # The answer is an error; what looks at the session on its way out finds nobody and writes nothing.
        self._failure = error
        self._opened = self._sessions._native.open("", False)

    def _end_if_over(self, exchange: Exchange) -> None:
        expiry = _read(exchange, EXPIRY_KEY)
        if expiry and self._is_over(expiry, exchange.trace()[5]):
            exchange.logout()
            self._is_other = self._ran_out = True

    # The mapping

    def __setitem__(self, key: str, value: Any) -> None:
        if key == HASH_KEY and self._changes_password(value):
            self.elevate(self.level or 0)
        super().__setitem__(key, value)

    def __bool__(self) -> bool:
        """Always true, as with Django's sessions."""
        return True

    def has_key(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self

    def is_empty(self) -> bool:
        """Whether there is neither a session nor anything to be written to one."""
        return self.session_key is None and len(self) == 0

    @property
    def modified(self) -> bool:
        """Whether something is to be written. Setting it changes nothing: what was changed in place is noticed."""
        return self._marked or not _CHANGES.isdisjoint(self.trace().written)

    @modified.setter
    def modified(self, value: bool) -> None:
        self._marked = value

    # The id and the login

    @property
    def session_key(self) -> str | None:
        """The handle, the session's public name: it opens nothing, and it stays the same when the user logs in. None
        before the session is first written."""
        return None if self._is_other else self.handle

    def login(self, principal: str, roles: Iterable[str] = (), level: int = 1) -> None:
        """As :meth:`coatroom.Session.login`. Django's own ``login`` calls it."""
        self._is_other |= self.principal not in (None, principal)
        super().login(principal, roles, level)

    def logout(self) -> None:
        """Ends the session and removes its cookies. What is set afterwards belongs to a fresh session."""
        super().logout()
        self._is_other = True
        self._ran_out = False

    def flush(self) -> None:
        """As :meth:`logout`: ``django.contrib.auth.logout`` calls it."""
        self.logout()

    def cycle_key(self) -> None:
        """Asks for a new id: see :meth:`coatroom.Session.rotate`. A visitor's id is left alone, for it is replaced when
        the user logs in; one that was made a moment ago is left alone too."""
        self.rotate()

    def _changes_password(self, value: object) -> bool:
        """Whether Django notes the hash of a new password, and not the first one or the same under a new SECRET_KEY."""
        if self._logs_in or self.principal is None or self.get(HASH_KEY, value) == value:
            return False
        request = self._request() if self._request else None
        # While Django finds out who the user is, it renews a hash that was made under an old SECRET_KEY.
        return request is None or _knows_user(request)

    # Storing

    def save(self, must_create: bool = False) -> None:
        """Writes at once what is otherwise written when the response is ready, and goes on with the session from there.

        An empty session is created. What could not be written raises the error that would have become the answer.
        """
        exchange = self._exchange
        if self.session_key is None and "created" not in exchange.trace()[3]:
            exchange.set_client("", "")
        try:
            self._commit(200)
        finally:
            self._opened = None
            self._is_closing = False
        lines = self._cookie_lines(exchange.head()[2])
        self._lines.update(lines)
        if "rotated" not in exchange.trace()[3]:
            # A rotated id is confirmed by whoever shows it: that is for the browser to do.
            self._cookies = _replaced(self._cookies, lines)
        self._is_other = self._logs_in = self._ran_out = False
        self._open()

    def create(self) -> None:
        """Gives a visitor without a session one, written at once; so ``session_key`` is there from now on."""
        if self.session_key is None:
            self.save()

    def load(self) -> dict[str, Any]:
        """What the session holds."""
        return dict(self)

    def exists(self, session_key: str) -> bool:
        """Whether that is this session or another one of the user who is logged in."""
        if session_key == self.session_key:
            return True
        return self.principal is not None and any(device.handle == session_key for device in self.devices())

    def delete(self, session_key: str | None = None) -> None:
        """Ends this session, or the one with that handle if it belongs to whoever is logged in here."""
        if session_key is None or session_key == self.session_key:
            self.flush()
        else:
            self.revoke(session_key)

    # The test cookie

    def set_test_cookie(self) -> None:
        """Sets a key, to see in the next request whether the browser keeps cookies."""
        self[self.TEST_COOKIE_NAME] = self.TEST_COOKIE_VALUE

    def test_cookie_worked(self) -> bool:
        """Whether it does."""
        return bool(self.get(self.TEST_COOKIE_NAME) == self.TEST_COOKIE_VALUE)

    def delete_test_cookie(self) -> None:
        """Removes the key."""
        del self[self.TEST_COOKIE_NAME]

    # Closing

    def _prepare(self, status: int) -> CoatroomError | None:
        self._is_closing = True
        failure = super()._prepare(status)
        if self._limits.max_age is not None:
            self._is_forgotten = _read(self._exchange, EXPIRY_KEY) == 0
        return failure

    def _cookie_lines(self, lines: Iterable[str]) -> dict[str, str]:
        """What the response tells the browser, by the name of the cookie."""
        if self._ran_out:
            lines = (line for line in lines if not is_removal(line))
        if self._is_forgotten:
            lines = (line if is_removal(line) else _LIFETIME.sub("", line) for line in lines)
        return {line.partition("=")[0]: line for line in [*lines, *self._more_lines]}

    def _discard(self) -> None:
        super()._discard()
        self._is_other = self._ran_out = False


def _read(exchange: Exchange, key: str) -> Any:
    try:
        return exchange.get(key)
    except KeyError:
        return None


def _knows_user(request: Any) -> bool:
    if hasattr(request, "_cached_user") or hasattr(request, "_acached_user"):
        return True
    user = getattr(request, "user", None)
    return not isinstance(user, SimpleLazyObject) or user.__dict__["_wrapped"] is not empty


def _replaced(cookies: str | bytes, lines: dict[str, str]) -> str:
    """A Cookie header as the browser sends it once it has those lines."""
    header = cookies.decode("latin-1") if isinstance(cookies, bytes) else cookies
    kept = [pair.strip() for pair in header.split(";") if pair.partition("=")[0].strip() not in lines]
    fresh = [line.partition(";")[0] for line in lines.values() if not is_removal(line)]
    return "; ".join([*filter(None, kept), *fresh])


def is_removal(line: str) -> bool:
    """Whether a Set-Cookie line removes a cookie."""
    return "; Max-Age=0;" in line
