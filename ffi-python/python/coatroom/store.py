"""A store of your own: what it is asked, and what it answers.

``Sessions(store=MyStore())`` takes any object with the methods of :class:`Store`, or of :class:`AsyncStore` if the
application runs on an event loop. A store that also has those of :class:`Index` knows who is logged in where: lists of
devices, revocation of all sessions, limits and remembered logins need that. ``sweep`` and ``scan`` are extras.

All times are whole milliseconds since the Unix epoch. A handle is 16 characters of ``A-Z a-z 0-9 _ -``, case counts,
and it is public: it may be logged. A record is bytes that only the core reads, but for its stamp. What a principal is
called comes from outside: bind it as a parameter, and tell ``alice`` from ``Alice``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

__all__ = [
    "STAMP",
    "AsyncIndex",
    "AsyncScan",
    "AsyncStore",
    "AsyncSweep",
    "Conflict",
    "Done",
    "Entered",
    "Entry",
    "Full",
    "Index",
    "Scan",
    "Store",
    "Swap",
    "Swapped",
    "Sweep",
    "stamp_of",
]

STAMP = slice(2, 18)
"""Where the stamp of a record stands: its version and the id of its last write."""


def stamp_of(record: bytes) -> bytes:
    """The 16 bytes of a record that a swap compares."""
    return record[STAMP]


@dataclass(frozen=True, slots=True)
class Swap:
    """A compare-and-swap on one record. There is no other way to write, and above all no upsert."""

    handle: str
    """The record concerned."""
    expected: bytes | None
    """What must be stored now: a record with this stamp, or nothing at all."""
    record: bytes | None = field(repr=False)
    """What is stored then. None removes the record."""
    durable: bool
    """Whether losing this write could bring a dead id back: acknowledge it only once it survives what your store is to
    survive."""
    garbage_at: int
    """From when on the new record is garbage. For sweeping only: no access depends on it."""
    keep: int
    """How many milliseconds that is from now: the time to live, for a store that wants one. Each swap sets it anew."""


@dataclass(frozen=True, slots=True)
class Done:
    """The swap took place."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The swap did not take place, for something else is stored: this record, or None for nothing."""

    record: bytes | None = field(repr=False)


Swapped: TypeAlias = "Done | Conflict"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the index: a session of a principal."""

    principal: str
    handle: str
    until: int
    """The session is over by then, come what may."""
    now: int
    """When this was asked for: entries whose ``until`` is not later are garbage, and do not count."""
    at_most: int | None = None
    """Enter only if fewer other sessions of the principal are listed."""
    names: int = 0
    """How many of the sessions that were listed before it are to be named, those that are over first."""


@dataclass(frozen=True, slots=True)
class Entered:
    """An entry stands."""

    revoked: int
    """What :meth:`Index.bar` last returned for the principal; 0 if it was never called, or was forgotten."""
    count: int
    """How many sessions of the principal are listed, this one included and garbage not counted."""
    ago: int | None = None
    """How long ago that revocation was, if ``bar`` goes by a clock of the store's own."""
    before: Sequence[str] | None = None
    """The others that were listed when this one was entered, as many as the entry asks for, those that are over first;
    None if this one was listed already. A limit that evicts ends some of these."""


@dataclass(frozen=True, slots=True)
class Full:
    """As many other sessions of the principal are listed as the entry allows: nothing was entered."""


class Store(Protocol):
    """A place where records are kept, asked from any thread.

    What a method raises is never shown to anybody: a load is then *unavailable*, the outcome of a swap *unknown*, and
    the core finds out by what is stored whether it took place. A swap that was surely not sent may say so by raising
    :class:`coatroom.StoreUnavailable`. Two things are up to you: a time limit for each call (2 seconds, say), and that
    each swap is sent at most once: switch off the client's own retries.
    """

    def load(self, handle: str, /) -> bytes | None:
        """The record of the last swap under the handle; None if there is none."""
        ...

    def swap(self, swap: Swap, /) -> Swapped:
        """Replaces, creates or removes a record if the store still holds what the swap expects: comparing, writing and
        answering are one indivisible step, also among processes. A refused swap changes nothing."""
        ...


class Index(Protocol):
    """Which sessions belong to which principal. Doing any of these twice is doing it once.

    The index never misses a session that was entered and did not leave. What ``bar`` wrote shows in every entry made
    after it returned, and every entry made before shows in ``sessions``.
    """

    def enter(self, entry: Entry, /) -> Entered | Full:
        """Makes or renews an entry: counting, naming, entering and reading the last revocation are one
        indivisible step."""
        ...

    def sessions(self, principal: str, /) -> Sequence[str]:
        """The handles entered under a principal and not left. Some may be over."""
        ...

    def leave(self, principal: str, handle: str, /) -> None:
        """Removes an entry."""
        ...

    def bar(self, principal: str, now: int, /) -> int:
        """Notes a revocation of all sessions of the principal, and returns its moment: ``now``, or one millisecond
        after the last one if that is later. Durable. Entries stay. It may be forgotten after 24 hours."""
        ...


class Sweep(Protocol):
    """A store that does not remove garbage by itself."""

    def sweep(self, now: int, most: int, /) -> int:
        """Removes at most about ``most`` records whose ``garbage_at`` is not later than ``now``; returns how many."""
        ...


class Scan(Protocol):
    """A store that can list what it holds: for ``revoke_everything``."""

    def scan(self, place: bytes | None, most: int, /) -> tuple[Sequence[str], bytes | None]:
        """About ``most`` handles, and where to go on; None at the end. Meets every record that is there throughout."""
        ...


class AsyncStore(Protocol):
    """As :class:`Store`, awaited on the event loop of the request."""

    async def load(self, handle: str, /) -> bytes | None:
        """As :meth:`Store.load`."""
        ...

    async def swap(self, swap: Swap, /) -> Swapped:
        """As :meth:`Store.swap`."""
        ...


class AsyncIndex(Protocol):
    """As :class:`Index`, awaited."""

    async def enter(self, entry: Entry, /) -> Entered | Full:
        """As :meth:`Index.enter`."""
        ...

    async def sessions(self, principal: str, /) -> Sequence[str]:
        """As :meth:`Index.sessions`."""
        ...

    async def leave(self, principal: str, handle: str, /) -> None:
        """As :meth:`Index.leave`."""
        ...

    async def bar(self, principal: str, now: int, /) -> int:
        """As :meth:`Index.bar`."""
        ...


class AsyncSweep(Protocol):
    """As :class:`Sweep`, awaited."""

    async def sweep(self, now: int, most: int, /) -> int:
        """As :meth:`Sweep.sweep`."""
        ...


class AsyncScan(Protocol):
    """As :class:`Scan`, awaited."""

    async def scan(self, place: bytes | None, most: int, /) -> tuple[Sequence[str], bytes | None]:
        """As :meth:`Scan.scan`."""
        ...
