"""Proves the protocol: every invariant holds at first and is kept by every step, and every step shows what it must."""

from __future__ import annotations

import itertools, sys, time
import z3
import closing, world as w
from claims import INVARIANTS, SORTS
import support  # noqa
from transitions import TRANSITIONS, Transition
from world import Defects

def pool(s, consts, found):
    out = {"e": [], "a": [], "i": []}
    key = {w.Exchange.name(): "e", w.Attempt.name(): "a", w.Id.name(): "i"}
    def add(x):
        k = key.get(x.sort().name())
        if k and not any(x.eq(y) for y in out[k]):
            out[k].append(x)
    for c in consts: add(c)
    for r in (s.store, s.disk):
        if found:
            for k in range(4): add(w.field(f"commit{k}", r))
        add(w.field("commit0", r)); add(w.field("current", r))
    for a in list(out["a"])[:2]:
        add(w.owner(a)); add(w.field("commit0", s.base[a]))
        if a.decl().name().startswith("p_"):
            i = w.field("current", s.new[a]); add(i); add(w.drawn_by(i))
    for e in [x for x in out["e"]]:
        if "p_" not in str(x_ := e) and "sk_" not in str(x_): continue
        if e.num_args() and "commit0" in str(e): continue
        add(s.attempt[e]); add(s.won[e]); add(s.id[e])
        add(w.field("commit0", s.known[e])); add(w.field("commit0", s.opened[e]))
    for i in list(out["i"]): 
        if i.decl().name().startswith(("p_","sk_")): add(w.drawn_by(i))
    return out

CACHE = {}
TEMPL = {}
SK = {"e": z3.Const("sk_e", w.Exchange), "a": z3.Const("sk_a", w.Attempt), "i": z3.Const("sk_i", w.Id)}
def inst(inv, args, s):
    key = (inv.name, *(a.get_id() for a in args))
    if key not in CACHE:
        if inv.name not in TEMPL: TEMPL[inv.name] = inv.holds(s, *(SK[c] for c in inv.over))
        CACHE[key] = (z3.substitute(TEMPL[inv.name], *[(SK[c], a) for c, a in zip(inv.over, args)]), args)
    return CACHE[key][0]

def prove(t, d, only=None, verbose=False):
    s = w.any_state()
    params = [z3.Const(f"p_{n}", sort) for n, sort in t.params]
    step = t.step(s, d, *params)
    sk = {"e": z3.Const("sk_e", w.Exchange), "a": z3.Const("sk_a", w.Attempt), "i": z3.Const("sk_i", w.Id)}
    p = pool(s, [*params, *sk.values()], t.name.endswith('_found'))
    sol = z3.Solver(); sol.set("random_seed", 1)
    sol.add(w.POLICY, *step.guard)
    for inv in INVARIANTS:
        for args in itertools.product(*(p[c] for c in inv.over)):
            sol.add(inst(inv, args, s))
    bad = []
    goals = [(f"shows {k}", v) for k, v in step.shows.items()]
    goals += [(inv.name, inv.holds(step.post, *(sk[c] for c in inv.over))) for inv in INVARIANTS]
    for name, g in goals:
        if only and only not in name: continue
        same = [inv for inv in INVARIANTS if inv.name == name]
        if same and z3.simplify(g).eq(z3.simplify(same[0].holds(s, *(sk[c] for c in same[0].over)))): continue
        t0 = time.time()
        sol.push(); sol.add(z3.Not(g)); r = sol.check()
        if time.time() - t0 > 1.0: print("   slow", name, f"{time.time()-t0:.1f}")
        if r != z3.unsat:
            bad.append((name, str(r)))
            if verbose: 
                m = sol.model()
                for c in params + list(sk.values()): print(c, m.eval(c, True))
                for f in vars(s): print(f, m.eval(getattr(s,f), True))
                for x in p["a"]: print(x, m.eval(x,True), m.eval(s.new[x],True), "base", m.eval(s.base[x],True), "owner", m.eval(w.owner(x)), m.eval(s.used[x]), m.eval(s.landed[x]), m.eval(s.kind[x],True))
                for x in p["i"]: print(x, m.eval(x,True), m.eval(w.generation(x),True), m.eval(w.drawn_by(x),True))
                for x in p["e"]: print(x, m.eval(x,True))
        sol.pop()
    return bad, len(p["e"]), len(p["a"]), len(p["i"])

if __name__ == "__main__":
    d = Defects(*[x for x in sys.argv[2:] if x[0].isupper()])
    for t in TRANSITIONS:
        if len(sys.argv) > 1 and sys.argv[1] not in ("all", t.name): continue
        t0 = time.time()
        print(t.name, *prove(t, d, verbose="-v" in sys.argv), f"{time.time()-t0:.1f}", flush=True)
