"""What can go wrong, by what to do next. No message ever holds an id, a secret or a value.

Every exception has ``status``, the HTTP status with which the adapters answer, and ``code``, a stable name.
"""

from __future__ import annotations


class CoatroomError(Exception):
    """The base of all of them."""

    code = "error"
    status = 500

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.code = self.code if code is None else code
        self.status = self.status if status is None else status


class ConfigError(CoatroomError, ValueError):
    """The configuration contradicts itself or lacks something: mend it. Raised at start only."""

    code = "config"


class UnsupportedValue(CoatroomError, TypeError):
    """A session cannot hold this value: store plain data, such as the text or number that stands for it."""

    code = "value"


class SessionClosed(CoatroomError, RuntimeError):
    """The session was used after its response was committed, or in the wrong stage: use it inside the request."""

    code = "wrong-stage"


class Unauthenticated(CoatroomError):
    """Nobody is logged in (401)."""

    code = "unauthenticated"
    status = 401


class Forbidden(CoatroomError):
    """Somebody is logged in, but may not do this (403)."""

    code = "forbidden"
    status = 403


class NotFresh(Unauthenticated):
    """The login is too old for this, or was a remembered one: ask for the password again, call ``login``, and repeat
    the request (401)."""

    code = "not-fresh"


class LevelTooLow(Unauthenticated):
    """The login was not strong enough for this: ask for one more factor, call ``elevate``, and repeat the request
    (401)."""

    code = "level-too-low"


class CsrfRefused(Forbidden):
    """Nothing vouches for the request: it may have been forged by a page of another site (403)."""

    code = "csrf"
    reason = ""
    """``cross-site``, ``no-source``, ``no-token`` or ``wrong-token``."""


class Refused(CoatroomError):
    """The commit was refused and nothing of it was written: the client may repeat the request (409)."""

    code = "refused"
    status = 409


class Conflict(Refused):
    """Strict mode: another request changed a key that this one read or set. Serial mode: this one took longer than its
    turn, and another had one meanwhile."""

    code = "conflict"


class SessionEnded(Refused):
    """The session ended while the request was under way."""

    code = "ended"


class Superseded(Refused):
    """The session id was replaced while the request was under way."""

    code = "superseded"


class TooLarge(Refused, ValueError):
    """The session would grow over the limit: store less, or raise ``size``."""

    code = "too-large"


class Unavailable(CoatroomError):
    """The same request may succeed after a pause (503, with Retry-After)."""

    code = "unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The session store cannot answer. Nothing was written."""


class Busy(Unavailable):
    """Others kept changing the session for too long. Nothing was written."""

    code = "busy"


class UnknownOutcome(Unavailable):
    """The store did not confirm the write: read the session before repeating it."""

    code = "unknown"


_CLASSES: dict[str, type[CoatroomError]] = {
    "config": ConfigError,
    "value": UnsupportedValue,
    "wrong-stage": SessionClosed,
    "unauthenticated": Unauthenticated,
    "forbidden": Forbidden,
    "conflict": Conflict,
    "ended": SessionEnded,
    "superseded": Superseded,
    "too-large": TooLarge,
    "unavailable": StoreUnavailable,
    "busy": Busy,
    "unknown": UnknownOutcome,
}


def from_code(code: str, message: str, status: int) -> CoatroomError:
    """The exception for a code of the native module; a code without a class takes the class of its status."""
    fallback: type[CoatroomError] = {409: Refused, 503: Unavailable}.get(status, CoatroomError)
    return _CLASSES.get(code, fallback)(message, code=code, status=status)
