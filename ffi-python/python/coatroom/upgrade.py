"""Readers of the sessions that other libraries have left in browsers: ``Sessions(..., upgrade_from=[...])``.

A request without a session of ours that brings an old one starts a new session, under a new id, with what the old one
held. The old cookie is removed, and so is the record, where a store holds one. Nobody is logged in unless the reader's
``login`` says who it is. See ``docs/migration.md`` for what that is safe for, and for how long.
"""

from __future__ import annotations

import binascii
import json
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from coatroom.errors import ConfigError

__all__ = [
    "DjangoCookie",
    "DjangoStore",
    "FlaskCookie",
    "FlaskRedis",
    "Found",
    "Login",
    "Reader",
    "StarletteCookie",
    "django_user",
]

LONGEST = timedelta(days=400)


@dataclass(frozen=True)
class Found:
    """What an old session held."""

    data: dict[str, Any]
    """Its keys and values, which ``login`` may change: what is left of them is carried over."""
    signed: datetime | None = None
    """When its cookie was signed, if it tells. A password that was changed later speaks against logging in."""


@dataclass(frozen=True)
class Login:
    """Who goes on being logged in."""

    principal: str
    roles: Iterable[str] = ()
    level: int = 0
    """0 is a login that is never fresh: nobody has shown a password now."""


WhoIs: TypeAlias = "Callable[[Found], Login | str | None]"


class Reader(ABC):
    """Reads the sessions of one older library. Make your own by :meth:`read`, and :meth:`remove` if there is a store.

    ``until`` is when upgrading ends: from then on old sessions are not looked at. ``login`` tells who was logged in, by
    what an old session held: without it, or when it returns None, only data is carried over. On an event loop all of
    these are called from another thread.
    """

    user_keys: frozenset[str] = frozenset()
    """Keys by which the old library or its companions knew the user: never carried over as data."""
    companions: frozenset[str] = frozenset()
    """Those of them that are carried over all the same if ``login`` names somebody."""

    def __init__(
        self,
        *,
        until: datetime,
        login: WhoIs | None = None,
        cookie: str = "session",
        path: str = "/",
        domain: str | None = None,
    ) -> None:
        if until.tzinfo is None:
            raise ConfigError("`until` must say its time zone: datetime(2027, 1, 31, tzinfo=timezone.utc)")
        self.until = until
        self.login = login
        self.cookie = cookie
        self.path = path
        self.domain = domain

    @abstractmethod
    def read(self, value: str) -> Found | None:
        """What the session with this cookie holds; None if the cookie is forged, too old, or names no session."""

    def remove(self, value: str) -> None:  # noqa: B027
        """Removes the session from the old store, once the new one is written."""


class FlaskCookie(Reader):
    """Flask's own signed cookie, as an application with this ``secret_key`` wrote it. ``max_age`` is its
    ``PERMANENT_SESSION_LIFETIME`` in seconds."""

    user_keys = frozenset({"_user_id", "_fresh", "_permanent", "_remember", "_remember_seconds"})

    def __init__(
        self,
        secret_key: str | bytes,
        *,
        max_age: int = 31 * 86400,
        fallbacks: Sequence[str | bytes] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        from flask.sessions import SecureCookieSessionInterface as Flasks
        from itsdangerous import URLSafeTimedSerializer

        keys: Any = [*fallbacks, secret_key]
        how = {"key_derivation": Flasks.key_derivation, "digest_method": Flasks.digest_method}
        self.signer = URLSafeTimedSerializer(keys, salt=Flasks.salt, serializer=Flasks.serializer, signer_kwargs=how)
        self.max_age = max_age

    def read(self, value: str) -> Found | None:
        from itsdangerous import BadData

        try:
            data, signed = self.signer.loads(value, max_age=self.max_age, return_timestamp=True)
        except BadData:
            return None
        return Found(data, signed) if isinstance(data, dict) else None


class FlaskRedis(Reader):
    """Flask-Session over Redis, written as msgpack (the default since 0.6) or JSON. What older versions pickled is not
    read: unpickling runs code. ``client`` is the application's ``SESSION_REDIS``."""

    user_keys = FlaskCookie.user_keys

    def __init__(
        self, client: Any, *, prefix: str = "session:", signed_by: str | bytes | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.client = client
        self.prefix = prefix
        self.signed_by = signed_by

    def read(self, value: str) -> Found | None:
        import msgspec

        key = self._key(value)
        record = None if key is None else self.client.get(key)
        if record is None:
            return None
        for decode in (msgspec.msgpack.decode, msgspec.json.decode):
            try:
                data = decode(record)
            except msgspec.DecodeError:
                continue
            if isinstance(data, dict):
                return Found(data)
        return None

    def remove(self, value: str) -> None:
        key = self._key(value)
        if key is not None:
            self.client.delete(key)

    def _key(self, value: str) -> str | None:
        if self.signed_by is None:
            return self.prefix + value
        from itsdangerous import BadSignature, Signer

        try:
            return self.prefix + Signer(self.signed_by, "flask-session", key_derivation="hmac").unsign(value).decode()
        except (BadSignature, UnicodeDecodeError):
            return None


class StarletteCookie(Reader):
    """The signed cookie of Starlette's ``SessionMiddleware`` with this ``secret_key`` and ``max_age``."""

    def __init__(self, secret_key: str, *, max_age: int | None = 14 * 86400, **options: Any) -> None:
        super().__init__(**options)
        from itsdangerous import TimestampSigner

        self.signer = TimestampSigner(str(secret_key))
        self.max_age = max_age

    def read(self, value: str) -> Found | None:
        from itsdangerous import BadSignature

        try:
            payload, signed = self.signer.unsign(value, max_age=self.max_age, return_timestamp=True)
            data = json.loads(b64decode(payload))
        except (BadSignature, binascii.Error, ValueError):
            return None
        return Found(data, signed) if isinstance(data, dict) else None


class _Django(Reader):
    user_keys = frozenset({"_auth_user_id", "_auth_user_backend", "_auth_user_hash", "_session_expiry"})
    companions = frozenset({"_auth_user_backend", "_auth_user_hash"})

    def __init__(self, engine: str, **options: Any) -> None:
        from importlib import import_module

        from django.conf import settings

        serializer = settings.SESSION_SERIALIZER
        if "Pickle" in serializer:
            raise ConfigError("sessions that were pickled are not read: unpickling runs code")
        of_settings = {
            "cookie": settings.SESSION_COOKIE_NAME,
            "path": settings.SESSION_COOKIE_PATH,
            "domain": settings.SESSION_COOKIE_DOMAIN,
        }
        super().__init__(**(of_settings | options))
        self.store: Any = import_module(engine).SessionStore

    def read(self, value: str) -> Found | None:
        data = self.store(value).load()
        return Found(data, self.signed(value)) if data else None

    def signed(self, value: str) -> datetime | None:
        return None


class DjangoCookie(_Django):
    """Django's backend ``signed_cookies``, with the project's own settings."""

    def __init__(self, **options: Any) -> None:
        super().__init__("django.contrib.sessions.backends.signed_cookies", **options)

    def signed(self, value: str) -> datetime:
        from django.core.signing import b62_decode

        return datetime.fromtimestamp(b62_decode(value.rsplit(":", 2)[1]), timezone.utc)


class DjangoStore(_Django):
    """Django's backends ``db``, ``cached_db``, ``cache`` and ``file``: ``engine`` is what ``SESSION_ENGINE`` was."""

    def __init__(self, engine: str = "django.contrib.sessions.backends.db", **options: Any) -> None:
        super().__init__(engine, **options)

    def remove(self, value: str) -> None:
        self.store(value).delete(value)


def django_user(found: Found) -> str | None:
    """For ``login``: the user of an old session of Django, if that user is there, may log in, and has the password of
    then."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
    from django.core.exceptions import ValidationError
    from django.utils.crypto import constant_time_compare

    path, key = found.data.get(BACKEND_SESSION_KEY), found.data.get(SESSION_KEY)
    if path not in settings.AUTHENTICATION_BACKENDS or key is None:
        return None
    try:
        user = load_backend(path).get_user(get_user_model()._meta.pk.to_python(key))
    except ValidationError:
        return None
    if user is None:
        return None
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    stored = str(found.data.get(HASH_SESSION_KEY, ""))
    return str(user.pk) if any(constant_time_compare(stored, present) for present in hashes) else None
