"""One step at a time: from every state in which all invariants hold, a step leads to such a state.

Z3 is asked for a step that breaks one. The invariants of the state before are given to it for the exchanges, attempts
and ids that the step is about, and for those that they refer to; none is left for Z3 to find. So every question is
free of quantifiers, and an answer of "none" holds for any number of everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import closing  # noqa: F401  more steps
import support  # noqa: F401  more invariants
import swapping  # noqa: F401  more steps
import world as w
import z3
from claims import INVARIANTS, SORTS, Invariant
from transitions import TRANSITIONS, Step, Transition
from world import Defects, Expr, State

_LETTER = {sort.name(): letter for letter, sort in SORTS.items()}
# The exchange, attempt and id of which an invariant is to be shown.
ANY = {letter: z3.Const(f"any_{letter}", sort) for letter, sort in SORTS.items()}
BEFORE = w.any_state()


def transition(name: str) -> Transition:
    return next(one for one in TRANSITIONS if one.name == name)


class Pool:
    """Terms to put into the invariants of the state before."""

    def __init__(self, terms: Iterable[Expr]) -> None:
        self.terms: dict[str, list[Expr]] = {letter: [] for letter in SORTS}
        for term in terms:
            self.add(term)

    def add(self, *terms: Expr) -> None:
        for term in terms:
            kin = self.terms.get(_LETTER.get(term.sort().name(), ""), [])
            if not any(term.eq(other) for other in kin):
                kin.append(term)

    def tuples(self, over: str) -> Iterator[tuple[Expr, ...]]:
        return itertools.product(*(self.terms[letter] for letter in over))


def pool(s: State, params: list[Expr], commits: int) -> Pool:
    """What a step and an invariant refer to, directly or through one more look-up."""
    terms = Pool([*params, *ANY.values()])
    own = {letter: list(found) for letter, found in terms.terms.items()}
    for record in (s.store, s.disk):
        terms.add(*(w.field(f"commit{number}", record) for number in range(commits)), w.field("current", record))
    for attempt in own["a"]:
        terms.add(w.owner(attempt), w.field("commit0", s.base[attempt]))
        if not attempt.eq(ANY["a"]):
            issued = w.field("current", s.new[attempt])
            terms.add(issued, w.drawn_by(issued))
    for e in list(terms.terms["e"]):
        terms.add(s.attempt[e], s.won[e], s.id[e])
        terms.add(w.field("commit0", s.known[e]), w.field("commit0", s.opened[e]))
    terms.add(*(w.drawn_by(issued) for issued in own["i"]))
    return terms


class Hypotheses:
    """Invariants of the state before, for given terms. Each is built once."""

    def __init__(self) -> None:
        self._of_any = {inv.name: at(inv, BEFORE) for inv in INVARIANTS}
        self._built: dict[tuple[Any, ...], Expr] = {}
        self._keep: list[Expr] = []

    def of(self, terms: Pool) -> Iterator[Expr]:
        for inv in INVARIANTS:
            for args in terms.tuples(inv.over):
                yield self._instance(inv, args)

    def _instance(self, inv: Invariant, args: tuple[Expr, ...]) -> Expr:
        key = (inv.name, *(arg.get_id() for arg in args))
        if key not in self._built:
            # A term that is let go of may leave its number to another one.
            self._keep.extend(args)
            pairs = [(ANY[letter], arg) for letter, arg in zip(inv.over, args, strict=True)]
            self._built[key] = z3.substitute(self._of_any[inv.name], *pairs)
        return self._built[key]


def at(inv: Invariant, s: State) -> Expr:
    return inv.holds(s, *(ANY[letter] for letter in inv.over))


def parameters(t: Transition) -> list[Expr]:
    return [z3.Const(f"the_{name}", sort) for name, sort in t.params]


class Question:
    """A step, possibly with a planted defect, taken in a state in which all invariants hold."""

    def __init__(self, t: Transition, hypotheses: Hypotheses, defects: Defects) -> None:
        params = parameters(t)
        self.step: Step = t.step(BEFORE, defects, *params)
        self.solver = z3.Solver()
        # The older one of two is the faster one here.
        self.solver.set("arith.solver", 2)
        self.solver.add(w.POLICY, *self.step.guard)
        # A step that finds its commit id in a record looks at all that are kept there.
        commits = w.COMMITS_KEPT if t.name.endswith("_found") else 1
        self.solver.add(*hypotheses.of(pool(BEFORE, params, commits)))

    def goals(self) -> dict[str, Expr]:
        """What the step has to show. An invariant that speaks of nothing that the step changes is none."""
        after = {inv.name: at(inv, self.step.post) for inv in INVARIANTS}
        before = {inv.name: at(inv, BEFORE) for inv in INVARIANTS}
        changed = {name: goal for name, goal in after.items() if not z3.simplify(goal).eq(z3.simplify(before[name]))}
        return {**self.step.shows, **changed}

    def goal(self, name: str) -> Expr:
        if name in self.step.shows:
            return self.step.shows[name]
        return next(at(inv, self.step.post) for inv in INVARIANTS if inv.name == name)

    def is_proved(self, goal: Expr) -> bool:
        self.solver.push()
        self.solver.add(z3.Not(goal))
        answer = self.solver.check()
        self.solver.pop()
        if answer == z3.unknown:
            raise RuntimeError(self.solver.reason_unknown())
        return bool(answer == z3.unsat)


def holds_at_first() -> list[str]:
    """The invariants that do not hold before anything has happened."""
    broken = []
    for inv in INVARIANTS:
        solver = z3.Solver()
        solver.add(w.POLICY, w.initial(BEFORE), z3.Not(at(inv, BEFORE)))
        if solver.check() != z3.unsat:
            broken.append(inv.name)
    return broken
