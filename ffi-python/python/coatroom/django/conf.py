"""The setting ``COATROOM``: a dict with ``store`` and whatever else :class:`coatroom.Sessions` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from coatroom._answer import OnError, answer
from coatroom.django.expiry import Limits
from coatroom.errors import ConfigError
from coatroom.sessions import Sessions


@dataclass(frozen=True)
class Configuration:
    """What the setting asks for."""

    sessions: Sessions
    skip: tuple[str, ...]
    on_error: OnError
    limits: Limits
    names: frozenset[str]
    """Names of the two cookies."""


def get_sessions() -> Sessions:
    """The sessions of this project, for what is done outside of requests, such as ``revoke_all(str(user.pk))``."""
    return configuration().sessions


@cache
def configuration() -> Configuration:
    """Read once; raises :class:`coatroom.ConfigError` if the setting is missing or makes no sense."""
    asked = getattr(settings, "COATROOM", None)
    if not isinstance(asked, Mapping):
        raise ConfigError("the setting COATROOM is missing: a dict such as {'store': 'sqlite:sessions.db'}")
    rest: dict[str, Any] = dict(asked)
    skip = rest.pop("skip", ())
    on_error = rest.pop("on_error", answer)
    if isinstance(on_error, str):
        on_error = _imported("on_error", on_error)
    sessions = rest.pop("sessions", None)
    if isinstance(sessions, str):
        sessions = _imported("sessions", sessions)
    if sessions is None:
        sessions = _made(rest)
    elif rest:
        raise ConfigError(f"the setting COATROOM has `sessions`, so these have no effect: {', '.join(sorted(rest))}")
    if sessions._remembered is not None:
        raise ConfigError("the setting COATROOM has `remember`, which is not for Django: set `max_age` in its place")
    prefixes = (skip,) if isinstance(skip, str) else tuple(skip)
    return Configuration(sessions, prefixes, on_error, Limits.of(sessions), frozenset(sessions.cookie_names))


def _made(arguments: dict[str, Any]) -> Sessions:
    if "store" not in arguments:
        raise ConfigError("the setting COATROOM lacks `store`, such as 'sqlite:sessions.db'")
    try:
        return Sessions(**arguments)
    except TypeError as error:
        raise ConfigError(f"the setting COATROOM: {error}") from None


def _imported(name: str, path: str) -> Any:
    try:
        return import_string(path)
    except ImportError:
        raise ConfigError(f"the setting COATROOM: `{name}` names nothing that can be imported") from None


def _forget(*, setting: str, **_: Any) -> None:
    """``override_settings`` in tests."""
    if setting == "COATROOM":
        configuration.cache_clear()


setting_changed.connect(_forget, dispatch_uid="coatroom")
