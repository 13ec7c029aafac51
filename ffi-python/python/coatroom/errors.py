"""What can go wrong, by what to do next. No message ever holds an id, a secret or a value.

Every exception has ``status``, the HTTP status with which the adapters answer, and ``code``, a stable name.
"""

from __future__ import annotations

from collections.abc import Sequence


class CoatroomError(Exception):
    """The base of all of them."""

    code = "error"
    status = 500
    events: Sequence[tuple[str, str | None, str | None]] = ()
    """What was noticed before a session could not be opened: name, handle, cause."""

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


class ModelMismatch(CoatroomError, ValueError):
    """What the session holds is not what the model says, or the model was filled with what it says it cannot hold. The
    text names keys, and no values."""

    code = "model"


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


class TokenRefused(Unauthenticated):
    """The access token does not count (401): ask for a new one."""

    code = "token"
    reason = ""
    """Why, for logs, and nothing of the token: ``too long``, ``malformed``, ``not utf-8``, ``too deep``, ``duplicate``,
    ``key in header``, ``header member``, ``algorithm``, ``type``, ``unknown key``, ``signature``, ``claim``,
    ``issuer``, ``audience``, ``expired``, ``not yet valid``, ``lives too long``, ``revoked``, ``missing``."""


class TokenMissing(TokenRefused):
    """The request carries no access token (401)."""

    reason = "missing"


class TokenExpired(TokenRefused):
    """The time of the access token is over (401): its session gets a new one."""

    reason = "expired"


class TokenRevoked(TokenRefused):
    """The session of the access token has ended, or all of its principal were revoked (401)."""

    reason = "revoked"


class UnknownTokenKey(TokenRefused):
    """The access token names no key of this verifier (401): fetch the issuer's key set again, at most once a minute."""

    reason = "unknown key"


class NotIssued(CoatroomError):
    """There is no access token for a login that is not stored yet: ask with the next request (409). Or the names of
    principal and roles are too long for one (500)."""

    code = "not-issued"
    status = 409


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


class Unlisted(CoatroomError):
    """Logins live in cookies and no deny list is kept, so nobody can list or end them: name a list, or a store."""

    code = "unlisted"


class Unavailable(CoatroomError):
    """The same request may succeed after a pause (503, with Retry-After)."""

    code = "unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The session store cannot answer. Nothing was written."""


class Busy(Unavailable):
    """Others kept changing the session for too long. Nothing was written."""

    code = "busy"


class Overloaded(Unavailable):
    """Too many requests of this process wait for the store already. Nothing was written."""

    code = "overloaded"


class UnknownOutcome(Unavailable):
    """The store did not confirm the write: read the session before repeating it."""

    code = "unknown"


class EndingsUnknown(Unavailable):
    """The verifier has not heard for too long which sessions have ended, so no access token counts (503)."""

    code = "stale"
    reason = "stale"


_CLASSES: dict[str, type[CoatroomError]] = {
    "config": ConfigError,
    "value": UnsupportedValue,
    "wrong-stage": SessionClosed,
    "unlisted": Unlisted,
    "unauthenticated": Unauthenticated,
    "not-issued": NotIssued,
    "forbidden": Forbidden,
    "conflict": Conflict,
    "ended": SessionEnded,
    "superseded": Superseded,
    "too-large": TooLarge,
    "unavailable": StoreUnavailable,
    "busy": Busy,
    "overloaded": Overloaded,
    "unknown": UnknownOutcome,
}


def from_code(code: str, message: str, status: int) -> CoatroomError:
    """The exception for a code of the native module; a code without a class takes the class of its status."""
    fallback: type[CoatroomError] = {409: Refused, 503: Unavailable}.get(status, CoatroomError)
    return _CLASSES.get(code, fallback)(message, code=code, status=status)


_REFUSALS: dict[str, type[TokenRefused]] = {
    refusal.reason: refusal for refusal in (TokenMissing, TokenExpired, TokenRevoked, UnknownTokenKey)
}


def token_refused(reason: str, message: str, status: int) -> CoatroomError:
    """The exception for a refusal of the native module: 503 when it is not the token that is wrong."""
    if status == EndingsUnknown.status:
        return EndingsUnknown(message)
    error = _REFUSALS.get(reason, TokenRefused)(message)
    error.reason = reason
    return error
