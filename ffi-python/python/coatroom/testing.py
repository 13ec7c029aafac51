"""For tests: time that stands still until told otherwise, randomness that repeats, and a hand in a client's session.

With pytest nothing has to be imported: the fixtures of :mod:`coatroom.pytest_plugin` are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.cookies import SimpleCookie
from typing import Any

from coatroom import _native
from coatroom.session import Session
from coatroom.sessions import Sessions

__all__ = ["KEYS", "ManualClock", "session_of"]

KEYS = "1:dGhpcyBrZXkgaXMgZm9yIHRlc3RzIGFuZCBub3RoaW5nIGVsc2U"
"""A key ring that everybody knows: for tests alone."""


class ManualClock:
    """A clock for ``Sessions(clock=...)``. Starts at ``start``, the present by default, and moves only when told.

    With a ``seed`` the ids and tokens of these sessions come out the same in every run, and so can be guessed.
    """

    def __init__(self, start: datetime | None = None, *, seed: bytes | None = None) -> None:
        start = start or datetime.now(timezone.utc)
        self._native = _native.Clock(int(start.timestamp() * 1000), seed)
        self._alarms: list[tuple[int, Callable[[], object]]] = []

    def now(self) -> datetime:
        """The present reading."""
        return datetime.fromtimestamp(self._native.unix_ms() / 1000, timezone.utc)

    def advance(self, span: float | timedelta) -> None:
        """Moves on by ``span``, in seconds; a negative one moves back."""
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        now = self._native.unix_ms() + round(seconds * 1000)
        self._native.set(now)
        due = [alarm for alarm in self._alarms if alarm[0] <= now]
        self._alarms = [alarm for alarm in self._alarms if alarm[0] > now]
        for _, ring in due:
            ring()

    def _call_later(self, seconds: float, ring: Callable[[], object]) -> None:
        """Calls ``ring`` within the :meth:`advance` that moves the clock so far."""
        self._alarms.append((self._native.unix_ms() + round(seconds * 1000), ring))


@contextmanager
def session_of(client: Any, sessions: Sessions) -> Iterator[Session]:
    """The session of a test client, to read and to write: ``with session_of(client, sessions) as session: ...``.

    It is one exchange with the client's cookies, committed at the end of the block; the client then has the cookies
    that came of it. An exception in the block writes nothing. ``client`` is one of Flask, Starlette, FastAPI, Django or
    httpx. So ``session.login("ada")`` in the block logs the client in, without a login page.
    """
    read, write = _jar(client)
    names = sessions._native.cookie_names()
    found = [(name, read(name)) for name in names]
    session = sessions.open("; ".join(f"{name}={value}" for name, value in found if value))
    try:
        yield session
    except BaseException:
        session._discard()
        raise
    session._commit(200)
    for line in session._exchange.head()[2]:
        name, _, rest = line.partition("=")
        write(name, rest.partition(";")[0])


Read = Callable[[str], "str | None"]
Write = Callable[[str, str], None]


def _jar(client: Any) -> tuple[Read, Write]:
    """How to read a cookie of the client, and how to set one; an empty value removes it."""
    if hasattr(client, "get_cookie"):
        return _werkzeug(client)
    if isinstance(getattr(client, "cookies", None), SimpleCookie):
        return _django(client)
    if hasattr(client, "cookies"):
        return _httpx(client)
    raise TypeError(f"{type(client).__name__} is no test client that keeps cookies")


def _werkzeug(client: Any) -> tuple[Read, Write]:
    def read(name: str) -> str | None:
        cookie = client.get_cookie(name)
        return None if cookie is None else cookie.value

    def write(name: str, value: str) -> None:
        if value:
            client.set_cookie(name, value, secure=True, httponly=True)
        else:
            client.delete_cookie(name)

    return read, write


def _django(client: Any) -> tuple[Read, Write]:
    def read(name: str) -> str | None:
        return client.cookies[name].value if name in client.cookies else None

    def write(name: str, value: str) -> None:
        if value:
            client.cookies[name] = value
        else:
            client.cookies.pop(name, None)

    return read, write


def _httpx(client: Any) -> tuple[Read, Write]:
    # As the client's own jar stores what a response sets; a cookie without a domain would be a second one.
    host = client.base_url.host
    domain = host if "." in host else f"{host}.local"

    def read(name: str) -> str | None:
        return next((cookie.value for cookie in client.cookies.jar if cookie.name == name), None)

    def write(name: str, value: str) -> None:
        for cookie in [cookie for cookie in client.cookies.jar if cookie.name == name]:
            client.cookies.jar.clear(cookie.domain, cookie.path, cookie.name)
        if value:
            client.cookies.set(name, value, domain=domain, path="/")

    return read, write
