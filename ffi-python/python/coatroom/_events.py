"""Events for the application: logs, metrics, alerts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from coatroom.errors import CsrfRefused
    from coatroom.session import Session
    from coatroom.sessions import Sessions

OnEvent: TypeAlias = "Callable[[str, str | None, str | None], object]"
"""Is given the name of an event, the handle of the session if there is one, and the cause of an end."""

log = logging.getLogger("coatroom")


# spec: EVT-2 a367
def tell(session: Session) -> None:
    """What an exchange reports, once it is over: also one that was refused, for what it noticed was noticed."""
    sessions: Sessions | None = getattr(session, "_sessions", None)
    if sessions is not None and sessions._on_event is not None:
        for name, handle, cause in session._exchange.events():
            _call(sessions._on_event, name, handle, cause)


def refused(sessions: Sessions, error: CsrfRefused, handle: str | None) -> None:
    """A request that may have been forged: ``forged request``, with the reason as its cause."""
    if sessions._on_event is not None:
        _call(sessions._on_event, "forged request", handle, error.reason)


def _call(on_event: OnEvent, name: str, handle: str | None, cause: str | None) -> None:
    try:
        on_event(name, handle, cause)
    except Exception:
        # What is done with an event is never the request's misfortune.
        log.exception("on_event failed for %r", name)
