"""For tests: time that stands still until told otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from coatroom import _native


class ManualClock:
    """A clock for ``Sessions(clock=...)``. Starts at ``start``, the present by default, and moves only when told."""

    def __init__(self, start: datetime | None = None) -> None:
        start = start or datetime.now(timezone.utc)
        self._native = _native.Clock(int(start.timestamp() * 1000))

    def now(self) -> datetime:
        """The present reading."""
        return datetime.fromtimestamp(self._native.unix_ms() / 1000, timezone.utc)

    def advance(self, span: float | timedelta) -> None:
        """Moves on by ``span``, in seconds; a negative one moves back."""
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        self._native.set(self._native.unix_ms() + round(seconds * 1000))
