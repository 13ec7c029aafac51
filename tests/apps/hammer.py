"""Hammers the conformance apps with damaged cookies: hammer.py --minutes M.

Two servers run for each app. One has a healthy store. The other has lost its store, so a request that reaches it is
answered 503: a damaged cookie that gets as far would be seen. Neither may answer 5xx or set a cookie.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import string
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harness import LOGIN, VISITOR, Browser, Reply, Server, exchange

APPS = ("flask", "django", "starlette", "fastapi", "litestar")
ALPHABET = string.ascii_letters + string.digits + "-_"
CLIENTS = 2
SHOWN_FINDINGS = 5


def _flipped(dice: random.Random, genuine: str) -> str:
    at = dice.randrange(len(genuine))
    other = dice.choice([letter for letter in ALPHABET if letter != genuine[at]])
    return genuine[:at] + other + genuine[at + 1 :]


def _cut(dice: random.Random, genuine: str) -> str:
    return genuine[: dice.randrange(len(genuine))]


def _grown(dice: random.Random, genuine: str) -> str:
    return genuine + "".join(dice.choices(ALPHABET + "=", k=dice.randint(1, 40)))


def _swapped(dice: random.Random, genuine: str) -> str:
    at = dice.randrange(1, len(genuine))
    turned = genuine[at:] + genuine[:at]
    return turned if turned != genuine else ""


def _spoiled(dice: random.Random, genuine: str) -> str:
    at = dice.randrange(len(genuine))
    return genuine[:at] + dice.choice("%\"'\\=+/,~ \t\x7f\xff\xc3\x80é") + genuine[at + 1 :]


def _letters(dice: random.Random, genuine: str) -> str:
    return "".join(dice.choices(ALPHABET, k=dice.choice([0, 1, 16, len(genuine) - 1, len(genuine), len(genuine) + 1])))


def _noise(dice: random.Random, _genuine: str) -> str:
    return "".join(chr(dice.choice([9, *range(32, 256)])) for _ in range(dice.randint(0, 300)))


def _huge(dice: random.Random, genuine: str) -> str:
    return (genuine + "A") * dice.choice([10, 45, 85, 700])


DAMAGES = (_flipped, _cut, _grown, _swapped, _spoiled, _letters, _noise, _huge)


def damaged_header(dice: random.Random, genuine: str) -> str:
    """A Cookie header in which no cookie is the genuine one."""
    if dice.random() < 0.05:
        return _noise(dice, genuine)
    return dice.choice(["; ", ";", ";;", " ; "]).join(_damaged_pairs(dice, genuine))


def _damaged_pairs(dice: random.Random, genuine: str) -> Iterator[str]:
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        yield f"{dice.choice([LOGIN, VISITOR])}={dice.choice(DAMAGES)(dice, genuine)}"
    if dice.random() < 0.1:
        twice = dice.choice([LOGIN, VISITOR])
        yield from [f"{twice}={genuine}"] * 2
    if dice.random() < 0.1:
        yield from (f"filler{number}=x" for number in range(dice.choice([5, 200])))


@dataclass
class Tally:
    """What the servers answered, and every answer that they should not have given."""

    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, header: str, reply: Reply | None) -> None:
        """Counts one answer. No answer at all is a refusal by the server in front, as for a huge header."""
        status = reply.status if reply else 0
        with self._lock:
            self.statuses[status] += 1
            if reply and (status >= 500 or reply.set_cookies or _someone(reply)):
                self.findings.append(f"{status} {reply.set_cookies} {reply.body[:120]!r} for {header[:400]!r}")


def _someone(reply: Reply) -> bool:
    return reply.status == 200 and reply.json() != {"user": None, "views": 0, "keys": {}}


class Client:
    """One connection, opened again when the server closes it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def me(self, header: str) -> Reply | None:
        """GET /me with a Cookie header of any bytes."""
        try:
            self._connection.putrequest("GET", "/me")
            self._connection.putheader("Cookie", header.encode("latin-1"))
            self._connection.endheaders()
            response = self._connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            return None

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def hammer(port: int, genuine: str, seconds: float, seed: int, tally: Tally) -> None:
    """Sends damaged cookies with several clients for a time."""
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        with contextlib.closing(Client(port)) as connection:
            while time.monotonic() < end:
                header = damaged_header(dice, genuine)
                tally.note(header, connection.me(header))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


def lose_the_store(database: Path) -> None:
    """Puts a foreign file in the place of a store that was not opened yet: whoever asks for it is answered 503."""
    database.write_bytes(b"this is no database. " * 100)


def reaches_the_store(port: int, identity: str) -> bool:
    """Whether an id makes a server that lost its store ask for it."""
    return exchange(port, "GET", "/me", {"Cookie": f"{LOGIN}={identity}"}).status == 503


@dataclass
class Run:
    """One app under the hammer: a server with a healthy store, and one that lost its store."""

    app: str
    seconds: float
    seed: int
    tallies: dict[str, Tally] = field(default_factory=dict)

    def __call__(self, folder: Path) -> Run:
        """Hammers both servers at the same time."""
        lost = folder / f"{self.app}-lost.db"
        with (
            Server(self.app, "--store", f"sqlite:{folder / self.app}.db", "--workers", "2") as healthy,
            Server(self.app, "--store", f"sqlite:{lost}") as storeless,
        ):
            genuine = healthy.browser().login("ada").cookies[LOGIN]
            lose_the_store(lost)
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda server: self._hammer(server, genuine), (healthy, storeless)))
            self._check(healthy, storeless, genuine)
        return self

    def _hammer(self, server: Server, genuine: str) -> None:
        workers = server.workers()
        tally = self.tallies.setdefault(f"{self.app} {server.port}", Tally())
        hammer(server.port, genuine, self.seconds, self.seed, tally)
        if server.workers() != workers:
            tally.findings.append("a worker was lost")

    def _check(self, healthy: Server, storeless: Server, genuine: str) -> None:
        control = self.tallies.setdefault(f"{self.app} afterwards", Tally())
        if Browser(healthy.port, {LOGIN: genuine}).me()["user"] != "ada":
            control.findings.append("the genuine session is gone")
        if not reaches_the_store(storeless.port, genuine):
            control.findings.append("the genuine id did not reach the store, so nothing was shown")

    @property
    def findings(self) -> list[str]:
        """Everything that should not have been answered."""
        return [f"{name}: {finding}" for name, tally in self.tallies.items() for finding in tally.findings]


def main() -> None:
    """Hammers every app for the time asked for; ends with status 1 if anything was found."""
    parser = argparse.ArgumentParser(description="Hammers the conformance apps with damaged cookies.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    flags = parser.parse_args()
    print(f"seed {flags.seed}", flush=True)
    runs = [Run(app, flags.minutes * 60, flags.seed) for app in APPS]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(lambda run: run(Path(folder)), runs))
    sys.exit(report(runs))


def report(runs: list[Run]) -> int:
    """Prints counts and findings; the exit status."""
    for run in runs:
        for name, tally in run.tallies.items():
            if not tally.statuses:
                continue
            print(f"{name}: {sum(tally.statuses.values())} requests, by status {dict(sorted(tally.statuses.items()))}")
    findings = [finding for run in runs for finding in run.findings]
    for finding in findings[:SHOWN_FINDINGS]:
        print(finding)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    main()
