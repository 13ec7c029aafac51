"""Planted defects. Each has a run from the beginning whose last step breaks a claim; without the defect none like it
does. Most are those of `core/src/bugs.rs`, by the same name; the others say what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import induct
import z3
from claims import INVARIANTS
from runs import CONFIRM, LOGIN, ROTATE, SHOWN, UNKNOWN, VISITOR, others, play, steps
from world import Defects

PLANTED = f"{VISITOR}; steal i0; open l i0; close l; login l a1 i1; land a1"
LOGGED_OUT = f"{LOGIN}; open x i1; open y i1; close x; logout x a2; land a2"
# A login with an anonymous exchange still open.
UNDER_WAY = f"{VISITOR}; open x i0; open l i0; close l; login l a1 i1; land a1; acknowledge l; deliver l"


@dataclass(frozen=True)
class Defect:
    name: str
    planted_in: str
    claim: str  # what its name starts with
    run: str


DEFECTS = [
    Defect("KeepOldId", "login", "1 planted id", f"{PLANTED}; open x i0"),
    # A login issues a new id and leaves the floor where it was.
    Defect("FloorStays", "login", "1 planted id", PLANTED),
    Defect("NoFloorCheck", "open_reused", "5 login", f"{LOGIN}; open_reused x i0; close x; react x a2; land a2"),
    Defect(
        "LogoutCrossesPrincipals",
        "logout",
        "5 login",
        f"{UNDER_WAY}; close x; logout x a2; conflict_again x; logout x a3; land a3",
    ),
    Defect(
        "PrincipalReplacedInPlace",
        "login",
        "5 login",
        f"{LOGIN}; open x i1; close x; login x a2 i2; land a2",
    ),
    # The end that a passed limit calls for is written over a login that came first.
    Defect(
        "ExpiryEndsNewerLogin",
        "react",
        "5 login",
        f"{VISITOR}; open l i0; tick; open_expired x i0; close l; login l a1 i1; land a1; acknowledge l; deliver l; "
        "close x; react x a2; conflict_again x; react x a3; land a3",
    ),
    Defect(
        "StaleExpiry",
        "expire",
        "5 login",
        f"{VISITOR}; open x i0; open w i0; tick; close w; write w a1; land a1; tick; close x; expire x a2; "
        "conflict_again x; expire x a3; land a3",
    ),
    Defect("OneCookie", "create", "5 cookie", f"{VISITOR}; deliver v"),
    Defect(
        "LogoutSparesSuccessor", "logout_needless", "logged out", f"{ROTATE}; open x i1; close x; logout_needless x"
    ),
    Defect(
        "LogoutPretends",
        "logout_needless",
        "logged out",
        f"{UNDER_WAY}; close x; logout x a2; conflict_again x; logout_needless x",
    ),
    # A swap on a record that is gone stores the new one.
    Defect("UpsertAfterRemoval", "land", "2 resurrection", f"{LOGGED_OUT}; close y; write y a3; land a3"),
    # A store that compares nothing.
    Defect("BlindOverwrite", "land", "2 resurrection", f"{LOGGED_OUT}; close y; write y a3; land a3"),
    Defect(
        "VersionOnly",
        "land",
        "2 resurrection",
        f"{LOGIN}; open x i1; close x; write x a2; land a2; open y i1; crash; open z i1; close z; logout z a3; "
        "land a3; close y; write y a4; land a4",
    ),
    # All attempts of one exchange leave the same stamp, so that two records of one version may look alike.
    Defect(
        "CommitIdReused",
        "land",
        "3 acknowledged",
        f"{VISITOR}; {others(1)}; open e i0; close e; write e a1; land a1; open y i0; crash; "
        "open z i0; close z; write z c1; land c1; acknowledge z; unknown_again e; write e a2; land a2; "
        "close y; write y d1; land d1",
    ),
    Defect(
        "EndingNotDurable",
        "logout",
        "2 dead id",
        f"{LOGIN}; open x i1; close x; logout x a2; land a2; acknowledge x; crash; open y i1",
    ),
    Defect("IdsNotDurable", "login", "one live head", f"{LOGIN}; crash"),
    Defect("VersionWraps", "write", "3 once", f"{UNKNOWN}; land a1; {others(4)}; unknown_again e; write e a2; land a2"),
    Defect(
        "OneCommitKept",
        "unknown_again",
        "3 once",
        f"{UNKNOWN}; land a1; {others(1)}; unknown_again e; write e a2; land a2",
    ),
    Defect("BlindRepeat", "unknown_again", "3 once", f"{UNKNOWN}; land a1; unknown_again e; write e a2; land a2"),
    # Of two attempts in doubt the first one counts, even if the second is based on an older version.
    Defect(
        "FirstDoubtStays",
        "unknown_again",
        "3 once",
        f"{VISITOR}; open g i0; close g; write g c1; land c1; open e i0; close e; write e a1; crash; "
        f"unknown_again e; write e a2; land a2; {others(4)}; unknown_again e; write e a3; land a3",
    ),
    Defect(
        "WriteBackWhole",
        "write",
        "3 acknowledged",
        f"{UNKNOWN}; {others(1)}; acknowledge f0; conflict_again e; write e a2; land a2",
    ),
    Defect("CommitByOpening", "close", "7 late write", f"{VISITOR}; open x i0; tick; close x; write x a1; land a1"),
    Defect("TouchMovesDeadline", "write", "7 limit", f"{LOGIN}; tick; open x i1; close x; write x a2; land a2"),
    Defect("RotationMovesDeadline", "rotate", "7 limit", ROTATE.removesuffix("; acknowledge r")),
    Defect("ElevateMovesDeadline", "elevate", "7 limit", f"{LOGIN}; open x i1; close x; elevate x a2 i2; land a2"),
    Defect("LimitLate", "open", "7 absolute", f"{LOGIN}; tick; open x i1"),
    Defect("GraceBeyondDeadline", "open", "7 absolute", f"{ROTATE}; tick; open x i1"),
    Defect("SweptEarly", "sweep", "7 sweeping", f"{VISITOR}; sweep"),
    # A node whose clock is ahead removes what a node behind it still admits.
    Defect("SweptWithoutSkew", "sweep", "7 sweeping", f"{VISITOR}; tick; sweep"),
    Defect("GraceForever", "open", "2 grace", f"{SHOWN}; tick; open x i1"),
    Defect("NonceKept", "write", "2 grace", f"{SHOWN}; tick; open x i1"),
    Defect(
        "PreviousKept", "react_needless", "2 dead id", f"{SHOWN}; tick; open_reused x i1; close x; react_needless x"
    ),
    # Whether the previous id is past its grace is asked of the record alone, and not of the reading that found it so.
    Defect(
        "ForgottenByTheRecord",
        "react_needless",
        "2 dead id",
        f"{LOGIN}; {CONFIRM}; tick; open x i1; open r i1; close r; rotate r a3 i2; land a3; open s i2; close s; "
        "write s a4; land a4; tick; open t i2; close t; write t a5; land a5; close x; write x a6; conflict_again x; "
        "finds_reused x; crash; forget x a7; conflict_again x; react_needless x",
    ),
    Defect(
        "ExpiryForgotten",
        "react_needless",
        "2 dead id",
        f"{VISITOR}; tick; open_expired x i0; close x; react_needless x",
    ),
    # The holder of the old id confirms the new one, which its client may never have seen.
    Defect("AnyIdConfirms", "write", "[confirmed]", f"{ROTATE}; open s i1; close s; write s a4"),
    Defect("RotateUnconfirmed", "rotate", "4 rest", f"{LOGIN}; open x i1; close x; rotate x a2 i2; land a2"),
    Defect("RotateWithoutRest", "rotate", "4 rest", f"{LOGIN}; {CONFIRM}; open r i1; close r; rotate r a3 i2; land a3"),
    Defect(
        "RotateTwice",
        "rotate",
        "4 rest",
        f"{LOGIN}; {CONFIRM}; tick; open x i1; open r i1; close r; rotate r a3 i2; land a3; close x; rotate x a4 i3; "
        "conflict_again x; rotate x a5 i4; land a5",
    ),
]


def breaks_its_claim(defect: Defect, planted: bool = True) -> bool:
    """Whether the run exists, and its last step breaks the claim."""
    formula, step = play(defect.run, Defects(defect.name) if planted else Defects())
    goals = {**step.shows, **{inv.name: induct.at(inv, step.post) for inv in INVARIANTS}}
    broken = [z3.Not(goal) for name, goal in goals.items() if name.startswith(defect.claim)]
    solver = z3.Solver()
    solver.add(*formula, z3.Or(*broken))
    return bool(solver.check() == z3.sat)


def length(defect: Defect) -> int:
    return len(steps(defect.run))
