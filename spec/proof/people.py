"""Revoking all sessions of a principal, as a protocol of its own: any number of logins and revocations, any times.

The index is apart from the records, which is the harder case. A call of either may be lost, land late, or land without
anybody hearing of it; whoever calls may be gone after any step. Records and index fail by themselves: no step here says
that another one follows. Clocks of nodes do not matter: a login hears how long ago the last revocation was, and takes
it for at most as long ago as it was (`heard` is at least `last`).

One principal is looked at: another name for it is not here (the model and the search have it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import z3

Expr = Any
Login, Revocation = z3.DeclareSort("Login"), z3.DeclareSort("Revocation")
Int, Bool = z3.IntSort(), z3.BoolSort()
# How long a store remembers when all were revoked last.
KEPT = z3.Int("kept")
ANY = {"s": z3.Const("any_s", Login), "r": z3.Const("any_r", Revocation)}


def of_login(kind: Any) -> Any:
    return z3.ArraySort(Login, kind)


_FIELDS: dict[str, Any] = {
    "now": Int,
    # The last revocation that the index remembers.
    "last": Int,
    "begun": of_login(Bool),
    "opened": of_login(Int),
    # Its record was made, and has not ended; or is kept from ever being made.
    "born": of_login(Bool),
    "live": of_login(Bool),
    "forestalled": of_login(Bool),
    # Somebody found no record under its handle.
    "seen_absent": of_login(Bool),
    "listed": of_login(Bool),
    # It heard that its entry stands, when, and when all were revoked.
    "answered": of_login(Bool),
    "heard": of_login(Int),
    "entered_at": of_login(Int),
    "told": of_login(Bool),
    "asked": z3.ArraySort(Revocation, Bool),
    "asked_at": z3.ArraySort(Revocation, Int),
    "noted": z3.ArraySort(Revocation, Bool),
    "has_list": z3.ArraySort(Revocation, Bool),
    # Whom it has yet to end.
    "left": z3.ArraySort(Revocation, of_login(Bool)),
    "returned": z3.ArraySort(Revocation, Bool),
}


@dataclass(frozen=True)
class State:
    fields: dict[str, Expr]

    def __getattr__(self, name: str) -> Expr:
        return self.fields[name]

    def but(self, **changed: Expr) -> State:
        return replace(self, fields={**self.fields, **changed})

    def at(self, key: Expr, **changed: Expr) -> State:
        """With these fields changed for one login or revocation."""
        return self.but(**{name: z3.Store(self.fields[name], key, value) for name, value in changed.items()})


def any_state() -> State:
    return State({name: z3.Const(f"before_{name}", sort) for name, sort in _FIELDS.items()})


def first_state() -> State:
    def empty(sort: Any) -> Expr:
        if sort == Bool:
            return z3.BoolVal(False)
        return z3.IntVal(0) if sort == Int else z3.K(sort.domain(), empty(sort.range()))

    return State({name: empty(sort) for name, sort in _FIELDS.items()}).but(now=z3.IntVal(1))


@dataclass
class Step:
    guard: list[Expr]
    post: State


Take = Callable[[State, str, Expr, Expr, Expr], Step]
STEPS: dict[str, Take] = {}


def step(take: Take) -> Take:
    STEPS[take.__name__] = take
    return take


def is_over(b: State, s: Expr) -> Expr:
    """No live session is there, nor will be."""
    return z3.Or(z3.And(b.born[s], z3.Not(b.live[s])), b.forestalled[s])


@step
def tick(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    return Step([n >= b.now], b.but(now=n))


@step
def opens(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    return Step([z3.Not(b.begun[s])], b.at(s, begun=True, opened=b.now))


@step
def takes_place(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    """Where a limit refuses, an entry comes before the record."""
    return Step([b.begun[s], z3.Not(b.told[s])], b.at(s, listed=True))


@step
def is_stored(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    guard = [b.begun[s], z3.Not(b.born[s]), z3.Not(b.forestalled[s])]
    return Step(guard, b.at(s, born=True, live=True))


@step
def enters(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    guard = [b.born[s], z3.Not(b.told[s]), n >= b.last]
    return Step(guard, b.at(s, listed=True, answered=True, heard=n, entered_at=b.now))


@step
def enters_unheard(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    """Nobody hears of it, or it comes late: also after the session has ended."""
    return Step([b.born[s]], b.at(s, listed=True))


@step
def is_told(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    guard = [b.answered[s]] if bug != "ToldBeforeEntered" else [b.born[s]]
    if bug != "RevocationUnread":
        guard.append(b.opened[s] > b.heard[s])
    if bug != "LongLoginsPass":
        guard.append(b.entered_at[s] < b.opened[s] + KEPT)
    return Step(guard, b.at(s, told=True))


@step
def ends(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    """A logout, a limit, an eviction, or its own end when it is barred."""
    return Step([b.live[s]], b.at(s, live=False))


@step
def looks(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    return Step([z3.Not(b.born[s])], b.at(s, seen_absent=True))


@step
def forestalls(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    return Step([z3.Not(b.born[s])], b.at(s, forestalled=True))


@step
def leaves(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    may = {"AbsentIsGone": z3.Or(is_over(b, s), b.seen_absent[s]), "LeavesBeforeItEnds": b.listed[s]}
    return Step([may.get(bug, is_over(b, s))], b.at(s, listed=False))


@step
def asks(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    return Step([z3.Not(b.asked[r])], b.at(r, asked=True, asked_at=b.now))


@step
def notes(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    """The moment, later than that of any other. Twice, if its answer was lost."""
    return Step([b.asked[r], n >= b.now, n > b.last], b.but(last=n).at(r, noted=True))


@step
def lists(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    guard = b.asked[r] if bug == "ListBeforeMoment" else b.noted[r]
    return Step([guard, z3.Not(b.has_list[r])], b.at(r, has_list=True, left=b.listed))


@step
def ends_listed(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    """What has no record yet is passed over: it hears of the moment when it is entered."""
    worked_off = b.at(r, left=z3.Store(b.left[r], s, False))
    return Step([b.has_list[r], b.left[r][s]], worked_off.at(s, live=False))


@step
def returns(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    # Of all that were listed none is left: said of the two logins that a question is about.
    none_left = [z3.Not(b.left[r][one]) for one in (s, ANY["s"])]
    return Step([b.noted[r], b.has_list[r], *none_left], b.at(r, returned=True))


@step
def forgets(b: State, bug: str, s: Expr, r: Expr, n: Expr) -> Step:
    return Step([b.now >= b.last + KEPT, n <= b.last], b.but(last=n))


Claim = Callable[[State, Expr, Expr], Expr]
CLAIMS: dict[str, Claim] = {
    "8 revoked": lambda b, s, r: z3.Implies(z3.And(b.returned[r], b.told[s], b.live[s]), b.opened[s] > b.asked_at[r]),
    "IDX-1 listed": lambda b, s, r: z3.Implies(z3.And(b.told[s], b.live[s]), b.listed[s]),
    "[entered]": lambda b, s, r: z3.Implies(z3.And(b.answered[s], b.live[s]), b.listed[s]),
    "[answered]": lambda b, s, r: z3.Implies(b.answered[s], b.born[s]),
    "[born]": lambda b, s, r: z3.And(
        z3.Implies(b.live[s], b.born[s]),
        z3.Implies(b.born[s], b.begun[s]),
        z3.Implies(b.forestalled[s], z3.Not(b.born[s])),
    ),
    "[told]": lambda b, s, r: z3.Implies(
        b.told[s],
        z3.And(b.answered[s], b.opened[s] > b.heard[s], b.entered_at[s] < b.opened[s] + KEPT),
    ),
    "[noted]": lambda b, s, r: z3.Implies(b.noted[r], z3.Or(b.last >= b.asked_at[r], b.now >= b.asked_at[r] + KEPT)),
    "[asked]": lambda b, s, r: z3.And(
        z3.Implies(b.asked[r], b.asked_at[r] <= b.now),
        z3.Implies(b.noted[r], b.asked[r]),
        z3.Implies(b.has_list[r], b.noted[r]),
        z3.Implies(b.returned[r], b.has_list[r]),
    ),
    "[worked off]": lambda b, s, r: z3.Implies(b.returned[r], z3.Not(b.left[r][s])),
    "[one sees the other]": lambda b, s, r: z3.Implies(
        z3.And(b.has_list[r], b.answered[s], b.live[s]),
        z3.Or(b.left[r][s], b.heard[s] >= b.asked_at[r], b.entered_at[s] >= b.asked_at[r] + KEPT),
    ),
}

_ONE, _ALL, _N = z3.Const("the_s", Login), z3.Const("the_r", Revocation), z3.Int("the_n")


def broken_by(name: str, bug: str = "") -> list[str]:
    """The invariants that this step does not keep, taken in any state in which all of them hold."""
    before = any_state()
    taken = STEPS[name](before, bug, _ONE, _ALL, _N)
    solver = z3.Solver()
    solver.add(KEPT > 0, *taken.guard)
    solver.add(*(holds(before, s, r) for holds in CLAIMS.values() for s in (_ONE, ANY["s"]) for r in (_ALL, ANY["r"])))
    broken = []
    for claim, holds in CLAIMS.items():
        solver.push()
        solver.add(z3.Not(holds(taken.post, ANY["s"], ANY["r"])))
        if solver.check() != z3.unsat:
            broken.append(claim)
        solver.pop()
    return broken


def can_break(claim: str, run: str, bug: str = "") -> bool:
    """Whether a run of one login and one revocation with these steps ends with the claim broken."""
    state, solver = first_state(), z3.Solver()
    solver.add(KEPT > 0)
    for number, name in enumerate(run.split()):
        taken = STEPS[name](state, bug, ANY["s"], ANY["r"], z3.Int(f"n{number}"))
        solver.add(*taken.guard)
        state = taken.post
    if claim:
        solver.add(z3.Not(CLAIMS[claim](state, ANY["s"], ANY["r"])))
    return bool(solver.check() == z3.sat)


# Planted defects, the step that they are in, the claim they break, and the shortest run that does.
DEFECTS = [
    ("RevocationUnread", "is_told", "8 revoked", "opens asks notes lists returns is_stored enters is_told"),
    ("ListBeforeMoment", "lists", "8 revoked", "opens asks lists is_stored enters notes returns is_told"),
    ("LongLoginsPass", "is_told", "8 revoked", "opens asks notes lists returns tick forgets is_stored enters is_told"),
    ("ToldBeforeEntered", "is_told", "IDX-1 listed", "tick opens is_stored is_told"),
    ("AbsentIsGone", "leaves", "IDX-1 listed", "tick opens takes_place looks is_stored enters is_told leaves"),
    ("LeavesBeforeItEnds", "leaves", "IDX-1 listed", "tick opens is_stored enters is_told leaves"),
]
# Each step is taken in one of these.
RUNS = [
    "tick opens takes_place is_stored enters_unheard enters is_told asks notes lists ends_listed leaves returns",
    "opens looks forestalls leaves tick forgets",
    "opens is_stored ends leaves",
]


def prove(expect: Callable[[str, bool], None]) -> str:
    """Everything here; what was done, in words."""
    for claim, holds in CLAIMS.items():
        solver = z3.Solver()
        solver.add(z3.Not(holds(first_state(), ANY["s"], ANY["r"])))
        expect(f"people, at first: {claim}", solver.check() == z3.unsat)
    for name in STEPS:
        for claim in broken_by(name):
            expect(f"people, {name}: {claim}", False)
    for run in RUNS:
        expect(f"people: no run {run}", can_break("", run))
    taken = {name for run in RUNS for name in run.split()}
    expect(f"people: not taken: {sorted(set(STEPS) - taken)}", taken == set(STEPS))
    for bug, planted_in, claim, run in DEFECTS:
        expect(f"people: {bug} goes unnoticed", can_break(claim, run, bug))
        expect(f"people: the run of {bug} breaks {claim} without it", not can_break(claim, run))
        expect(f"people: {bug} keeps all invariants in {planted_in}", bool(broken_by(planted_in, bug)))
        print(f"  {bug:<24} in {planted_in:<16} breaks {claim:<18} in step {len(run.split())}")
    return f"{len(STEPS)} steps and {len(CLAIMS)} invariants of principals, {len(DEFECTS)} defects"
