"""Access tokens: JWTs of five minutes that tell services without the session store who calls them, and a logout that
reaches those services.

.. code-block:: python

    sessions = coatroom.Sessions("redis://localhost", announce=True)
    issuer = Issuer("https://shop.example", "orders", os.environ["TOKEN_KEYS"])
    token = issuer.issue(session)                       # of a logged-in session; the adapters have `POST /token` ready

    verifier = Verifier(                                # in another process, or on another host
        "https://shop.example", "orders", jwks=key_set, revocations=Revocations("redis://localhost")
    )
    claims = verifier.verify(token.text)

The session id is what a client renews its token with. Clauses: `TOKEN` and `FEED` in ``spec/clauses/tokens.md``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, cast

from coatroom import _native
from coatroom.errors import (
    ConfigError,
    EndingsUnknown,
    Forbidden,
    NotIssued,
    StoreUnavailable,
    TokenExpired,
    TokenMissing,
    TokenRefused,
    TokenRevoked,
    UnknownTokenKey,
)
from coatroom.session import Session
from coatroom.sessions import Sessions, Span

if TYPE_CHECKING:
    from coatroom.testing import ManualClock

__all__ = [
    "Claims",
    "EndingsUnknown",
    "Issuer",
    "NotIssued",
    "Revocations",
    "Token",
    "TokenExpired",
    "TokenMissing",
    "TokenRefused",
    "TokenRevoked",
    "UnknownTokenKey",
    "Verifier",
]

Algorithm = Literal["EdDSA", "HS256"]
Heard = Literal["never", "in time", "too long ago"]
JsonWebKeySet = str | bytes | Mapping[str, Any]

log = logging.getLogger("coatroom")


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token for a client, who sends it as ``Authorization: Bearer TEXT``. Printing this does not print it."""

    text: str
    """The token itself: three parts of base64url, at most 4,096 bytes."""
    expires_at: datetime
    """When it expires; aware, in UTC, whole seconds."""
    lifetime: int
    """Seconds for which it lives, from the moment at which its session was opened."""

    def __repr__(self) -> str:
        return f"<coatroom.tokens.Token until {self.expires_at:%H:%M:%S}>"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says of a login, as it was when the token was issued."""

    principal: str
    """Who is logged in (``sub``)."""
    handle: str
    """The session's public name (``sid``). Never a credential."""
    roles: frozenset[str]
    """Roles of the principal."""
    level: int
    """Level of authentication, as the application counts it."""
    issued_at: datetime
    """When the token was issued (``iat``); aware, in UTC."""
    expires_at: datetime
    """When it expires (``exp``)."""
    token_id: str
    """The token's own name (``jti``)."""
    heard: Heard
    """Whether the verifier knew what had ended: ``never`` without :class:`Revocations`; ``too long ago`` only where a
    verifier was told to accept that."""

    # spec: LOGIN-9 c39d
    def require_role(self, role: str) -> None:
        """Raises :class:`coatroom.Forbidden` unless the principal has this role."""
        if role not in self.roles:
            raise Forbidden("the principal does not have this role")


class Issuer:
    """Makes tokens from logins, for one audience. Share one between all requests and threads.

    ``keys`` is a list ``name:EdDSA:base64url,...`` of 32 random bytes each, parted by commas or line ends; the first
    one signs and all of them are published. :meth:`new_key` makes an entry. To change keys without refusing a live
    token: put the new one last everywhere, then first, and remove the old one after a token's lifetime.

    With ``HS256`` in place of ``EdDSA`` verifiers hold the same secret, and can make tokens too.

    A token lives for ``lifetime``, in seconds or as a timedelta, from one second to an hour, and never longer than its
    session. Verifiers have to be told of another lifetime than five minutes.

    Raises :class:`coatroom.ConfigError`, which names the position of a key that is none.
    """

    # spec: TOKEN-8 d2bf
    def __init__(self, issuer: str, audience: str, keys: str, *, lifetime: Span = 300) -> None:
        self._native = _native.Issuer(issuer, audience, keys, _seconds(lifetime))

    @staticmethod
    def new_key(name: str, algorithm: Algorithm = "EdDSA") -> str:
        """A fresh entry for ``keys``. Names are of letters, digits, ``-``, ``_`` and ``.``; a month is a good one."""
        return f"{name}:{algorithm}:{base64.urlsafe_b64encode(_native.keygen()).decode().rstrip('=')}"

    # spec: TOKEN-1 6e31, TOKEN-2 9702, TOKEN-3 c1a8
    def issue(self, session: Session) -> Token:
        """A token for the login that this request came with. Asks no store.

        Raises :class:`coatroom.Unauthenticated` when nobody is logged in or the session is over, and
        :class:`coatroom.NotIssued` in the request that logs in, whose login is not stored yet.
        """
        text, expires_at, lifetime = self._native.issue(session._exchange)
        return Token(text, datetime.fromtimestamp(expires_at, timezone.utc), lifetime)

    # spec: TOKEN-9 8191
    def jwks(self) -> str:
        """The public keys as a JSON Web Key Set, for anybody; empty for ``HS256``, whose keys are secret."""
        return self._native.jwks()

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""
        return cast(Algorithm, self._native.algorithm())

    def __repr__(self) -> str:
        return f"<coatroom.tokens.Issuer {self.algorithm}>"


class Revocations:
    """What has ended, as far as this process has heard: fed by ``Sessions(announce=True)``, through their store.

    ``store`` is its address, or the :class:`coatroom.Sessions` themselves. A thread of the native module asks it every
    ``every`` seconds for what is new, also after a fork; with None, or a ``clock`` of a test, only :meth:`pull` does.
    Where the store can push (Redis, PostgreSQL) it also asks as soon as there is something; count on ``every`` alone.
    It keeps 16 bytes for each login that ended in the last hour. One can serve several verifiers.

    Raises :class:`coatroom.ConfigError` for a store without a feed: ``cookie`` alone, and stores of your own.
    """

    def __init__(self, store: str | Sessions, *, every: Span | None = 2.0, clock: ManualClock | None = None) -> None:
        self._clock = clock or (store._clock if isinstance(store, Sessions) else None)
        self._every = None if every is None or self._clock is not None else _seconds(every)
        place = store._native if isinstance(store, Sessions) else store
        self._native = _native.Revocations(place, self._every, _clock(self._clock))
        _LIVE.add(self)
        if self._every is not None:
            try:
                self._native.pull()
            except StoreUnavailable as error:
                log.warning("ended sessions are not known yet: %s", error)
            self._native.start()

    # spec: TOKEN-13 0b79
    def pull(self) -> int:
        """Fetches what is new; returns how many endings that were. Waits for the store, and raises
        :class:`coatroom.StoreUnavailable` when it does not answer: what came until then is known."""
        return self._native.pull()

    @property
    def up_to_date(self) -> datetime | None:
        """Up to when everything was heard; None before the first time. Aware, in UTC."""
        at = self._native.up_to_date()
        return None if at is None else datetime.fromtimestamp(at, timezone.utc)

    def __len__(self) -> int:
        """How many ended sessions are known."""
        return self._native.count()

    def __bool__(self) -> bool:
        return True


class Verifier:
    """Judges tokens of one issuer for one audience, without asking anybody. Share one between all requests and threads.

    Its keys are either ``jwks``, the issuer's key set (text, bytes or a parsed mapping) from a place that you chose, or
    ``shared_keys``, the issuer's own entries where those are ``HS256``. They fix the algorithm; a token's header can
    name a key among them and nothing else.

    With ``revocations`` it refuses tokens of ended sessions: of all that had ended ``within`` seconds ago, at the
    latest. When it could not hear for longer than that, ``late`` decides: ``refuse`` all tokens
    (:class:`coatroom.EndingsUnknown`, 503), or ``accept`` and say so in :attr:`Claims.heard`.

    ``lifetime`` is that of the issuer, ``leeway`` (a minute at most) is how far clocks may differ: seconds or
    timedeltas.
    """

    # spec: TOKEN-6 8261, TOKEN-7 8b63, TOKEN-13 0b79
    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        jwks: JsonWebKeySet | None = None,
        shared_keys: str | None = None,
        lifetime: Span = 300,
        leeway: Span = 5,
        revocations: Revocations | None = None,
        within: Span = 10,
        late: Literal["refuse", "accept"] = "refuse",
        clock: ManualClock | None = None,
    ) -> None:
        if late not in ("refuse", "accept"):
            raise ConfigError("`late` must be `refuse` or `accept`")
        clock = clock or (revocations._clock if revocations is not None else None)
        spans = _seconds(lifetime), _seconds(leeway)
        made = _native.Verifier((issuer, audience), _key_set(jwks), shared_keys, *spans, _clock(clock))
        if revocations is not None:
            if revocations._every is not None and _seconds(within) <= revocations._every:
                raise ConfigError("`within` has to be longer than `every` of the revocations: give the store some time")
            made = made.with_revocations(revocations._native, _seconds(within), late == "accept")
        self._native = made
        self._revocations = revocations

    # spec: TOKEN-4 0830, TOKEN-10 2a12, TOKEN-11 f067, TOKEN-12 c154
    def verify(self, token: str | bytes) -> Claims:
        """What a token states, if it counts now.

        Raises :class:`coatroom.TokenRefused`, or one of its subclasses, with a ``reason``; and
        :class:`coatroom.EndingsUnknown`. No text makes it fail in another way, or holds it up.
        """
        principal, handle, roles, level, issued, expires, token_id, heard = self._native.verify(token)
        times = datetime.fromtimestamp(issued, timezone.utc), datetime.fromtimestamp(expires, timezone.utc)
        return Claims(principal, handle, frozenset(roles), level, *times, token_id, cast(Heard, heard))

    def bearer(self, authorization: str | None) -> Claims:
        """As :meth:`verify`, of the value of an Authorization header; :class:`coatroom.TokenMissing` if it is None or
        of another scheme than Bearer."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise TokenMissing("the request carries no access token: send it as `Authorization: Bearer`")
        return self.verify(token.strip(" "))

    def set_keys(self, *, jwks: JsonWebKeySet | None = None, shared_keys: str | None = None) -> None:
        """Takes other keys from now on, such as a key set that was fetched again. Nothing changes if those are none."""
        self._native = self._native.with_keys(_key_set(jwks), shared_keys)

    def __repr__(self) -> str:
        return "<coatroom.tokens.Verifier>"


def _key_set(jwks: JsonWebKeySet | None) -> bytes | None:
    if jwks is None or isinstance(jwks, bytes):
        return jwks
    return (jwks if isinstance(jwks, str) else json.dumps(dict(jwks))).encode()


def _seconds(span: Span) -> float:
    return span.total_seconds() if isinstance(span, timedelta) else span


def _clock(clock: ManualClock | None) -> _native.Clock | None:
    return None if clock is None else clock._native


_LIVE: weakref.WeakSet[Revocations] = weakref.WeakSet()


def _before_fork() -> None:
    """Before that of the sessions: what pulls through their store has to be done before the store is closed."""
    for one in list(_LIVE):
        one._native.hold()


def _after_in_parent() -> None:
    for one in list(_LIVE):
        one._native.resume()


def _after_in_child() -> None:
    for one in list(_LIVE):
        one._native.forked()


if hasattr(os, "register_at_fork"):
    # Hooks run the other way round before a fork, and those of `coatroom.sessions` are registered already.
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
