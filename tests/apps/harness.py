"""Servers and browsers for the tests of the conformance apps: the standard library only."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlencode

RUN = Path(__file__).parent / "run"
LOGIN, VISITOR = "__Host-id", "__Host-visitor"

#: Characters of a session id.
ID_LENGTH = 88
#: Characters of the handle, its public front part.
HANDLE_LENGTH = 16

START_SECONDS = 120.0
STOP_SECONDS = 15.0
REPLY_SECONDS = 30.0

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """One response, read to its end."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        """Every value of one header."""
        return [value for header, value in self.headers if header.lower() == name.lower()]

    @property
    def set_cookies(self) -> list[str]:
        """The Set-Cookie headers."""
        return self.all("Set-Cookie")


@dataclass
class Browser:
    """A cookie jar for one server. It keeps Secure cookies although loopback is plain http."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, path: str, **parameters: object) -> Reply:
        """GET with the jar's cookies."""
        return self.send("GET", path, **parameters)

    def post(self, path: str, **parameters: object) -> Reply:
        """POST with the jar's cookies."""
        return self.send("POST", path, **parameters)

    def send(self, method: str, path: str, **parameters: object) -> Reply:
        """Sends one request on a connection of its own and keeps the cookies of the reply."""
        with self._lock:
            header = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = exchange(self.port, method, target(path, **parameters), {"Cookie": header} if header else {})
        with self._lock:
            for line in reply.set_cookies:
                self._keep(line)
        return reply

    def me(self) -> dict[str, Any]:
        """What the server believes about this browser."""
        reply = self.get("/me")
        assert reply.status == 200, reply
        answer: dict[str, Any] = reply.json()
        return answer

    def must(self, path: str, **parameters: object) -> Any:
        """POST that has to be acknowledged."""
        reply = self.post(path, **parameters)
        assert reply.status == 200, reply
        return reply.json()

    def login(self, user: str) -> Browser:
        """Logs in and presents the new id once, as a browser does with its next request."""
        self.must("/login", user=user)
        assert self.me()["user"] == user
        return self

    def copy(self) -> Browser:
        """A second client with the same cookies, as a thief or a slow tab has them."""
        return Browser(self.port, dict(self.cookies))

    def _keep(self, line: str) -> None:
        pair, *attributes = line.split(";")
        name, _, value = pair.partition("=")
        removed = any(attribute.strip().lower() == "max-age=0" for attribute in attributes)
        if removed:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def target(path: str, **parameters: object) -> str:
    """Path and query."""
    return f"{path}?{urlencode(parameters)}" if parameters else path


def exchange(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REPLY_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.getheaders(), response.read())


def together(count: int, task: Callable[[int], T]) -> list[T]:
    """Runs a task in `count` threads that all start at once."""
    barrier = threading.Barrier(count)

    def start(number: int) -> T:
        barrier.wait()
        return task(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def until(seconds: float, claim: Callable[[], bool]) -> bool:
    """Whether a claim comes true within a time."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    """A port that nobody listens on at the moment, and that no outgoing connection is given meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


class Server:
    """One conformance app in a process group of its own, ended with the `with` block."""

    def __init__(self, name: str, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.port = free_port()
        self._command = [str(RUN), name, "--port", str(self.port), *flags]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the app and waits until it answers."""
        self._process = subprocess.Popen(self._command, env=self._environment, start_new_session=True)
        if not until(START_SECONDS, lambda: self._process_ended() or self.answers()) or self._process_ended():
            self.stop()
            raise RuntimeError(f"no answer from {' '.join(self._command)}")

    def stop(self) -> None:
        """Asks the app to end; ends its process group if it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def browser(self) -> Browser:
        """A browser without cookies."""
        return Browser(self.port)

    def workers(self) -> list[int]:
        """The processes that answer requests: those below the first, helpers of the interpreter left out."""
        return [pid for pid in children(self.pid) if not _is_helper(pid)]

    def _process_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def answers(self) -> bool:
        """Whether somebody replies."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return exchange(self.port, "GET", "/me").status == 200
        return False


def _is_helper(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return True


@contextlib.contextmanager
def background(task: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Starts a task in a thread; the yielded call waits for its result."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(task).result


def refusal(name: str, *flags: str) -> tuple[int, str]:
    """Exit status and error text of a launcher call that is expected to refuse."""
    command: Sequence[str] = [str(RUN), name, "--port", str(free_port()), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    return done.returncode, done.stderr
