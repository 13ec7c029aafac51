"""Every step is taken in some run from the beginning, so none of what is proved about it is empty.

A run names its steps; what kind of thing a name is follows from the step. Z3 finds the times, principals and
everything else. Each state of such a run is one of those that the invariants are about.
"""

from __future__ import annotations

import induct
import world as w
import z3
from transitions import Step
from world import Attempt, Defects, Exchange, Expr, Id


def others(count: int) -> str:
    """Writes of other exchanges with the visitor's id."""
    return "; ".join(f"open f{n} i0; close f{n}; write f{n} b{n}; land b{n}" for n in range(count))


VISITOR = "create v a0 i0"
LOGIN = f"{VISITOR}; open l i0; close l; login l a1 i1; land a1; acknowledge l"
CONFIRM = "open c i1; close c; write c a2; land a2; acknowledge c"
ROTATE = f"{LOGIN}; {CONFIRM}; tick; open r i1; close r; rotate r a3 i2; land a3; acknowledge r"
SHOWN = f"{ROTATE}; open s i2; close s; write s a4; land a4"
UNKNOWN = f"{VISITOR}; open e i0; close e; write e a1"

# Each with the steps that it is there for.
RUNS: dict[str, str] = {
    "login": f"{LOGIN}; tick; deliver l; sync; crash; open x i1; give_up x",
    "planted": f"{VISITOR}; steal i0; open l i0; close l; login l a1 i1; land a1; open_dead x i0",
    "elevation": f"{LOGIN}; open x i1; close x; elevate x a2 i2; land a2; acknowledge x; open_dead y i1",
    "rotation": f"{ROTATE}; open again i1; close again; answer_again again; deliver again; deliver r; open x i2",
    "grace": f"{SHOWN}; open x i1; close x; write x a5; land a5; acknowledge x",
    "copy": f"{SHOWN}; tick; open_reused x i1; close x; forget x a5; land a5; acknowledge x",
    "copy of a login": f"{SHOWN}; tick; open_reused x i1; close x; react x a5; land a5; acknowledge x; sweep",
    "copy found late": f"{ROTATE}; open x i1; open s i2; close s; write s a4; land a4; tick; close x; write x a5; "
    "conflict_again x; finds_reused x; react x a6; land a6",
    "logout": f"{LOGIN}; open x i1; open y i1; close x; logout x a2; land a2; acknowledge x; deliver x; "
    "close y; write y a3; conflict_again y; finds_dead y",
    "logout of the ended": f"{LOGIN}; open x i1; open y i1; close x; logout x a2; land a2; "
    "close y; logout y a3; conflict_again y; logout_needless y",
    "limit": f"{VISITOR}; tick; open_expired x i0; open_expired y i0; close x; react x a1; land a1; "
    "close y; react y a2; conflict_again y; react_needless y; sweep",
    "limit while open": f"{VISITOR}; open x i0; tick; close x; expire x a1; lose_request a1; unknown_again x; "
    "finds_expired x; react x a2; land a2; acknowledge x",
    "unknown": f"{UNKNOWN}; land a1; unknown_found e",
    "unknown, late": f"{UNKNOWN}; unknown_again e; write e a2; land a1; conflict_found e",
    "unknown, too late": f"{UNKNOWN}; {others(5)}; unknown_lost e",
    "refused, in doubt": f"{UNKNOWN}; unknown_again e; write e a2; lose_request a1; {others(5)}; conflict_lost e",
    "a write that the store loses": f"{VISITOR}; {others(1)}; acknowledge f0; crash; open e i0; close e; write e a1; "
    "land a1",
}


def steps(run: str) -> list[list[str]]:
    return [step.split() for step in run.split("; ")]


def play(run: str, defects: Defects) -> tuple[list[Expr], Step]:
    """The run as a formula, and its last step."""
    state = induct.BEFORE
    formula: list[Expr] = [w.POLICY, w.initial(state)]
    for number, (name, *labels) in enumerate(steps(run)):
        t = induct.transition(name)
        waiting = iter(labels)
        params = [
            z3.Const(next(waiting) if sort in (Exchange, Attempt, Id) else f"{label}_{number}", sort)
            for label, sort in t.params
        ]
        step: Step = t.step(state, defects, *params)
        formula += step.guard
        state = step.post
    return formula, step


def exists(run: str) -> bool:
    solver = z3.Solver()
    solver.add(*play(run, Defects())[0])
    return bool(solver.check() == z3.sat)
