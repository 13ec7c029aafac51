"""Quick figures of a store: whole exchanges, as an adapter runs them, one at a time."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable
from typing import Any

from coatroom._show import Step
from coatroom.session import Session
from coatroom.sessions import Sessions

Work = Callable[[Session], Any]

STEPS: list[tuple[str, Work]] = [
    ("read", lambda session: session.get("n")),
    ("write", lambda session: session.add("n")),
]


def bench(sessions: Sessions, times: int, step: Step) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of each kind of exchange, in microseconds.

    The sessions that it makes belong to a principal of their own and are ended again.
    """
    principal = f"coatroom-bench-{secrets.token_hex(8)}"
    taken: dict[str, list[int]] = {name: [] for name in ("create", "login", "read", "write", "logout")}

    def run(name: str, jar: _Jar, work: Work) -> None:
        began = time.perf_counter_ns()
        session = sessions.open(jar.header)
        work(session)
        session._commit(200)
        taken[name].append(time.perf_counter_ns() - began)
        jar.take(session._exchange.head()[2])

    try:
        for _ in range(times):
            jar = _Jar()
            run("create", jar, lambda session: session.__setitem__("text", "x" * 200))
            run("login", jar, lambda session: session.login(principal))
            # The first presentation of an id writes: it is not what is measured.
            session = sessions.open(jar.header)
            session.get("n")
            session._commit(200)
            for name, work in STEPS:
                run(name, jar, work)
            run("logout", jar, lambda session: session.logout())
            step()
    finally:
        sessions.revoke_all(principal)
    return {name: _figures(values) for name, values in taken.items()}


def _figures(nanoseconds: list[int]) -> dict[str, float]:
    values = sorted(value / 1000 for value in nanoseconds)
    return {"median_us": round(statistics.median(values), 1), "p95_us": round(values[int(len(values) * 0.95)], 1)}


class _Jar:
    """The cookies of one browser."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    @property
    def header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def take(self, lines: list[str]) -> None:
        for line in lines:
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
