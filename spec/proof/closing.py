"""The second half of an exchange: what it wants to write, on the record that it knows."""

from __future__ import annotations

import world as w
import z3
from transitions import (
    FALSE,
    TRUE,
    Bool,
    Int,
    Step,
    drawn,
    has_next_version,
    reads,
    stamped,
    transition,
)
from world import GRACE, Attempt, Defects, Exchange, Expr, Id, Judge, State, View, generation, later, owner


@transition("`Session::close`", e=Exchange, reading=Int)
def close(s: State, d: Defects, e: Expr, reading: Expr) -> Step:
    at = s.opened_at[e] if "CommitByOpening" in d else later(s.opened_at[e], reading)
    post = s.set(e, phase=z3.IntVal(w.CLOSING), closed_at=at, read_at=reading)
    return Step([s.phase[e] == w.OPEN, reads(s, reading)], post)


@transition("`Session` dropped, `Save::gave_up`: 503, or the node dies", e=Exchange)
def give_up(s: State, d: Defects, e: Expr) -> Step:
    return Step([s.phase[e] != w.UNUSED], s.set(e, phase=z3.IntVal(w.DONE)))


# --- attempts


def base_of(s: State, e: Expr, d: Defects) -> tuple[Judge, Expr]:
    known = Judge(s.known[e], d)
    return known, known.now(s.closed_at[e])


def attempts(s: State, d: Defects, e: Expr, a: Expr) -> list[Expr]:
    known = View(s.known[e])
    may = [s.phase[e] == w.CLOSING, z3.Not(s.used[a]), owner(a) == e]
    return [*may, known.there, z3.Not(known.ended), has_next_version(known, d)]


def asks(s: State, d: Defects, e: Expr, a: Expr) -> list[Expr]:
    """The exchange wants something of its own, and its id is admitted by the record that the write is based on."""
    known, now = base_of(s, e, d)
    return [*attempts(s, d, e, a), s.calls_for[e] == w.NOTHING, known.admits(s.id[e], now)]


def send(s: State, e: Expr, a: Expr, kind: int, new: Expr, durable: Expr) -> State:
    post = s.set(a, used=TRUE, sent=TRUE, landed=FALSE, kind=z3.IntVal(kind), base=s.known[e], new=new, durable=durable)
    return post.set(e, phase=z3.IntVal(w.WAITING), attempt=a)


def ids_durable(d: Defects) -> Expr:
    return z3.BoolVal("IdsNotDurable" not in d)


def endings_durable(d: Defects) -> Expr:
    return z3.BoolVal("EndingNotDurable" not in d)


def confirming(s: State, e: Expr, d: Defects) -> tuple[dict[str, Expr], Expr]:
    """`Head::confirm`: the client presented the current id."""
    known, now = base_of(s, e, d)
    current = TRUE if "AnyIdConfirms" in d else s.id[e] == known.current
    confirms = z3.And(current, z3.Not(known.confirmed))
    until = w.earlier(now + GRACE, known.deadline)
    changes = {
        "confirmed": z3.Or(known.confirmed, confirms),
        "confirmed_at": z3.If(confirms, now, known.confirmed_at),
        "until": z3.If(z3.And(confirms, known.has_previous), until, known.until),
        "pending": known.pending if "NonceKept" in d else z3.And(known.pending, z3.Not(confirms)),
        "seen": later(known.seen, now),
    }
    return changes, confirms


@transition("`Commit::write`: data, touch, confirmation", e=Exchange, a=Attempt)
def write(s: State, d: Defects, e: Expr, a: Expr) -> Step:
    known, now = base_of(s, e, d)
    changes, confirms = confirming(s, e, d)
    if "WriteBackWhole" in d:
        changes["writes"] = View(s.opened[e]).writes
    if "TouchMovesDeadline" in d:
        changes["deadline"] = later(known.deadline, now + w.ABSOLUTE)
    durable = z3.And(confirms, known.has_previous)
    post = send(s, e, a, w.WRITE, stamped(a, known, d, **changes), durable)
    return Step(asks(s, d, e, a), post.having(last_use=later(s.last_use, now)))


@transition("`Commit::rotate`, `Session::can_rotate`", e=Exchange, a=Attempt, id=Id)
def rotate(s: State, d: Defects, e: Expr, a: Expr, id: Expr) -> Step:
    known, now = base_of(s, e, d)
    was = View(s.opened[e])
    old = s.id[e]
    rested = TRUE if "RotateWithoutRest" in d else s.opened_at[e] >= was.confirmed_at + 2 * GRACE
    current = z3.Or(known.is_current(old, now), z3.And("RotateTwice" in d, known.is_pending(old, now)))
    confirmed = TRUE if "RotateUnconfirmed" in d else z3.And(was.confirmed, rested)
    guard = [*asks(s, d, e, a), known.who != 0, current, was.current == old, confirmed]
    guard += [drawn(id, e, generation(old) + 1)]
    changes, _ = confirming(s, e, d)
    changes.update(has_previous=TRUE, previous=known.current, pending=TRUE, current=id, issued_at=now, confirmed=FALSE)
    if "RotationMovesDeadline" in d:
        changes["deadline"] = now + w.ABSOLUTE
    post = send(s, e, a, w.ROTATE, stamped(a, known, d, **changes), ids_durable(d))
    return Step(guard, post.having(last_use=later(s.last_use, now)))


def raised(s: State, e: Expr, d: Defects, id: Expr, now: Expr) -> dict[str, Expr]:
    """`Head::raise_floor`: a fresh secret, and every older id is dead at once."""
    changes, _ = confirming(s, e, d)
    if "KeepOldId" in d:
        return changes
    floor = View(s.known[e]).floor if "FloorStays" in d else generation(id)
    changes.update(current=id, issued_at=now, confirmed=FALSE, has_previous=FALSE, pending=FALSE, floor=floor)
    return changes


@transition("`Commit::raise`: login", e=Exchange, a=Attempt, id=Id, who=Int)
def login(s: State, d: Defects, e: Expr, a: Expr, id: Expr, who: Expr) -> Step:
    """By anybody but the attacker. After somebody else a login ends this session and creates another."""
    known, now = base_of(s, e, d)
    before = View(s.opened[e]).who
    same = TRUE if "PrincipalReplacedInPlace" in d else z3.Or(before == 0, before == who)
    guard = [*asks(s, d, e, a), z3.Not(s.hostile[e]), who > 0, same]
    guard += [drawn(id, e, generation(known.current) + 1)]
    changes = raised(s, e, d, id, now) | {"deadline": now + w.ABSOLUTE, "idle": w.IDLE, "who": who}
    post = send(s, e, a, w.LOGIN, stamped(a, known, d, **changes), ids_durable(d))
    return Step(guard, post.having(last_use=later(s.last_use, now)))


@transition("`Commit::raise`: elevation", e=Exchange, a=Attempt, id=Id)
def elevate(s: State, d: Defects, e: Expr, a: Expr, id: Expr) -> Step:
    known, now = base_of(s, e, d)
    guard = [*asks(s, d, e, a), z3.Not(s.hostile[e]), View(s.opened[e]).who != 0, known.who != 0]
    guard += [drawn(id, e, generation(known.current) + 1)]
    changes = raised(s, e, d, id, now)
    if "ElevateMovesDeadline" in d:
        changes["deadline"] = now + w.ABSOLUTE
    post = send(s, e, a, w.ELEVATE, stamped(a, known, d, **changes), ids_durable(d))
    return Step(guard, post.having(last_use=later(s.last_use, now)))


def ended(base: View, a: Expr, d: Defects, removed: Expr) -> Expr:
    """`Record::end`, or removal where the policy keeps no tombstone."""
    end = stamped(a, base, d, ended=TRUE, has_previous=FALSE)
    return z3.If(removed, View(end).having(there=FALSE), end)


@transition("`Ending::attempt`", e=Exchange, a=Attempt, removed=Bool)
def logout(s: State, d: Defects, e: Expr, a: Expr, removed: Expr) -> Step:
    """Across a login of the same principal too, and across nobody else's."""
    known, _ = base_of(s, e, d)
    theirs = z3.Or(known.who == 0, known.who != View(s.opened[e]).who)
    guard = [*attempts(s, d, e, a), s.calls_for[e] == w.NOTHING]
    if "LogoutCrossesPrincipals" not in d:
        guard.append(z3.Not(z3.And(known.below_floor(s.id[e]), theirs)))
    return Step(guard, send(s, e, a, w.LOGOUT, ended(known, a, d, removed), endings_durable(d)))


@transition("`Ending::attempt`: nothing to end", e=Exchange)
def logout_needless(s: State, d: Defects, e: Expr) -> Step:
    known, _ = base_of(s, e, d)
    needless = w.gone(s.known[e])
    if "LogoutSparesSuccessor" in d:
        needless = z3.Or(needless, generation(s.id[e]) < generation(known.current))
    if "LogoutPretends" in d:
        needless = z3.Or(needless, known.below_floor(s.id[e]))
    guard = [s.phase[e] == w.CLOSING, s.calls_for[e] == w.NOTHING, needless]
    post = s.set(e, phase=z3.IntVal(w.DONE), says=z3.IntVal(w.CLEARS)).set(s.id[e], dead=TRUE)
    return Step(guard, post, {"logged out": w.gone(s.disk)})


@transition("`Commit::end_if_unused`", e=Exchange, a=Attempt, removed=Bool)
def expire(s: State, d: Defects, e: Expr, a: Expr, removed: Expr) -> Step:
    """A limit passed since opening: the end is written on that very record, and a conflict is judged anew."""
    known, now = base_of(s, e, d)
    stale = Judge(s.opened[e], d)
    passed = stale.expired(stale.now(s.closed_at[e])) if "StaleExpiry" in d else known.expired(now)
    fresh = TRUE if "StaleExpiry" in d else z3.Not(s.met[e])
    guard = [*attempts(s, d, e, a), s.calls_for[e] == w.NOTHING, fresh, passed]
    return Step(guard, send(s, e, a, w.EXPIRE, ended(known, a, d, removed), endings_durable(d)))


@transition("`Commit::refused`: expired", e=Exchange)
def finds_expired(s: State, d: Defects, e: Expr) -> Step:
    known, now = base_of(s, e, d)
    guard = [s.phase[e] == w.CLOSING, s.calls_for[e] == w.NOTHING, s.met[e], known.expired(now)]
    return Step(guard, s.set(e, calls_for=z3.IntVal(w.END_EXPIRED), found_at=now))


@transition("`Commit::refused`: reuse", e=Exchange)
def finds_reused(s: State, d: Defects, e: Expr) -> Step:
    known, now = base_of(s, e, d)
    guard = [s.phase[e] == w.CLOSING, s.calls_for[e] == w.NOTHING, known.reused(s.id[e], now)]
    return Step(guard, s.set(e, calls_for=z3.IntVal(w.END_REUSED), found_at=now))


@transition("`Commit::refused`: ended, absent, below the floor", e=Exchange)
def finds_dead(s: State, d: Defects, e: Expr) -> Step:
    known, _ = base_of(s, e, d)
    refuses = z3.Or(w.gone(s.known[e]), known.below_floor(s.id[e]))
    guard = [s.phase[e] == w.CLOSING, s.calls_for[e] == w.NOTHING, refuses]
    return Step(guard, s.set(e, phase=z3.IntVal(w.DONE)).set(s.id[e], dead=TRUE))


def reacts(s: State, e: Expr) -> Expr:
    return z3.And(s.phase[e] == w.CLOSING, s.calls_for[e] != w.NOTHING)


@transition("`Reacting::attempt`: the end", e=Exchange, a=Attempt, removed=Bool)
def react(s: State, d: Defects, e: Expr, a: Expr, removed: Expr) -> Step:
    """Whatever a conflict shows, but never across a login."""
    known, _ = base_of(s, e, d)
    guard = [*attempts(s, d, e, a), reacts(s, e)]
    spared = known.below_floor(s.id[e])
    if "ExpiryEndsNewerLogin" in d:
        spared = z3.And(spared, s.calls_for[e] == w.END_REUSED)
    guard.append(z3.Not(spared))
    return Step(guard, send(s, e, a, w.REACT, ended(known, a, d, removed), endings_durable(d)))


@transition("`Reacting::attempt`: the previous id", e=Exchange, a=Attempt)
def forget(s: State, d: Defects, e: Expr, a: Expr) -> Step:
    known, _ = base_of(s, e, d)
    past = known.past_grace(s.id[e], later(s.found_at[e], known.now(s.closed_at[e])))
    guard = [*attempts(s, d, e, a), reacts(s, e), s.calls_for[e] == w.END_REUSED, past]
    return Step(guard, send(s, e, a, w.FORGET, stamped(a, known, d, has_previous=FALSE), TRUE))


@transition("`Reacting::attempt`: nothing to do", e=Exchange)
def react_needless(s: State, d: Defects, e: Expr) -> Step:
    known, _ = base_of(s, e, d)
    now = known.now(s.closed_at[e])
    past = known.past_grace(s.id[e], now if "ForgottenByTheRecord" in d else later(s.found_at[e], now))
    if "PreviousKept" in d:
        past = FALSE
    needless = z3.Or(w.gone(s.known[e]), known.below_floor(s.id[e]))
    needless = z3.Or(needless, z3.And(s.calls_for[e] == w.END_REUSED, z3.Not(past)))
    if "ExpiryForgotten" in d:
        needless = z3.Or(needless, s.calls_for[e] == w.END_EXPIRED)
    post = s.set(e, phase=z3.IntVal(w.DONE)).set(s.id[e], dead=TRUE)
    return Step([reacts(s, e), needless], post)


@transition("`Commit::answer_again`", e=Exchange)
def answer_again(s: State, d: Defects, e: Expr) -> Step:
    """The holder of the previous id is told the current one, until it was presented."""
    known, now = base_of(s, e, d)
    quick = s.closed_at[e] - s.opened_at[e] <= GRACE
    pending = known.is_pending(s.id[e], now)
    guard = [s.phase[e] == w.CLOSING, s.calls_for[e] == w.NOTHING, pending, quick]
    told = known.current
    post = s.set(e, phase=z3.IntVal(w.DONE), says=z3.IntVal(w.SETS_LOGIN), says_id=told)
    return Step(guard, post.set(told, stolen=z3.Or(s.stolen[told], s.hostile[e])))
