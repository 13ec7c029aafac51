"""Stores behind a network for the tests: servers of their own, and a gate that holds back what they answer."""

from __future__ import annotations

import contextlib
import importlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import coatroom

REPOSITORY = Path(__file__).parents[2]


def servers() -> Any:
    """How the tests of the apps start Redis and PostgreSQL."""
    sys.path.append(str(REPOSITORY / "tests" / "apps"))
    try:
        return importlib.import_module("servers")
    finally:
        sys.path.pop()


@contextmanager
def postgres(keys: str) -> Iterator[str]:
    """The address of a PostgreSQL with the schema of this release."""

    def is_migrated() -> bool:
        try:
            coatroom.Sessions(address, keys).migrate()
        except coatroom.StoreUnavailable:
            return False  # It is starting up.
        return True

    with servers().postgres() as address:
        assert until(30, is_migrated)
        yield address


def until(seconds: float, claim: Callable[[], bool]) -> bool:
    """Whether a claim comes true within a time."""
    ends = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def threads() -> list[str]:
    """The names of those of this process."""
    names = []
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has ended meanwhile.
            names.append((thread / "comm").read_text().strip())
    return names


class Gate:
    """Passes bytes between clients and one server. While it is shut, questions get through and answers wait; unless it
    is shut to questions too."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_shut_to_questions = False
        self.asked = threading.Event()
        """Whether something was asked since it was shut."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets: list[socket.socket] = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self, to_questions: bool = False) -> None:
        self.is_shut_to_questions = to_questions
        self.asked.clear()
        self.is_open.clear()

    def open(self) -> None:
        self.is_open.set()

    def close(self) -> None:
        self.open()
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                self.sockets += [client, server]
                for one, other, answers in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pass, args=(one, other, answers), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if not answers and not self.is_open.is_set():
                    self.asked.set()
                if answers or self.is_shut_to_questions:
                    self.is_open.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@contextmanager
def gated(address: str) -> Iterator[Gate]:
    """A gate before a Redis server."""
    gate = Gate(int(address.rpartition(":")[2]))
    try:
        yield gate
    finally:
        gate.close()
