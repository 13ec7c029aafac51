"""Proves the protocol, and that the proof has teeth. `spec/proof/check` runs it.

python prove.py             everything
python prove.py land open   the proofs of these steps only
"""

from __future__ import annotations

import sys
import time

import people
from claims import INVARIANTS
from defects import DEFECTS, breaks_its_claim, length
from induct import Hypotheses, Question, holds_at_first
from runs import RUNS, exists, steps
from transitions import TRANSITIONS
from world import Defects

failures: list[str] = []


def expect(what: str, holds: bool) -> None:
    if not holds:
        failures.append(what)
        print(f"FAILED: {what}", flush=True)


def prove_steps(only: list[str]) -> int:
    """Every invariant holds at first, and every step keeps all of them and shows what it has to."""
    for name in holds_at_first():
        expect(f"at first: {name}", holds=False)
    count = len(INVARIANTS)
    hypotheses = Hypotheses()
    for t in TRANSITIONS:
        if only and t.name not in only:
            continue
        question = Question(t, hypotheses, Defects())
        goals = question.goals()
        for name, goal in goals.items():
            expect(f"{t.name}: {name}", question.is_proved(goal))
        print(f"  {t.name:<16} {len(goals):>3} proved   {t.code}", flush=True)
        count += len(goals)
    return count


def take_steps() -> None:
    """Every step is taken in a run from the beginning."""
    taken: set[str] = set()
    for name, run in RUNS.items():
        expect(f"there is no run {name}", exists(run))
        taken.update(step for step, *_ in steps(run))
    for t in TRANSITIONS:
        expect(f"no run takes the step {t.name}", t.name in taken)


def plant_defects() -> None:
    """Every defect has a run that breaks a claim, and the same run breaks nothing without the defect."""
    for defect in DEFECTS:
        with_it, without = breaks_its_claim(defect), breaks_its_claim(defect, planted=False)
        expect(f"{defect.name} goes unnoticed", with_it)
        expect(f"the run of {defect.name} breaks {defect.claim} without it", not without)
        last = steps(defect.run)[-1][0]
        print(
            f"  {defect.name:<24} in {defect.planted_in:<16} breaks {defect.claim:<18} in step {length(defect)}, {last}"
        )


def main(only: list[str]) -> int:
    print("Each step keeps every invariant that it touches:")
    proved = prove_steps(only)
    if not only:
        take_steps()
        print("Each planted defect breaks a claim:")
        plant_defects()
        print("Principals, a protocol of its own:")
        of_people = people.prove(expect)
        print(
            f"{proved} questions answered for {len(TRANSITIONS)} steps and {len(INVARIANTS)} invariants, "
            f"{len(RUNS)} runs, {len(DEFECTS)} defects found; {of_people}; {len(failures)} failures, "
            f"{time.process_time():.0f} s on one core"
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
