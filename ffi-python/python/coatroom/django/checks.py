"""System checks: one session middleware, in its place, with settings that make sense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from coatroom.django.conf import configuration
from coatroom.errors import ConfigError

OURS = "coatroom.django.SessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
ENGINE = "coatroom.django.sessions"

#: Settings of Django's own sessions, and what takes their place in COATROOM.
REPLACED = {
    "SESSION_COOKIE_AGE": "`idle` and `absolute`, and `max_age` for the cookie",
    "SESSION_COOKIE_DOMAIN": "`domain`",
    "SESSION_COOKIE_HTTPONLY": "nothing: the cookies are always HttpOnly",
    "SESSION_COOKIE_PATH": "`path`",
    "SESSION_COOKIE_SAMESITE": "`same_site`",
    "SESSION_EXPIRE_AT_BROWSER_CLOSE": "`max_age`: without it browsers forget the cookies when they are closed",
    "SESSION_SAVE_EVERY_REQUEST": "nothing: presence counts as use",
    "SESSION_SERIALIZER": "nothing: a session holds plain data",
}


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """What keeps the project from working, and what has no effect."""
    return [*errors(), *_warnings()]


def check_deployment(app_configs: Any, **kwargs: Any) -> Iterator[CheckMessage]:
    """What is for development alone: ``manage.py check --deploy``."""
    asked = getattr(settings, "COATROOM", None)
    if isinstance(asked, dict) and asked.get("dev"):
        hint = "Leave `dev` out of COATROOM, and set COATROOM_KEYS."
        yield Warning("Session cookies go over plain http.", hint=hint, id="coatroom.W003")


def errors() -> list[Error]:
    """What keeps the project from working."""
    return [*_of_middleware(settings.MIDDLEWARE), *_of_settings()]


def _of_middleware(paths: list[str]) -> Iterator[Error]:
    kinds = [_kind(path) for path in paths]
    ours = kinds.count("ours")
    if "django's" in kinds and ours:
        hint = f"Remove '{DJANGOS}': it would take the place of the session that '{OURS}' opened."
        yield Error("Both session middlewares are in MIDDLEWARE.", hint=hint, id="coatroom.E002")
    elif "django's" in kinds or not ours:
        hint = f"Put '{OURS}' into MIDDLEWARE in place of '{DJANGOS}'."
        yield Error("The session middleware of Coatroom is not in MIDDLEWARE.", hint=hint, id="coatroom.E001")
    elif ours > 1:
        yield Error("The session middleware is in MIDDLEWARE more than once.", id="coatroom.E003")
    elif "auth" in kinds and kinds.index("auth") < kinds.index("ours"):
        yield Error(f"'{OURS}' has to come before Django's AuthenticationMiddleware.", id="coatroom.E004")


def _kind(path: str) -> str:
    from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware

    from coatroom.django.middleware import SessionMiddleware

    if path == AUTH:
        # Not imported: it wants the app of the users.
        return "auth"
    try:
        found = import_string(path)
    except ImportError:
        return ""
    if not isinstance(found, type):
        return ""
    if issubclass(found, SessionMiddleware):
        return "ours"
    return "django's" if issubclass(found, DjangosMiddleware) else ""


def _of_settings() -> Iterator[Error]:
    try:
        configuration()
    except ConfigError as error:
        yield Error(f"The sessions cannot be made: {error}.", hint="Mend the setting COATROOM.", id="coatroom.E005")


def _warnings() -> Iterator[CheckMessage]:
    if settings.SESSION_ENGINE != ENGINE:
        hint = f"Set SESSION_ENGINE = '{ENGINE}'."
        text = "Django's test client and the command clearsessions use another session engine."
        yield Warning(text, hint=hint, id="coatroom.W001")
    for name, instead in REPLACED.items():
        if settings.is_overridden(name):
            hint = f"In its place, COATROOM has {instead}."
            yield Warning(f"The setting {name} has no effect.", hint=hint, id="coatroom.W002")
