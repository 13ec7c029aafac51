"""The swap: what the store makes of it, and the exchange of the store's answer."""

from __future__ import annotations

import world as w
import z3
from transitions import FALSE, TRUE, Step, matches, transition, wrote
from world import GRACE, Attempt, Defects, Exchange, Expr, Judge, State, View, generation, owner


@transition("`Engine::swap`: done", a=Attempt)
def land(s: State, d: Defects, a: Expr) -> Step:
    e, kind = owner(a), s.kind[a]
    new = View(s.new[a])
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
        "4 forgotten early": z3.Implies(kind == w.FORGET, store.until <= s.time),
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
