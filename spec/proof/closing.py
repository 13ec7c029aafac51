"""The second half of an exchange: what it wants to write, the swap, and what it makes of the store's answer."""

from __future__ import annotations

import z3

import world as w
from transitions import FALSE, TRUE, Bool, Int, Step, drawn, has_next_version, matches, reads, stamped, transition, wrote
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
    post = s.set(
        a, used=TRUE, sent=TRUE, landed=FALSE, kind=z3.IntVal(kind), base=s.known[e], new=new, durable=durable
    )
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
    changes.update(
        has_previous=TRUE, previous=known.current, pending=TRUE, current=id, issued_at=now, confirmed=FALSE
    )
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


# --- the swap


@transition("`Engine::swap`: done", a=Attempt)
def land(s: State, d: Defects, a: Expr) -> Step:
    e, kind = owner(a), s.kind[a]
    store, new = View(s.store), View(s.new[a])
    guard = [s.sent[a], matches(s.store, s.base[a], d)]
    durable = s.durable[a]
    post = s.having(store=s.new[a], disk=z3.If(durable, s.new[a], s.disk)).set(a, sent=FALSE, landed=TRUE).set(e, won=a)
    renews = z3.Or(kind == w.ROTATE, kind == w.LOGIN, kind == w.ELEVATE)
    known_to = z3.Or(s.stolen[new.current], s.hostile[e])
    told = post.set(new.current, issued=TRUE, stolen=known_to)
    post = post.having(issued=z3.If(renews, told.issued, s.issued), stolen=z3.If(renews, told.stolen, s.stolen))
    post = post.having(promise=z3.If(kind == w.LOGIN, new.deadline, s.promise))
    post = post.having(holder=z3.If(kind == w.LOGIN, new.who, s.holder))
    confirms = z3.And(new.there, new.confirmed)
    before = s.shown_at[new.current]
    at = z3.If(s.shown[new.current], w.earlier(before, new.confirmed_at), new.confirmed_at)
    was_shown = z3.Or(s.shown[new.current], confirms)
    post = post.set(new.current, shown=was_shown, shown_at=z3.If(confirms, at, before))
    return Step(guard, post, landing_shows(s, d, a))


def landing_shows(s: State, d: Defects, a: Expr) -> dict[str, Expr]:
    """What the claims ask of a write, by the record that it replaces, whatever it was based on."""
    e, kind, id = owner(a), s.kind[a], s.id[owner(a)]
    store, new = Judge(s.store, Defects()), View(s.new[a])
    asked = z3.Or(kind == w.WRITE, kind == w.ROTATE, kind == w.LOGIN, kind == w.ELEVATE)
    at = s.read_at[e]
    ends = z3.Or(z3.Not(new.there), new.ended)
    above = generation(id) >= store.floor
    reason = z3.Or(
        z3.And(kind == w.LOGOUT, z3.Or(above, store.who == View(s.opened[e]).who)),
        z3.And(kind == w.EXPIRE, store.past_limits(store.now(s.closed_at[e]))),
        z3.And(kind == w.REACT, above, s.calls_for[e] != w.NOTHING),
    )
    logged_in = z3.And(store.live(), store.who != 0)
    return {
        "1 write from before the login": z3.Implies(z3.And(asked, logged_in), above),
        "2 write by a dead id": z3.Implies(asked, z3.Not(s.dead[id])),
        "2 resurrection": z3.Implies(w.gone(s.store), ends),
        "3 once": z3.Not(store.writes[e]),
        "4 rest": z3.Implies(
            kind == w.ROTATE, z3.And(s.shown[store.current], s.closed_at[e] >= s.shown_at[store.current] + 2 * GRACE)
        ),
        "5 login stays": z3.Implies(logged_in, z3.Or(z3.And(z3.Not(ends), new.who == store.who), z3.And(ends, reason))),
        "7 late write": z3.Implies(z3.And(asked, store.live()), at < s.promise),
        "7 limit moved": z3.Implies(kind != w.LOGIN, z3.Or(ends, new.deadline == store.deadline)),
    }


@transition("a request is lost, or refused without an answer", a=Attempt)
def lose_request(s: State, d: Defects, a: Expr) -> Step:
    return Step([s.sent[a]], s.set(a, sent=FALSE))


def acknowledged(s: State, e: Expr) -> State:
    """`Closing::Done`: the response may say so."""
    a = s.won[e]
    kind, store = s.kind[a], View(s.store)
    renews = z3.Or(kind == w.ROTATE, kind == w.LOGIN, kind == w.ELEVATE)
    says = z3.If(renews, z3.IntVal(w.SETS_LOGIN), z3.If(kind == w.LOGOUT, z3.IntVal(w.CLEARS), z3.IntVal(w.SILENT)))
    post = s.set(
        e,
        phase=z3.IntVal(w.DONE),
        says=says,
        says_id=View(s.new[a]).current,
        anonymous=z3.And(s.anonymous[e], kind != w.LOGIN),
        kept=z3.And(store.there, store.writes[e]),
        kept_for_good=s.durable[a],
    )
    final = z3.Or(kind == w.LOGOUT, kind == w.EXPIRE, kind == w.REACT, kind == w.FORGET)
    return post.having(dead=z3.If(final, z3.Store(s.dead, s.id[e], TRUE), s.dead))


@transition("`Save::saved`", e=Exchange)
def acknowledge(s: State, d: Defects, e: Expr) -> Step:
    return Step([s.phase[e] == w.WAITING, s.landed[s.attempt[e]]], acknowledged(s, e))


def refused(s: State, d: Defects, e: Expr) -> tuple[list[Expr], State, Expr, Expr]:
    """The store refused the swap and holds something else."""
    a = s.attempt[e]
    guard = [s.phase[e] == w.WAITING, s.sent[a], z3.Not(matches(s.store, s.base[a], d))]
    return guard, s.set(a, sent=FALSE), s.doubt[e], s.doubt_since[e]


def reloaded(s: State, d: Defects, e: Expr) -> tuple[list[Expr], State, Expr, Expr]:
    """The outcome is unknown, and the record was loaded again."""
    base = View(s.base[s.attempt[e]]).version
    least = s.doubt_since[e] if "FirstDoubtStays" in d else w.earlier(s.doubt_since[e], base)
    return [s.phase[e] == w.WAITING], s, TRUE, z3.If(s.doubt[e], least, base)


Case = tuple[list[Expr], State, Expr, Expr]


def lost_track(s: State, e: Expr, doubt: Expr, since: Expr) -> Expr:
    """Too many writes came in between to tell. A removal that was asked for explains itself."""
    store = View(s.store)
    removing = z3.Not(View(s.new[s.attempt[e]]).there)
    return z3.And(doubt, z3.If(store.there, store.version > since + w.COMMITS_KEPT, z3.Not(removing)))


def found(s: State, d: Defects, e: Expr, case: Case) -> Step:
    guard, after, _, _ = case
    return Step([*guard, wrote(s.store, e, d)], acknowledged(after, e))


def lost(s: State, d: Defects, e: Expr, case: Case) -> Step:
    guard, after, doubt, since = case
    guard += [z3.Not(wrote(s.store, e, d)), lost_track(s, e, doubt, since)]
    return Step(guard, after.set(e, phase=z3.IntVal(w.DONE)))


def again(s: State, d: Defects, e: Expr, case: Case) -> Step:
    guard, after, doubt, since = case
    guard += [z3.Not(wrote(s.store, e, d)), z3.Not(lost_track(s, e, doubt, since))]
    store = View(s.store)
    # What was based on an older version can no longer take place.
    doubt = z3.And(doubt, z3.Not(z3.And(store.there, store.version > since)))
    after = after.set(e, phase=z3.IntVal(w.CLOSING), known=s.store, met=TRUE, doubt=doubt, doubt_since=since)
    return Step(guard, after)


@transition("`Save::conflicted`: written before", e=Exchange)
def conflict_found(s: State, d: Defects, e: Expr) -> Step:
    return found(s, d, e, refused(s, d, e))


@transition("`Save::conflicted`: lost track", e=Exchange)
def conflict_lost(s: State, d: Defects, e: Expr) -> Step:
    return lost(s, d, e, refused(s, d, e))


@transition("`Save::conflicted`: replay", e=Exchange)
def conflict_again(s: State, d: Defects, e: Expr) -> Step:
    return again(s, d, e, refused(s, d, e))


@transition("`Save::reloaded`: written", e=Exchange)
def unknown_found(s: State, d: Defects, e: Expr) -> Step:
    return found(s, d, e, reloaded(s, d, e))


@transition("`Save::reloaded`: lost track", e=Exchange)
def unknown_lost(s: State, d: Defects, e: Expr) -> Step:
    return lost(s, d, e, reloaded(s, d, e))


@transition("`Save::reloaded`: replay", e=Exchange)
def unknown_again(s: State, d: Defects, e: Expr) -> Step:
    return again(s, d, e, reloaded(s, d, e))
