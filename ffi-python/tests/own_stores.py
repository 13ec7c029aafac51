"""Stores for the tests of `coatroom.Store`: a dict, the stores of the wheel, and a Redis server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coatroom import _native
from coatroom.store import Conflict, Done, Entered, Entry, Full, Swap, Swapped, stamp_of

START_SECONDS = 30


class Dict:
    """A store without an index, of one process."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def load(self, handle: str) -> bytes | None:
        return self.records.get(handle)

    def swap(self, swap: Swap) -> Swapped:
        with self.lock:
            stored = self.records.get(swap.handle)
            if (None if stored is None else stamp_of(stored)) != swap.expected:
                return Conflict(stored)
            if swap.record is None:
                del self.records[swap.handle]
            else:
                self.records[swap.handle] = swap.record
            return Done()


class AsyncDict:
    """The same for an event loop."""

    def __init__(self) -> None:
        self.inner = Dict()

    async def load(self, handle: str) -> bytes | None:
        return self.inner.load(handle)

    async def swap(self, swap: Swap) -> Swapped:
        return self.inner.swap(swap)


class Wheel:
    """A store of the wheel, as if it were the application's."""

    def __init__(self, address: str) -> None:
        self.raw = _native.Raw(address)

    def load(self, handle: str) -> bytes | None:
        return self.raw.load(handle)

    def swap(self, swap: Swap) -> Swapped:
        done, stored = self.raw.swap(swap.handle, swap.expected, swap.record, swap.durable, swap.garbage_at)
        return Done() if done else Conflict(stored)

    def enter(self, entry: Entry) -> Entered | Full:
        answer = self.raw.enter(entry.principal, entry.handle, entry.until, entry.now, entry.at_most, entry.names)
        return Full() if answer is None else Entered(*answer)

    def sessions(self, principal: str) -> Sequence[str]:
        return self.raw.sessions(principal)

    def leave(self, principal: str, handle: str) -> None:
        self.raw.leave(principal, handle)

    def bar(self, principal: str, now: int) -> int:
        return self.raw.bar(principal, now)

    def sweep(self, now: int, most: int) -> int:
        return self.raw.sweep(now, most)

    def scan(self, place: bytes | None, most: int) -> tuple[Sequence[str], bytes | None]:
        return self.raw.scan(place, most)


class AsyncWheel:
    """The same for an event loop."""

    def __init__(self, address: str) -> None:
        self.inner = Wheel(address)

    async def load(self, handle: str) -> bytes | None:
        return self.inner.load(handle)

    async def swap(self, swap: Swap) -> Swapped:
        return self.inner.swap(swap)

    async def enter(self, entry: Entry) -> Entered | Full:
        return self.inner.enter(entry)

    async def sessions(self, principal: str) -> Sequence[str]:
        return self.inner.sessions(principal)

    async def leave(self, principal: str, handle: str) -> None:
        self.inner.leave(principal, handle)

    async def bar(self, principal: str, now: int) -> int:
        return self.inner.bar(principal, now)

    async def sweep(self, now: int, most: int) -> int:
        return self.inner.sweep(now, most)

    async def scan(self, place: bytes | None, most: int) -> tuple[Sequence[str], bytes | None]:
        return self.inner.scan(place, most)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A server on loopback that writes nothing to disk; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is missing: scripts/need servers")
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        started = time.monotonic()
        while not _listens(port):
            if server.poll() is not None or time.monotonic() - started > START_SECONDS:
                raise RuntimeError("no answer from redis-server")
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
