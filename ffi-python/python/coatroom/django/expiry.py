"""``set_expiry`` and what belongs to it. A session can be made to end sooner than the policy says, never later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from coatroom.session import Session
from coatroom.sessions import Sessions

EXPIRY_KEY = "_session_expiry"
"""Where Django keeps what ``set_expiry`` was called with: seconds, 0, or a time in ISO 8601."""


@dataclass(frozen=True)
class Limits:
    """The limits of the policy, in seconds."""

    idle: float | None
    absolute: float
    touch: float
    max_age: float | None

    @classmethod
    def of(cls, sessions: Sessions) -> Limits:
        policy: dict[str, Any] = sessions._native.policy()
        idle, touch = policy["idle"], policy["touch"]
        if touch is None:
            touch = 60.0 if idle is None else min(60.0, idle / 16)
        return cls(idle, policy["absolute"], touch if idle is None else min(touch, idle / 2), policy["max_age"])


class Expiry(Session):
    """The part of Django's interface that has to do with time."""

    _sessions: Sessions
    _limits: Limits

    def set_expiry(self, value: int | float | datetime | timedelta | None) -> None:
        """Makes the session end sooner than the policy says.

        A number is the seconds after which it ends when it is not used; like the idle limit it may be early by at most
        ``touch``. A datetime is when it ends, a timedelta how long from now, however much it is used. 0 makes the
        cookie one that browsers forget when they are closed. None takes back what was set. What lies beyond the limits
        of the policy changes nothing.
        """
        if value is None:
            self.pop(EXPIRY_KEY, None)
            return
        if isinstance(value, timedelta):
            value = self._now() + value
        if isinstance(value, datetime):
            self[EXPIRY_KEY] = value.isoformat()
            return
        if value < 0:
            # Django's sessions are over at once with it.
            self[EXPIRY_KEY] = self._now().isoformat()
            return
        if 0 < value < (self._limits.idle or self._limits.absolute):
            self._must_be_measurable(value)
        self[EXPIRY_KEY] = value

    def get_session_cookie_age(self) -> int:
        """Seconds until the session ends by the policy if it is used now and never again."""
        _, _, _, _, _, _, absolute_left, _ = self._exchange.trace()
        absolute = self._limits.absolute if absolute_left is None else absolute_left
        return int(absolute if self._limits.idle is None else min(self._limits.idle, absolute))

    def get_expiry_age(self, *, modification: datetime | None = None, **kwargs: Any) -> int:
        """Seconds until the session ends if it is used now and never again, or was used last at ``modification``.
        ``expiry`` stands in for what ``set_expiry`` was called with."""
        expiry = kwargs["expiry"] if "expiry" in kwargs else self.get(EXPIRY_KEY)
        most = self.get_session_cookie_age()
        if not expiry:
            return most
        if isinstance(expiry, (int, float)):
            return min(int(expiry), most)
        left = (_time(expiry) - _aware(modification or self._now())).total_seconds()
        return min(int(left), most)

    def get_expiry_date(self, *, modification: datetime | None = None, **kwargs: Any) -> datetime:
        """When that is: aware, in UTC."""
        used = _aware(modification or self._now())
        return used + timedelta(seconds=self.get_expiry_age(modification=used, **kwargs))

    def get_expire_at_browser_close(self) -> bool:
        """Whether browsers forget the cookie when they are closed."""
        return self._limits.max_age is None or self.get(EXPIRY_KEY) == 0

    def _now(self) -> datetime:
        clock = self._sessions._clock
        return clock.now() if clock else datetime.now(timezone.utc)

    def _must_be_measurable(self, seconds: float) -> None:
        if self._limits.idle is None:
            raise ValueError("set_expiry with seconds is measured by the idle limit: set `idle`, or give a timedelta")
        if seconds <= self._limits.touch:
            raise ValueError(
                f"set_expiry({seconds}) is less than how often a use is noted: make `touch` smaller than that"
            )

    def _is_over(self, expiry: object, idle_left: float | None) -> bool:
        """Whether a session with this value is over, ``idle_left`` seconds before its idle limit."""
        if isinstance(expiry, str):
            return self._now() >= _time(expiry)
        if isinstance(expiry, (int, float)) and expiry and idle_left is not None and self._limits.idle is not None:
            return self._limits.idle - idle_left >= expiry
        return False


def _time(value: str | datetime) -> datetime:
    return _aware(datetime.fromisoformat(value) if isinstance(value, str) else value)


def _aware(time: datetime) -> datetime:
    """Django makes times without a zone when ``USE_TZ`` is off: they are local."""
    return time if time.tzinfo else time.astimezone(timezone.utc)
