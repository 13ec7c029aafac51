"""What sessions cost, ours and each framework's own: CPU time of the process over the same endpoint without a session.

One process for each application (`serve.py`), all in one run, asked in turn; medians. All processes, that of Redis
too, share one core: in a virtual machine it costs up to 40 microseconds to wake another, now and then. The figures, as
text and as a plot, go to target/bench-python, and with `--publish` to docs/cost.md as well.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import floors

REPOSITORY = Path(__file__).parents[2]
OUT = REPOSITORY / "target" / "bench-python"
BY_SOCKET = " by its socket"
OURS = ("memory", "sqlite", "redis", "redis" + BY_SOCKET)
THEIRS = {
    "Flask": ("signed cookie", "Flask-Session, Redis"),
    "Django": ("signed_cookies", "cache, Redis", "db, SQLite"),
    "Starlette": ("signed cookie", "starsessions, Redis"),
    "FastAPI": (),
}
FLOORS = dict.fromkeys(("Flask", "Django", "Starlette"), (*floors.KINDS, floors.KINDS[1] + BY_SOCKET))
NAMES = {
    "memory": "Coatroom, memory",
    "sqlite": "Coatroom, SQLite",
    "redis": "Coatroom, Redis",
    "redis" + BY_SOCKET: "Coatroom, Redis" + BY_SOCKET,
}
VERSIONS = ("Flask", "Flask-Session", "Django", "starlette", "starsessions", "fastapi", "redis")
KINDS = {"read": "GET /me", "write": "POST /incr"}
MANY = 32


@dataclass
class Case:
    """An application in a process of its own, and what its requests cost, round by round."""

    framework: str
    sessions: str
    process: subprocess.Popen[str]
    costs: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def ask(self, what: str, count: int, in_flight: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, count, in_flight, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.framework} with {self.sessions} has ended")
        return float(answer)

    def over(self, bare: Case, what: str, in_flight: int) -> float:
        """The median of what its requests cost beyond those of the bare endpoint in the same round."""
        pairs = zip(self.costs[what, in_flight], bare.costs[what, in_flight], strict=True)
        return max(0.0, statistics.median(mine - its for mine, its in pairs))


@contextmanager
def redis_server() -> Iterator[tuple[str, str]]:
    """Its address on loopback, and the one of its Unix socket, whose path must be short."""
    if shutil.which("redis-server") is None:
        raise RuntimeError("redis-server is missing: scripts/need servers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/redis.sock"
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen([*command, "--unixsocket", path], stdout=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}", f"redis+unix://{path}"
        finally:
            server.terminate()
            server.wait()


@contextmanager
def case(framework: str, sessions: str, redis: tuple[str, str]) -> Iterator[Case]:
    kind, address = sessions.removesuffix(BY_SOCKET), redis[sessions.endswith(BY_SOCKET)]
    program = str(Path(__file__).with_name("serve.py"))
    pipe: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, program, framework, kind, address], **pipe) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{framework} with {sessions} does not start: {program} {framework} '{kind}' {address}")
        yield Case(framework, sessions, process)


def measure(cases: list[Case], rounds: int, count: int) -> None:
    for turn in range(rounds + 1):
        for one in cases:
            for in_flight in (1, MANY) if one.framework in ("Starlette", "FastAPI") else (1,):
                for what in KINDS:
                    cost = one.ask(what, count, in_flight)
                    if turn:  # the first is for warming up
                        one.costs.setdefault((what, in_flight), []).append(cost)
        print(f"\rround {turn} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def rows(cases: list[Case]) -> Iterator[tuple[str, str, int, float, float]]:
    """Framework, sessions, requests in flight, and what reading and writing cost over the bare endpoint."""
    for framework in dict.fromkeys(one.framework for one in cases):
        mine = [one for one in cases if one.framework == framework]
        bare = next(one for one in mine if one.sessions == "bare")
        for in_flight in (1, MANY):
            for one in mine:
                if one is not bare and ("read", in_flight) in one.costs:
                    cost = [one.over(bare, what, in_flight) for what in KINDS]
                    yield framework, NAMES.get(one.sessions, one.sessions), in_flight, cost[0], cost[1]


def table(found: list[tuple[str, str, int, float, float]], conditions: str) -> str:
    lines = [
        "| framework | sessions | in flight | read, µs | write, µs |",
        "|---|---|---|---|---|",
        *(f"| {name} | {how} | {many} | {read:.0f} | {write:.0f} |" for name, how, many, read, write in found),
    ]
    return "\n".join([*lines, "", conditions, ""])


def conditions(rounds: int, count: int) -> str:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    load = os.getloadavg()[0]
    machine = f"{processor()} with {os.cpu_count()} cores and a load of {load:.1f}"
    runs = f"median of {rounds} rounds of {count} requests"
    return f"{datetime.date.today()}: {runs}, CPython {platform.python_version()} on {machine}. {packages}."


def processor() -> str:
    """What kind of machine this is: what the same system calls cost differs with it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def plot(found: list[tuple[str, str, int, float, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    frameworks = [name for name in THEIRS if any(row[0] == name for row in found)]
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for axis, framework in zip(axes.flat, frameworks, strict=False):
        mine = [row for row in found if row[0] == framework][::-1]
        places = range(len(mine))
        labels = [row[1] + (f", {row[2]} in flight" if row[2] > 1 else "") for row in mine]
        for place, row in zip(places, mine, strict=True):
            dark, light = ("#1f6f78", "#7fb7be") if row[1].startswith("Coatroom") else ("#8a8a8a", "#c9c9c9")
            axis.barh(place + 0.2, row[3], 0.38, color=dark)
            axis.barh(place - 0.2, row[4], 0.38, color=light)
            axis.text(row[3], place + 0.2, f" {row[3]:.0f}", va="center", fontsize=7)
            axis.text(row[4], place - 0.2, f" {row[4]:.0f}", va="center", fontsize=7)
        axis.set_yticks(list(places), labels, fontsize=8)
        axis.set_title(framework, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12)
    figure.suptitle(
        "CPU of a request over the same endpoint without a session, µs (dark: read, light: write)", fontsize=11
    )
    figure.savefig(path, dpi=110)


def publish(text: str) -> None:
    page = REPOSITORY / "docs" / "cost.md"
    before, _, rest = page.read_text().partition("<!-- figures -->\n")
    _, mark, after = rest.partition("<!-- end of figures -->")
    page.write_text(f"{before}<!-- figures -->\n{text}{mark}{after}")
    shutil.copy(OUT / "cost.png", page.with_name("cost.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=480, help="requests in a round, a multiple of 32")
    parser.add_argument("--only", choices=list(THEIRS), action="append", help="these frameworks")
    parser.add_argument("--ours", action="store_true", help="leave the others out")
    parser.add_argument("--publish", action="store_true", help="into docs/cost.md too")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    OUT.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        cases = [
            stack.enter_context(case(framework, sessions, redis))
            for framework in args.only or THEIRS
            for sessions in ("bare", *(() if args.ours else THEIRS[framework]), *FLOORS.get(framework, ()), *OURS)
        ]
        measure(cases, args.rounds, args.count)
        for one in cases:
            assert one.process.stdin is not None
            one.process.stdin.close()
    found = list(rows(cases))
    text = table(found, conditions(args.rounds, args.count))
    (OUT / "cost.md").write_text(text)
    plot(found, OUT / "cost.png")
    print(text, f"plot: {OUT.relative_to(REPOSITORY)}/cost.png", sep="\n")
    if args.publish:
        publish(text)


if __name__ == "__main__":
    main()
