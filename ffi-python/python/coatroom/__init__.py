"""Web session management that cannot be got wrong.

The browser holds a ticket, the server keeps the coat. Make one :class:`Sessions` per application and hand it to the
adapter of your framework: :mod:`coatroom.flask`, :mod:`coatroom.asgi` or :mod:`coatroom.wsgi`.
"""

from coatroom.errors import (
    Busy,
    CoatroomError,
    ConfigError,
    Conflict,
    CsrfRefused,
    Forbidden,
    LevelTooLow,
    NotFresh,
    Refused,
    SessionClosed,
    SessionEnded,
    StoreUnavailable,
    Superseded,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownOutcome,
    UnsupportedValue,
)
from coatroom.session import Device, Session, Trace
from coatroom.sessions import Sessions

__all__ = [
    "Busy",
    "CoatroomError",
    "ConfigError",
    "Conflict",
    "CsrfRefused",
    "Device",
    "Forbidden",
    "LevelTooLow",
    "NotFresh",
    "Refused",
    "Session",
    "SessionClosed",
    "SessionEnded",
    "Sessions",
    "StoreUnavailable",
    "Superseded",
    "TooLarge",
    "Trace",
    "Unauthenticated",
    "Unavailable",
    "UnknownOutcome",
    "UnsupportedValue",
]
