"""The steps of the protocol. Each is a guard, the state after it, and what the claims ask of the step itself.

`Step.shows` holds claims about an event (an access, a write) rather than about a state; they are proved in the same
way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import world as w
import z3
from world import (
    GRACE,
    SKEW,
    Attempt,
    Defects,
    Exchange,
    Expr,
    Id,
    Judge,
    State,
    View,
    earlier,
    generation,
    later,
    owner,
)

Int, Bool = z3.IntSort(), z3.BoolSort()
FALSE, TRUE = z3.BoolVal(False), z3.BoolVal(True)


@dataclass
class Step:
    guard: list[Expr]
    post: State
    shows: dict[str, Expr] = field(default_factory=dict)


@dataclass(frozen=True)
class Transition:
    name: str
    code: str
    params: tuple[tuple[str, Any], ...]
    step: Callable[..., Step]


TRANSITIONS: list[Transition] = []


def transition(code: str, **params: Any) -> Callable[[Callable[..., Step]], Callable[..., Step]]:
    def add(step: Callable[..., Step]) -> Callable[..., Step]:
        TRANSITIONS.append(Transition(step.__name__, code, tuple(params.items()), step))
        return step

    return add


# --- readings, stamps


def reads(s: State, reading: Expr) -> Expr:
    """A node's clock may show this now."""
    return z3.And(s.time - SKEW <= reading, reading <= s.time)


def stamped(attempt: Expr, base: View, defects: Defects, **changes: Expr) -> Expr:
    """The record after one more write."""
    version = base.version + 1
    if "VersionWraps" in defects:
        version = z3.If(base.version == w.LAST_VERSION, z3.IntVal(0), version)
    who = owner(attempt)
    return base.having(
        version=version,
        commit0=attempt,
        commit1=base.commit0,
        commit2=base.commit1,
        commit3=base.commit2,
        writes=z3.Store(changes.pop("writes", base.writes), who, TRUE),
        written_at=z3.Store(base.written_at, who, version),
        history=z3.SetAdd(base.history, attempt),
        **changes,
    )


def has_next_version(base: View, defects: Defects) -> Expr:
    return TRUE if "VersionWraps" in defects else base.version < w.LAST_VERSION


def matches(store: Expr, base: Expr, defects: Defects) -> Expr:
    """What a store compares: version and newest commit id."""
    s, b = View(store), View(base)
    same = s.version == b.version
    if "VersionOnly" not in defects:
        alike = owner(s.commit0) == owner(b.commit0) if "CommitIdReused" in defects else s.commit0 == b.commit0
        same = z3.And(same, alike)
    if "BlindOverwrite" in defects:
        same = TRUE
    found = z3.And(s.there, same)
    return z3.Or(found, z3.Not(s.there)) if "UpsertAfterRemoval" in defects else found


def wrote(record: Expr, exchange: Expr, defects: Defects) -> Expr:
    """The exchange is found among the last writes of the record."""
    r = View(record)
    kept = [r.commit0, r.commit1, r.commit2, r.commit3]
    if "OneCommitKept" in defects:
        kept = kept[:1]
    if "BlindRepeat" in defects:
        kept = []
    return z3.And(r.there, z3.Or(*(owner(commit) == exchange for commit in kept)))


# --- the world


@transition("the clock", by=Int)
def tick(s: State, d: Defects, by: Expr) -> Step:
    return Step([by > 0], s.having(time=s.time + by))


@transition("the store writes to its disk")
def sync(s: State, d: Defects) -> Step:
    return Step([], s.having(disk=s.store))


@transition("the store restarts without its newest writes")
def crash(s: State, d: Defects) -> Step:
    """Requests that it had not worked off are lost with it. The exchanges that wait for it live on."""
    kept = z3.SetIntersect(s.kept, z3.If(View(s.disk).there, View(s.disk).writes, z3.EmptySet(Exchange)))
    post = s.having(store=s.disk, sent=z3.K(Attempt, FALSE), kept=kept)
    return Step([], post)


@transition("the sweeper, `attempt::swap` (garbage_at)", reading=Int)
def sweep(s: State, d: Defects, reading: Expr) -> Step:
    """Ended records after their tombstone, and records past their limits. A removal is not lost."""
    store = View(s.store)
    ends_at = z3.If(store.idle > 0, earlier(store.seen + store.idle, store.deadline), store.deadline)
    garbage_at = store.seen if "SweptEarly" in d else ends_at + (0 if "SweptWithoutSkew" in d else SKEW)
    guard = [reads(s, reading), store.there, z3.Or(store.ended, reading >= garbage_at)]
    slowest = Judge(s.store, Defects())
    shows = {"7 sweeping": z3.Not(slowest.admits(store.current, slowest.now(s.time - SKEW)))}
    return Step(guard, s.having(store=w.ABSENT, disk=w.ABSENT), shows)


@transition("the attacker", id=Id)
def steal(s: State, d: Defects, id: Expr) -> Step:
    """The attacker knows any id that was issued before a login: planted, or copied."""
    return Step([s.issued[id], View(s.store).there, View(s.store).who == 0], s.set(id, stolen=TRUE))


@transition("the browser takes a response, late or twice", e=Exchange)
def deliver(s: State, d: Defects, e: Expr) -> Step:
    says = s.says[e]
    sets, clears = says == w.SETS_LOGIN, says == w.CLEARS
    jar_id = z3.If(sets, s.says_id[e], s.jar_id)
    post = s.having(jar=z3.Or(sets, z3.And(s.jar, z3.Not(clears))), jar_id=jar_id)
    changed = z3.Or(post.jar != s.jar, z3.And(s.jar, post.jar_id != s.jar_id))
    shows = {"5 cookie": z3.Implies(z3.And(s.anonymous[e], z3.Not(clears)), z3.Not(changed))}
    return Step([s.phase[e] == w.DONE], post, shows)


# --- opening


@transition("`attempt::create`", e=Exchange, a=Attempt, id=Id, who=Int, reading=Int, hostile=Bool)
def create(s: State, d: Defects, e: Expr, a: Expr, id: Expr, who: Expr, reading: Expr, hostile: Expr) -> Step:
    """Under a handle that was never drawn before, so once. A login of the attacker as himself is not looked at."""
    guard = [
        z3.Not(s.born),
        s.phase[e] == w.UNUSED,
        z3.Not(s.used[a]),
        owner(a) == e,
        drawn(id, e, z3.IntVal(0)),
        who >= 0,
        z3.And(reading >= 0, reading <= s.time),
        z3.Implies(hostile, who == 0),
    ]
    blank = View(w.Record.record(*(z3.Const(f"blank_{name}", sort) for name, sort in w._FIELDS.items())))
    record = blank.having(
        there=TRUE,
        version=z3.IntVal(1),
        **{f"commit{i}": a for i in range(w.COMMITS_KEPT)},
        current=id,
        issued_at=reading,
        confirmed=FALSE,
        has_previous=FALSE,
        pending=FALSE,
        floor=z3.IntVal(0),
        seen=reading,
        deadline=reading + w.ABSOLUTE,
        idle=w.IDLE,
        ended=FALSE,
        who=who,
        writes=z3.SetAdd(z3.EmptySet(Exchange), e),
        written_at=z3.K(Exchange, z3.IntVal(1)),
        history=z3.SetAdd(z3.EmptySet(Attempt), a),
    )
    one_cookie = "OneCookie" in d
    says = z3.If(z3.Or(who != 0, one_cookie), z3.IntVal(w.SETS_LOGIN), z3.IntVal(w.SETS_VISITOR))
    post = s.having(born=TRUE, store=record, disk=record, promise=reading + w.ABSOLUTE, holder=who)
    post = post.having(last_use=later(s.last_use, reading))
    post = post.set(a, used=TRUE, landed=TRUE, kind=z3.IntVal(w.CREATE), base=w.ABSENT, new=record, durable=TRUE)
    post = post.set(
        e, phase=z3.IntVal(w.DONE), id=id, attempt=a, won=a, says=says, says_id=id, kept=TRUE, kept_for_good=TRUE
    )
    post = post.set(e, hostile=hostile, anonymous=who == 0)
    return Step(guard, post.set(id, issued=TRUE, stolen=z3.Or(s.stolen[id], hostile)))


def drawn(id: Expr, e: Expr, number: Expr) -> Expr:
    return z3.And(w.drawn_by(id) == e, generation(id) == number)


def presents(s: State, e: Expr, id: Expr, reading: Expr, hostile: Expr) -> list[Expr]:
    """A genuine id: its tag says that it was issued. The attacker presents what he knows."""
    genuine = [s.issued[id], z3.Implies(hostile, s.stolen[id])]
    return [s.born, s.phase[e] == w.UNUSED, reads(s, reading), *genuine]


def opened(s: State, e: Expr, id: Expr, now: Expr, hostile: Expr, calls_for: int) -> State:
    return s.set(
        e,
        phase=z3.IntVal(w.OPEN),
        id=id,
        opened_at=now,
        found_at=now,
        opened=s.store,
        known=s.store,
        met=FALSE,
        doubt=FALSE,
        calls_for=z3.IntVal(calls_for),
        says=z3.IntVal(w.SILENT),
        hostile=hostile,
        anonymous=View(s.store).who == 0,
    )


@transition("`Load::judge`: admitted", e=Exchange, id=Id, reading=Int, hostile=Bool)
def open(s: State, d: Defects, e: Expr, id: Expr, reading: Expr, hostile: Expr) -> Step:
    store = Judge(s.store, d)
    now = store.now(reading)
    post = opened(s, e, id, now, hostile, w.NOTHING).set(id, presented=TRUE)
    post = post.having(last_use=later(s.last_use, now))
    replaced = z3.And(id != store.current, s.shown[store.current], store.confirmed)
    shows = {
        "1 planted id": z3.Implies(s.stolen[id], store.who == 0),
        "2 dead id": z3.Not(s.dead[id]),
        "2 grace": z3.Implies(replaced, now < s.shown_at[store.current] + GRACE),
        "7 absolute": now < s.promise,
        "7 idle": z3.Implies(store.idle > 0, now < s.last_use + store.idle),
        "clock in bounds": z3.And(store.seen <= reading + SKEW, store.issued_at <= reading + SKEW),
    }
    return Step([*presents(s, e, id, reading, hostile), store.admits(id, now)], post, shows)


@transition("`Load::judge`: ended, below the floor; `Load::found`: absent", e=Exchange, id=Id, reading=Int)
def open_dead(s: State, d: Defects, e: Expr, id: Expr, reading: Expr) -> Step:
    store = Judge(s.store, d)
    refuses = z3.Or(w.gone(s.store), z3.And(z3.Not(store.past_limits(store.now(reading))), store.below_floor(id)))
    post = s.set(e, phase=z3.IntVal(w.DONE), hostile=FALSE, anonymous=FALSE, says=z3.IntVal(w.SILENT))
    return Step([*presents(s, e, id, reading, FALSE), refuses], post.set(id, dead=TRUE))


@transition("`Load::judge`: expired", e=Exchange, id=Id, reading=Int, hostile=Bool)
def open_expired(s: State, d: Defects, e: Expr, id: Expr, reading: Expr, hostile: Expr) -> Step:
    store = Judge(s.store, d)
    guard = [*presents(s, e, id, reading, hostile), store.expired(store.now(reading))]
    return Step(guard, opened(s, e, id, store.now(reading), hostile, w.END_EXPIRED))


@transition("`Load::judge`: reuse", e=Exchange, id=Id, reading=Int, hostile=Bool)
def open_reused(s: State, d: Defects, e: Expr, id: Expr, reading: Expr, hostile: Expr) -> Step:
    store = Judge(s.store, d)
    now = store.now(reading)
    guard = [*presents(s, e, id, reading, hostile), store.reused(id, now)]
    return Step(guard, opened(s, e, id, now, hostile, w.END_REUSED))
