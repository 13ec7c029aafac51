"""What the protocol is about: records, exchanges, swaps on their way, a store with a disk, clocks, and promises.

One handle is looked at. Every step of the protocol reads and writes the record of one handle, so the state of all
handles is a product, and what holds of an arbitrary handle holds of all (README, "One handle").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import z3

Expr = Any  # z3 expressions carry their sort at run time only

# Any number of each: nothing is said about how many there are.
Exchange = z3.DeclareSort("Exchange")
Attempt = z3.DeclareSort("Attempt")
Id = z3.DeclareSort("Id")

# Written into an id for good, and where its secret was drawn: the randomness of one exchange is no other's.
generation = z3.Function("generation", Id, z3.IntSort())
drawn_by = z3.Function("drawn_by", Id, Exchange)
# The exchange that sends a swap.
owner = z3.Function("owner", Attempt, Exchange)

# The policy, of any size. Zero means "no limit" for IDLE and ACTIVATION.
GRACE, SKEW, ABSOLUTE, IDLE, ACTIVATION, LAST_VERSION = z3.Ints("grace skew absolute idle activation last_version")
POLICY = z3.And(SKEW >= 0, 2 * SKEW < GRACE, ABSOLUTE > 0, IDLE >= 0, ACTIVATION >= 0, LAST_VERSION > 0)

COMMITS_KEPT = 4

_FIELDS: dict[str, Any] = {
    "there": z3.BoolSort(),
    "version": z3.IntSort(),
    # The last four writes, newest first. A commit id is modelled by the attempt that carries it.
    "commit0": Attempt,
    "commit1": Attempt,
    "commit2": Attempt,
    "commit3": Attempt,
    "current": Id,
    "issued_at": z3.IntSort(),
    "confirmed": z3.BoolSort(),
    "confirmed_at": z3.IntSort(),
    "has_previous": z3.BoolSort(),
    "previous": Id,
    # The nonce is kept: the next id can be derived from the previous one.
    "pending": z3.BoolSort(),
    "until": z3.IntSort(),
    "floor": z3.IntSort(),
    "seen": z3.IntSort(),
    "deadline": z3.IntSort(),
    "idle": z3.IntSort(),
    "ended": z3.BoolSort(),
    # Who is logged in; zero is nobody.
    "who": z3.IntSort(),
    # The data: whose writes are in it, and (for the proof alone) since which version.
    "writes": z3.ArraySort(Exchange, z3.BoolSort()),
    "written_at": z3.ArraySort(Exchange, z3.IntSort()),
    # Which writes led to this record.
    "history": z3.ArraySort(Attempt, z3.BoolSort()),
}

_record = z3.Datatype("Record")
_record.declare("record", *_FIELDS.items())
Record = _record.create()


def field(name: str, record: Expr) -> Expr:
    return getattr(Record, name)(record)


class View:
    """A record with its fields as attributes."""

    def __init__(self, record: Expr) -> None:
        self.record = record

    def __getattr__(self, name: str) -> Expr:
        return field(name, self.record)

    def having(self, **changes: Expr) -> Expr:
        values = [changes[name] if name in changes else field(name, self.record) for name in _FIELDS]
        return Record.record(*values)


ABSENT = View(z3.Const("nothing", Record)).having(there=z3.BoolVal(False))

# Kinds of writes.
CREATE, WRITE, ROTATE, LOGIN, ELEVATE, LOGOUT, EXPIRE, REACT, FORGET = range(9)
# Where an exchange stands. WAITING: a swap was sent and not answered.
UNUSED, OPEN, CLOSING, WAITING, DONE = range(5)
# What a dead id calls for.
NOTHING, END_EXPIRED, END_REUSED = range(3)
# What a response does to the cookies of the browser.
SILENT, SETS_LOGIN, SETS_VISITOR, CLEARS = range(4)


def _of(key: Any, value: Any) -> Any:
    return z3.ArraySort(key, value)


@dataclass(frozen=True)
class State:
    """Everything that a step can change."""

    # The world.
    time: Expr  # of the fastest clock; every reading lies at most SKEW behind it
    born: Expr  # the handle was given away once
    store: Expr  # the record that the store answers with
    disk: Expr  # the record that a crash of the store leaves
    # Exchanges.
    phase: Expr
    id: Expr
    opened_at: Expr
    closed_at: Expr  # by which the commit is judged
    opened: Expr  # the record at opening
    known: Expr  # the record that the next attempt is based on
    met: Expr  # known comes from a conflict, not from opening
    calls_for: Expr
    found_at: Expr
    doubt: Expr  # an attempt of unknown outcome exists
    doubt_since: Expr  # the least version that such an attempt was based on
    attempt: Expr  # the last one
    won: Expr  # the last one that took place
    says: Expr
    says_id: Expr
    # Attempts.
    used: Expr
    sent: Expr  # on its way, may still take place
    landed: Expr
    kind: Expr
    base: Expr
    new: Expr
    durable: Expr
    # The browser of the owner: its login cookie.
    jar: Expr
    jar_id: Expr
    # Ghosts: what was promised, and who knows what.
    issued: Expr
    presented: Expr
    shown: Expr  # a confirmation of this id took place
    shown_at: Expr  # the earliest reading by which one took place
    dead: Expr  # an exchange answered that this id is dead
    stolen: Expr  # the attacker knows this id
    hostile: Expr  # the attacker sent this exchange
    anonymous: Expr  # opened without a login, and did not log in
    read_at: Expr  # the reading of the clock at closing, whatever the code makes of it
    kept: Expr  # acknowledged, and not lost by the store since
    kept_for_good: Expr  # acknowledged, and durable
    promise: Expr  # the absolute limit, by the last login
    holder: Expr  # who logged in last
    last_use: Expr

    def having(self, **changes: Expr) -> State:
        return replace(self, **changes)

    def set(self, key: Expr, **changes: Expr) -> State:
        """Changes the entries at one key."""
        return replace(self, **{name: z3.Store(getattr(self, name), key, value) for name, value in changes.items()})


_INT, _BOOL = z3.IntSort(), z3.BoolSort()
_SORTS: dict[str, Any] = {
    **dict.fromkeys(["time", "promise", "last_use", "holder"], _INT),
    **dict.fromkeys(["born", "jar"], _BOOL),
    **dict.fromkeys(["store", "disk"], Record),
    **dict.fromkeys(
        ["phase", "opened_at", "closed_at", "calls_for", "found_at", "doubt_since", "says", "read_at"],
        _of(Exchange, _INT),
    ),
    **dict.fromkeys(["met", "doubt", "hostile", "anonymous", "kept", "kept_for_good"], _of(Exchange, _BOOL)),
    **dict.fromkeys(["id", "says_id"], _of(Exchange, Id)),
    **dict.fromkeys(["opened", "known"], _of(Exchange, Record)),
    **dict.fromkeys(["attempt", "won"], _of(Exchange, Attempt)),
    **dict.fromkeys(["used", "sent", "landed", "durable"], _of(Attempt, _BOOL)),
    "kind": _of(Attempt, _INT),
    **dict.fromkeys(["base", "new"], _of(Attempt, Record)),
    "jar_id": Id,
    **dict.fromkeys(["issued", "presented", "shown", "dead", "stolen"], _of(Id, _BOOL)),
    "shown_at": _of(Id, _INT),
}


def any_state() -> State:
    return State(**{name: z3.Const(name, sort) for name, sort in _SORTS.items()})


def initial(state: State) -> Expr:
    """Nothing has happened under this handle."""
    nobody, nothing, no_id = (z3.K(sort, z3.BoolVal(False)) for sort in (Exchange, Attempt, Id))
    return z3.And(
        state.time >= 0,
        state.last_use <= state.time,
        z3.Not(state.born),
        z3.Not(field("there", state.store)),
        z3.Not(field("there", state.disk)),
        z3.Not(state.jar),
        state.phase == z3.K(Exchange, z3.IntVal(UNUSED)),
        state.says == z3.K(Exchange, z3.IntVal(SILENT)),
        *(has == nobody for has in (state.kept, state.kept_for_good)),
        *(has == nothing for has in (state.used, state.sent, state.landed)),
        *(has == no_id for has in (state.issued, state.presented, state.shown, state.dead, state.stolen)),
    )


class Defects:
    """The defects that are planted in this run. None of them in the protocol itself."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __contains__(self, name: str) -> bool:
        return name in self.names


def later(a: Expr, b: Expr) -> Expr:
    return z3.If(a >= b, a, b)


def earlier(a: Expr, b: Expr) -> Expr:
    return z3.If(a <= b, a, b)


class Judge(View):
    """How a presented id stands towards a record: `Record::judge` in `core/src/record.rs`."""

    def __init__(self, record: Expr, defects: Defects) -> None:
        super().__init__(record)
        self.defects = defects

    def now(self, reading: Expr) -> Expr:
        """A clock that is behind is raised to what the record has seen."""
        return later(reading, self.seen)

    def live(self) -> Expr:
        return z3.And(self.there, z3.Not(self.ended))

    def past_limits(self, now: Expr) -> Expr:
        first = z3.And(ACTIVATION > 0, generation(self.current) == self.floor, z3.Not(self.confirmed))
        if "LimitLate" in self.defects:
            now = now - 1
        return z3.Or(
            now >= self.deadline,
            z3.And(self.idle > 0, now >= self.seen + self.idle),
            z3.And(first, now >= self.issued_at + ACTIVATION),
        )

    def expired(self, now: Expr) -> Expr:
        return z3.And(self.live(), self.past_limits(now))

    def below_floor(self, id: Expr) -> Expr:
        return z3.BoolVal(False) if "NoFloorCheck" in self.defects else generation(id) < self.floor

    def _within_limits(self, id: Expr, now: Expr) -> Expr:
        outlasts = z3.BoolVal(False)
        if "GraceBeyondDeadline" in self.defects:
            outlasts = generation(id) < generation(self.current)
        return z3.And(self.live(), z3.Or(z3.Not(self.past_limits(now)), outlasts), z3.Not(self.below_floor(id)))

    def _is_previous(self, id: Expr) -> Expr:
        return z3.And(self.has_previous, id == self.previous, generation(id) + 1 == generation(self.current))

    def is_current(self, id: Expr, now: Expr) -> Expr:
        return z3.And(self._within_limits(id, now), id == self.current)

    def is_pending(self, id: Expr, now: Expr) -> Expr:
        return z3.And(self._within_limits(id, now), self._is_previous(id), self.pending)

    def in_grace(self, id: Expr, now: Expr) -> Expr:
        runs = z3.BoolVal(True) if "GraceForever" in self.defects else now < self.until
        return z3.And(self._within_limits(id, now), self._is_previous(id), z3.Not(self.pending), runs)

    def admits(self, id: Expr, now: Expr) -> Expr:
        return z3.Or(self.is_current(id, now), self.is_pending(id, now), self.in_grace(id, now))

    def reused(self, id: Expr, now: Expr) -> Expr:
        """Genuine, replaced, and past its grace."""
        forged = z3.And(self.has_previous, generation(id) + 1 == generation(self.current), id != self.previous)
        older = generation(id) < generation(self.current)
        return z3.And(self._within_limits(id, now), older, z3.Not(forged), z3.Not(self.admits(id, now)))

    def past_grace(self, id: Expr, now: Expr) -> Expr:
        """`Reacting::is_past_grace` in `core/src/ending.rs`."""
        is_previous = z3.And(self.has_previous, generation(id) + 1 == generation(self.current))
        return z3.And(is_previous, z3.Not(self.pending), now >= self.until)


def gone(record: Expr) -> Expr:
    """Ended or absent."""
    return z3.Or(z3.Not(field("there", record)), field("ended", record))


def dead_by(record: Expr, id: Expr) -> Expr:
    """The record refuses this id whatever the time."""
    r = View(record)
    replaced = z3.Or(
        generation(id) + 1 < generation(r.current),
        z3.And(generation(id) + 1 == generation(r.current), z3.Not(r.has_previous)),
    )
    return z3.Or(gone(record), generation(id) < r.floor, replaced)


def past_grace_by(record: Expr, id: Expr, now: Expr) -> Expr:
    """The record refuses this id at `now` and later, for being replaced."""
    r = View(record)
    over = z3.And(r.has_previous, id == r.previous, z3.Not(r.pending), r.until <= now)
    return z3.Or(dead_by(record, id), over)
