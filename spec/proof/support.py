"""What the claims rest on: where records come from, what an attempt is, and what an exchange in flight may still do."""

from __future__ import annotations

import world as w
import z3
from claims import active, at_work, implies, invariant, of_disk_and_store
from world import Defects, Expr, Judge, State, View, generation, owner


def no(*terms: Expr) -> Expr:
    return z3.And(*(z3.Not(term) for term in terms))


def is_one_of(kind: Expr, *kinds: int) -> Expr:
    return z3.Or(*(kind == one for one in kinds))


# --- where records come from


def written(s: State, record: Expr) -> Expr:
    """A record that is there is what the attempt of its newest commit id wrote."""
    commit = View(record).commit0
    return implies(View(record).there, z3.And(s.landed[commit], s.used[commit], record == s.new[commit]))


@invariant("(origin) of what the store and the disk hold")
def origin(s: State) -> Expr:
    return z3.And(written(s, s.store), written(s, s.disk), View(s.store).there == View(s.disk).there)


@invariant("(origin) of what an exchange has read", "e")
def origin_read(s: State, e: Expr) -> Expr:
    absent = implies(z3.Not(View(s.known[e]).there), z3.Not(View(s.store).there))
    return implies(active(s, e), z3.And(written(s, s.opened[e]), written(s, s.known[e]), absent))


@invariant("(origin) of what an attempt is based on", "a")
def origin_base(s: State, a: Expr) -> Expr:
    based = z3.And(View(s.base[a]).there, z3.Not(View(s.base[a]).ended), written(s, s.base[a]))
    return implies(s.used[a], s.kind[a] != w.CREATE, based)


@invariant("(birth) before it nothing is", "eai")
def birth(s: State, e: Expr, a: Expr, i: Expr) -> Expr:
    there = z3.Or(View(s.store).there, View(s.disk).there)
    before = z3.And(no(there, s.used[a], s.issued[i], s.kept[e], s.kept_for_good[e]), s.phase[e] == w.UNUSED)
    return implies(z3.Not(s.born), before)


@invariant("(disk) behind the store in data and times only")
def behind(s: State) -> Expr:
    return implies(View(s.store).there, alike(View(s.store), View(s.disk)))


@invariant("(disk) behind the store in writes", "e")
def behind_in_writes(s: State, e: Expr) -> Expr:
    store, disk = View(s.store), View(s.disk)
    return implies(disk.there, disk.writes[e], z3.And(store.writes[e], store.written_at[e] == disk.written_at[e]))


def alike(a: View, b: View) -> Expr:
    """In everything that decides whether an id is dead."""
    names = ["current", "issued_at", "has_previous", "floor", "deadline", "idle", "ended", "who"]
    replaced = ["previous", "pending", "until", "confirmed"]

    def same(names: list[str]) -> list[Expr]:
        return [getattr(a, name) == getattr(b, name) for name in names]

    return z3.And(*same(names), z3.Implies(a.has_previous, z3.And(*same(replaced))))


# --- what an attempt is


@invariant("(attempt) its flags", "a")
def flags(s: State, a: Expr) -> Expr:
    sent = implies(s.sent[a], z3.And(s.used[a], z3.Not(s.landed[a]), s.kind[a] != w.CREATE))
    done = implies(s.used[a], z3.And(s.kind[a] >= w.CREATE, s.kind[a] <= w.FORGET))
    owned = implies(s.used[a], s.phase[owner(a)] != w.UNUSED)
    return z3.And(sent, done, owned, implies(s.landed[a], s.used[a]))


@invariant("(attempt) one more write, recognisable", "a")
def stamp(s: State, a: Expr) -> Expr:
    base, new = View(s.base[a]), View(s.new[a])
    after = z3.And(
        new.version == base.version + 1,
        new.commit1 == base.commit0,
        new.commit2 == base.commit1,
        new.commit3 == base.commit2,
        z3.Not(base.writes[owner(a)]),
        new.writes == z3.SetAdd(base.writes, owner(a)),
        new.written_at == z3.Store(base.written_at, owner(a), new.version),
        new.history == z3.SetAdd(base.history, a),
    )
    own = z3.And(new.commit0 == a, new.version >= 1)
    return implies(s.used[a], z3.And(own, implies(s.kind[a] != w.CREATE, after)))


@invariant("(attempt) the last four writes are kept", "ae")
def commits(s: State, a: Expr, e: Expr) -> Expr:
    new = View(s.new[a])
    at = new.written_at[e]
    kept = [new.commit0, new.commit1, new.commit2, new.commit3]
    found = [z3.Implies(new.version - at == back, owner(commit) == e) for back, commit in enumerate(kept)]
    return implies(s.used[a], new.writes[e], z3.And(at >= 1, at <= new.version, *found))


@invariant("(attempt) a commit id that is kept is of a write that took place", "a")
def commits_landed(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    kept = [new.commit0, new.commit1, new.commit2, new.commit3]
    return implies(s.landed[a], z3.And(*(s.landed[commit] for commit in kept)))


@invariant("(attempt) the last one of an exchange that took place", "a")
def won(s: State, a: Expr) -> Expr:
    e = owner(a)
    last = z3.And(s.landed[s.won[e]], owner(s.won[e]) == e)
    return implies(s.landed[a], z3.And(last, implies(s.durable[a], View(s.disk).there, View(s.disk).writes[e])))


@invariant("(attempt) what each kind does to the id", "a")
def ids(s: State, a: Expr) -> Expr:
    base, new, kind = View(s.base[a]), View(s.new[a]), s.kind[a]
    renews = is_one_of(kind, w.ROTATE, w.LOGIN, w.ELEVATE)
    fresh = z3.And(w.drawn_by(new.current) == owner(a), generation(new.current) == generation(base.current) + 1)
    created = z3.And(w.drawn_by(new.current) == owner(a), generation(new.current) == 0, new.floor == 0)
    return implies(
        s.used[a],
        z3.And(
            z3.If(kind == w.CREATE, z3.And(created, no(new.confirmed, new.has_previous, new.ended), new.there), True),
            implies(renews, z3.And(fresh, z3.Not(new.confirmed))),
            implies(kind == w.ROTATE, z3.And(new.floor == base.floor, new.has_previous, new.previous == base.current)),
            implies(is_one_of(kind, w.LOGIN, w.ELEVATE), z3.And(new.floor == generation(new.current), new.there)),
            implies(kind >= w.LOGOUT, kind < w.FORGET, w.gone(s.new[a])),
            implies(is_one_of(kind, w.CREATE, w.WRITE, w.ROTATE, w.FORGET), z3.And(new.there, z3.Not(new.ended))),
            implies(is_one_of(kind, w.LOGIN, w.ELEVATE), z3.Not(new.ended)),
            implies(no(renews, kind == w.CREATE), z3.And(new.current == base.current, new.floor == base.floor)),
            implies(
                is_one_of(kind, w.WRITE), z3.And(new.has_previous == base.has_previous, new.previous == base.previous)
            ),
            implies(kind == w.WRITE, base.has_previous, z3.Not(base.pending), new.until == base.until),
            implies(kind == w.FORGET, z3.Not(new.has_previous)),
        ),
    )


@invariant("(attempt) what each kind leaves alone", "a")
def leaves_alone(s: State, a: Expr) -> Expr:
    base, new, kind = View(s.base[a]), View(s.new[a]), s.kind[a]
    follows = z3.And(s.used[a], kind != w.CREATE)
    return z3.And(
        implies(follows, kind != w.LOGIN, z3.And(new.deadline == base.deadline, new.who == base.who)),
        implies(follows, kind == w.LOGIN, z3.And(new.who != 0, z3.Or(base.who == 0, base.who == new.who))),
        implies(s.used[a], z3.Not(s.durable[a]), z3.And(kind == w.WRITE, alike(base, new))),
        implies(follows, base.confirmed, new.current == base.current, new.there, new.confirmed),
        implies(follows, base.confirmed, new.current == base.current, new.there, new.confirmed_at == base.confirmed_at),
    )


@invariant("(attempt) why it was made", "a")
def reasons(s: State, a: Expr) -> Expr:
    e, kind = owner(a), s.kind[a]
    base, id = Judge(s.base[a], Defects()), s.id[owner(a)]
    asked = is_one_of(kind, w.WRITE, w.ROTATE, w.LOGIN, w.ELEVATE)
    above = generation(id) >= base.floor
    now = base.now(s.closed_at[e])
    in_time = z3.And(s.read_at[e] < base.deadline, s.closed_at[e] < base.deadline)
    theirs = z3.Or(base.who == 0, base.who != View(s.opened[e]).who)
    settled = z3.Or(kind == w.CREATE, s.phase[e] == w.CLOSING, s.phase[e] == w.WAITING, s.phase[e] == w.DONE)
    return implies(
        s.used[a],
        z3.And(
            settled,
            implies(asked, z3.And(above, in_time, z3.Not(w.dead_by(s.base[a], id)), s.issued[id])),
            implies(kind == w.LOGOUT, z3.Or(above, z3.Not(theirs))),
            implies(kind == w.EXPIRE, base.past_limits(now)),
            implies(is_one_of(kind, w.REACT, w.FORGET), s.calls_for[e] != w.NOTHING),
            implies(kind == w.REACT, above),
            implies(kind == w.FORGET, z3.And(w.dead_by(s.new[a], id), base.until <= s.time)),
            implies(s.hostile[e], z3.Not(is_one_of(kind, w.ROTATE, w.LOGIN, w.ELEVATE))),
            implies(s.anonymous[e], z3.Not(is_one_of(kind, w.ROTATE, w.ELEVATE))),
        ),
    )


@invariant("(attempt) a rotation follows its confirmation by two graces", "a")
def rest(s: State, a: Expr) -> Expr:
    current = View(s.base[a]).current
    rested = s.closed_at[owner(a)] >= s.shown_at[current] + 2 * w.GRACE
    return implies(s.used[a], s.kind[a] == w.ROTATE, z3.And(s.shown[current], rested))


# --- what an exchange in flight may still do


@invariant("(exchange) what it holds", "e")
def holds(s: State, e: Expr) -> Expr:
    opened, id = View(s.opened[e]), s.id[e]
    times = z3.And(s.opened_at[e] <= s.time, s.found_at[e] <= s.time, implies(at_work(s, e), s.closed_at[e] <= s.time))
    later = implies(at_work(s, e), z3.And(s.closed_at[e] >= s.opened_at[e], s.closed_at[e] >= s.read_at[e]))
    return z3.And(
        implies(active(s, e), z3.And(s.issued[id], s.anonymous[e] == (opened.who == 0), opened.there, times, later)),
        implies(active(s, e), s.calls_for[e] == w.NOTHING, s.presented[id]),
        implies(active(s, e), s.says[e] == w.SILENT),
        implies(s.phase[e] == w.OPEN, z3.Not(s.doubt[e])),
        implies(s.phase[e] != w.UNUSED, s.hostile[e], s.stolen[id]),
        implies(s.phase[e] == w.DONE, s.anonymous[e], s.says[e] != w.SETS_LOGIN),
        z3.And(s.phase[e] >= w.UNUSED, s.phase[e] <= w.DONE),
    )


@invariant("(exchange) its attempt", "e")
def its_attempt(s: State, e: Expr) -> Expr:
    a = s.attempt[e]
    mine = z3.And(owner(a) == e, s.used[a], s.base[a] == s.known[e])
    return implies(s.phase[e] == w.WAITING, z3.And(mine, implies(s.landed[a], s.won[e] == a)))


@invariant("(exchange) it has not written what it is based on", "e")
def not_yet(s: State, e: Expr) -> Expr:
    store, disk = View(s.store), View(s.disk)
    unused = implies(s.phase[e] == w.UNUSED, no(store.writes[e], disk.writes[e]))
    early = implies(s.phase[e] == w.OPEN, no(store.writes[e], disk.writes[e]))
    return z3.And(
        implies(active(s, e), View(s.known[e]).there, z3.Not(View(s.known[e]).writes[e])),
        implies(store.there, z3.And(unused, early)),
    )


@invariant("(attempt) what led to a record took place, and has a lower version", "a")
def history(s: State, a: Expr) -> Expr:
    def holds(r: View) -> Expr:
        before = z3.And(s.landed[a], View(s.new[a]).version <= r.version)
        return implies(r.there, z3.And(r.history[r.commit0], implies(r.history[a], before)))

    return of_disk_and_store(s, holds)


@invariant("(exchange) what it wrote unknowingly it can find, or knows to be in doubt", "e")
def once(s: State, e: Expr) -> Expr:
    a = s.attempt[e]

    def found(r: View) -> Expr:
        in_doubt = z3.And(s.doubt[e], s.doubt_since[e] < r.written_at[e])
        last = z3.And(s.phase[e] == w.WAITING, z3.Not(s.sent[a]), View(s.base[a]).version < r.written_at[e])
        return implies(r.there, r.writes[e], at_work(s, e), z3.Or(in_doubt, last))

    return of_disk_and_store(s, found)


@invariant("(exchange) an attempt of its that is still on its way is the last one, or in doubt", "a")
def in_flight(s: State, a: Expr) -> Expr:
    e = owner(a)
    base, store = View(s.base[a]), View(s.store)
    doubt = z3.And(s.doubt[e], s.doubt_since[e] <= base.version)
    past = z3.Or(z3.Not(store.there), base.version < store.version, z3.Not(store.history[base.commit0]))
    over = z3.Or(z3.And(s.phase[e] == w.WAITING, s.attempt[e] == a), doubt, past, s.phase[e] == w.DONE)
    return implies(s.sent[a], over)


@invariant("(exchange) what is on its way is based on no more than the store, or the exchange, has seen", "a")
def in_flight_base(s: State, a: Expr) -> Expr:
    base, store, known = View(s.base[a]), View(s.store), View(s.known[owner(a)])
    by_known = implies(at_work(s, owner(a)), known.there, base.version <= known.version)
    by_store = implies(store.there, base.version <= store.version)
    return implies(s.sent[a], store.there, store.history[base.commit0], z3.And(by_store, by_known))


@invariant("(exchange) what is in doubt is not older than what it is based on", "e")
def doubt(s: State, e: Expr) -> Expr:
    known = View(s.known[e])
    return implies(at_work(s, e), s.doubt[e], known.there, known.version <= s.doubt_since[e])


@invariant("(exchange) nothing of it is on its way once it wrote", "a")
def in_flight_after(s: State, a: Expr) -> Expr:
    e, store = owner(a), View(s.store)
    waits = z3.And(s.phase[e] == w.WAITING, s.landed[s.attempt[e]])
    return implies(s.sent[a], waits, store.there, store.writes[e])


@invariant("(exchange) a copy that it found stays found", "e")
def finding(s: State, e: Expr) -> Expr:
    past = [w.past_grace_by(r, s.id[e], s.found_at[e]) for r in (s.store, s.disk, s.known[e])]
    return implies(active(s, e), s.calls_for[e] == w.END_REUSED, z3.And(*past))


# --- ids


@invariant("(id) who knows it, who showed it", "i")
def knowledge(s: State, i: Expr) -> Expr:
    store, disk = View(s.store), View(s.disk)
    subsets = [implies(has[i], s.issued[i]) for has in (s.stolen, s.dead, s.presented)]
    return z3.And(
        *subsets,
        implies(s.shown[i], s.presented[i]),
        implies(s.issued[i], store.there, z3.And(store.writes[w.drawn_by(i)], disk.writes[w.drawn_by(i)])),
    )


@invariant("(id) every record that took place issued its current id, and no exchange is in it before it began", "ae")
def landed(s: State, a: Expr, e: Expr) -> Expr:
    new = View(s.new[a])
    began = implies(new.writes[e], s.phase[e] != w.UNUSED)
    return implies(s.used[a], z3.And(implies(s.landed[a], s.issued[new.current]), began))


@invariant("(id) opened without a login, so below the floor of every login", "ea")
def anonymous(s: State, e: Expr, a: Expr) -> Expr:
    new = View(s.new[a])
    began = z3.Or(active(s, e))
    return implies(began, s.anonymous[e], s.landed[a], new.who != 0, generation(s.id[e]) < new.floor)


@invariant("(id) what refuses it for good does so in all that follows", "ai")
def for_good(s: State, a: Expr, i: Expr) -> Expr:
    step = implies(s.used[a], s.kind[a] != w.CREATE, w.dead_by(s.base[a], i), s.issued[i], w.dead_by(s.new[a], i))
    now = z3.And(w.dead_by(s.store, i), w.dead_by(s.disk, i))
    return z3.And(step, implies(s.landed[a], s.issued[i], w.dead_by(s.new[a], i), now))


@invariant("(id) generation, floor and principal never go back", "a")
def forward(s: State, a: Expr) -> Expr:
    new, store = View(s.new[a]), View(s.store)
    ahead = z3.And(generation(new.current) <= generation(store.current), new.floor <= store.floor)
    ahead = z3.And(ahead, implies(new.who != 0, store.who != 0), implies(w.gone(s.new[a]), store.ended))
    return implies(s.landed[a], store.there, ahead)


@invariant("(id) one principal", "a")
def principal(s: State, a: Expr) -> Expr:
    who = View(s.new[a]).who
    return implies(s.landed[a], who != 0, who == s.holder)


@invariant("(id) a grace that runs is not extended", "a")
def grace(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    runs = z3.And(s.landed[a], new.there, new.has_previous, z3.Not(new.pending))
    return implies(runs, z3.And(*(w.past_grace_by(r, new.previous, new.until) for r in (s.store, s.disk))))


@invariant("(id) the end of a rotation is not taken back", "a")
def rotated(s: State, a: Expr) -> Expr:
    new, store, disk = View(s.new[a]), View(s.store), View(s.disk)
    over = z3.And(s.landed[a], new.there, new.confirmed, new.has_previous)
    return implies(over, store.there, store.current == new.current, z3.And(store.confirmed, disk.confirmed))


@invariant("(id) its confirmation", "a")
def confirmation(s: State, a: Expr) -> Expr:
    new = View(s.new[a])
    at = s.shown_at[new.current]
    once = implies(new.has_previous, z3.And(new.confirmed_at == at, new.until <= at + w.GRACE))
    return implies(s.landed[a], new.there, new.confirmed, z3.And(s.shown[new.current], at <= new.confirmed_at, once))


@invariant("(id) a new one is not confirmed while its predecessor is the way back")
def unconfirmed(s: State) -> Expr:
    store = View(s.store)
    waits = z3.And(store.there, store.has_previous, z3.Not(store.confirmed))
    return implies(waits, z3.Not(s.shown[store.current]))
