"""What holds in every state that can be reached: the claims, and what they rest on.

An invariant is about arbitrary exchanges, attempts and ids; its parameters name which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import world as w
import z3
from world import SKEW, Defects, Expr, Judge, State, View, generation

SORTS = {"e": w.Exchange, "a": w.Attempt, "i": w.Id}


@dataclass(frozen=True)
class Invariant:
    name: str
    over: str
    holds: Callable[..., Expr]


INVARIANTS: list[Invariant] = []


def invariant(name: str, over: str = "") -> Callable[[Callable[..., Expr]], Callable[..., Expr]]:
    """`over` has a letter for each parameter: e an exchange, a an attempt, i an id."""

    def add(holds: Callable[..., Expr]) -> Callable[..., Expr]:
        INVARIANTS.append(Invariant(name, over, holds))
        return holds

    return add


def implies(*parts: Expr) -> Expr:
    return z3.Implies(z3.And(*parts[:-1]), parts[-1])


def of_disk_and_store(s: State, holds: Callable[[View], Expr]) -> Expr:
    return z3.And(holds(View(s.store)), holds(View(s.disk)))


def active(s: State, e: Expr) -> Expr:
    """Between opening and the end of closing."""
    return z3.And(s.phase[e] != w.UNUSED, s.phase[e] != w.DONE)


def at_work(s: State, e: Expr) -> Expr:
    return z3.Or(s.phase[e] == w.CLOSING, s.phase[e] == w.WAITING)


# --- the claims


@invariant("1 planted id: what the attacker knows is below the floor of every login", "ia")
def planted(s: State, i: Expr, a: Expr) -> Expr:
    new = View(s.new[a])
    return implies(s.stolen[i], s.landed[a], new.who != 0, generation(i) < new.floor)


@invariant("2 dead id: no record brings it back, whatever the time", "i")
def dead(s: State, i: Expr) -> Expr:
    return implies(s.dead[i], z3.And(w.dead_by(s.store, i), w.dead_by(s.disk, i)))


@invariant("2 dead id: no node admits it, whatever its clock", "i")
def not_admitted(s: State, i: Expr) -> Expr:
    slowest = Judge(s.store, Defects())
    return implies(s.dead[i], z3.Not(slowest.admits(i, slowest.now(s.time - SKEW))))


@invariant("3 acknowledged: in the store unless the store lost it, on the disk if durable", "e")
def acknowledged(s: State, e: Expr) -> Expr:
    store, disk = View(s.store), View(s.disk)
    kept = implies(s.kept[e], store.there, store.writes[e])
    return z3.And(kept, implies(s.kept_for_good[e], disk.there, disk.writes[e]))


@invariant("7 absolute: the limit is the one of the last login")
def promise(s: State) -> Expr:
    return of_disk_and_store(s, lambda r: implies(r.there, z3.Not(r.ended), r.deadline == s.promise))


@invariant("one live head: an issued id is the current one, or older", "i")
def one_head(s: State, i: Expr) -> Expr:
    def holds(r: View) -> Expr:
        head = z3.Or(i == r.current, generation(i) < generation(r.current))
        before = implies(r.has_previous, generation(i) + 1 == generation(r.current), i == r.previous)
        return implies(r.there, s.issued[i], z3.And(head, before))

    return of_disk_and_store(s, holds)


@invariant("4 grace: once the new id was shown, the old one works for a grace, or until the limit", "a")
def whole_grace(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    runs = z3.And(new.there, new.has_previous, new.confirmed)
    return implies(s.used[a], runs, new.until >= w.earlier(new.confirmed_at + w.GRACE, new.deadline))


@invariant("4 way back: until the client has shown the new id, the old one works", "a")
def way_back(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    first = generation(new.current) == new.floor
    return implies(s.used[a], z3.Not(new.ended), new.there, z3.Or(new.confirmed, first, new.has_previous))


@invariant("6 copied id: one that was issued and no longer works is noticed, unless a login or an end came before", "i")
def copied(s: State, i: Expr) -> Expr:
    store = Judge(s.store, Defects())
    now = store.now(z3.Int("any_reading"))
    refused = z3.And(store.live(), z3.Not(store.past_limits(now)), z3.Not(store.admits(i, now)))
    return implies(s.issued[i], refused, z3.Not(store.below_floor(i)), store.reused(i, now))


# --- the record, whoever wrote it: what the codec refuses otherwise


@invariant("[floor] at most the current generation", "a")
def floor(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    return implies(s.used[a], z3.And(new.floor >= 0, new.floor <= generation(new.current)))


@invariant("[previous] one generation older, not below the floor", "a")
def previous(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    older = generation(new.previous) + 1 == generation(new.current)
    return implies(s.used[a], new.has_previous, z3.And(older, generation(new.previous) >= new.floor, new.who != 0))


@invariant("[pending] the nonce is kept until the current id is confirmed, and no longer", "a")
def pending(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    return implies(s.used[a], new.has_previous, new.pending == z3.Not(new.confirmed))


@invariant("[ended] no previous id", "a")
def ended(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    return implies(s.used[a], new.ended, z3.Not(new.has_previous))


@invariant("[confirmed] only by presenting it, and the grace counts from then", "a")
def confirmed(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    grace = implies(new.has_previous, new.until <= new.confirmed_at + w.GRACE)
    return implies(s.used[a], new.there, new.confirmed, z3.And(s.presented[new.current], grace))


@invariant("[seen] no record is ahead of the fastest clock, or of the last use", "a")
def seen(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    times = z3.And(new.seen <= s.time, new.seen <= s.last_use, new.issued_at <= s.time, new.who >= 0)
    return implies(s.used[a], z3.And(times, implies(new.confirmed, new.confirmed_at <= s.time)))
