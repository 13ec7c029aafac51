"""Events for the application: logs, metrics, alerts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from coatroom.errors import CoatroomError, CsrfRefused
    from coatroom.session import Session
    from coatroom.sessions import Sessions

OnEvent: TypeAlias = "Callable[[str, str | None, str | None], object]"
"""Is given the name of an event, the handle of the session if there is one, and the cause of an end."""

_ENDS = {"ended", "logged in", "reuse"}
"""Events after which a WebSocket may have outlived its session."""

log = logging.getLogger("coatroom")


# spec: EVT-2 a367
def tell(session: Session) -> None:
    """What an exchange reports, once it is over: also one that was refused, for what it noticed was noticed."""
    sessions = session._sessions
    if sessions is None or not sessions._is_heard:
        return
    events = session._exchange.events()
    if sessions._on_event is not None:
        for name, handle, cause in events:
            call(sessions._on_event, name, handle, cause)
    ends = {handle for name, handle, _ in events if name in _ENDS and handle is not None}
    if ends:
        # A login may have ended others of the same principal.
        sessions._look_at_sockets(ends, getattr(session, "_entered", None))


# spec: EVT-1 f23d
def not_opened(sessions: Sessions, error: CoatroomError) -> None:
    """A session that could not be opened: what was noticed until then, and ``not opened``, with the error's code as its
    cause."""
    if sessions._on_event is not None:
        for name, handle, cause in (*error.events, ("not opened", None, error.code)):
            call(sessions._on_event, name, handle, cause)


def refused(sessions: Sessions, error: CsrfRefused, handle: str | None) -> None:
    """A request that may have been forged: ``forged request``, with the reason as its cause."""
    if sessions._on_event is not None:
        call(sessions._on_event, "forged request", handle, error.reason)


def call(on_event: OnEvent, name: str, handle: str | None, cause: str | None) -> None:
    try:
        on_event(name, handle, cause)
    except Exception:
        # What is done with an event is never the request's misfortune.
        log.exception("on_event failed for %r", name)
