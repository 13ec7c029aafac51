"""Redis and PostgreSQL for the tests of the apps: on loopback, on free ports, ended by process id."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import free_port, until

START_SECONDS = 30


@contextmanager
def redis(folder: Path, *options: str) -> Iterator[str]:
    """A server that writes nothing to disk; its address."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with _running([*command, "--logfile", str(folder / "redis.log"), *options], port):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def postgres() -> Iterator[str]:
    """A server with an empty database; its address. PostgreSQL refuses to run as root, so root lends it a user."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    as_user: list[str] = []
    # Not below pytest's folder, which another run of pytest closes to every other user.
    with TemporaryDirectory(prefix="coatroom-postgres-") as data:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            os.chown(data, user.pw_uid, user.pw_gid)
        initdb = [*as_user, str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]
        made = subprocess.run(initdb, check=False, capture_output=True, text=True)
        if made.returncode != 0:
            raise RuntimeError(made.stderr)
        port = free_port()
        command = [*as_user, str(programs / "postgres"), "-D", data, "-p", str(port), "-k", "", "-h", "127.0.0.1"]
        with _running(command, port):
            yield f"postgres://postgres@127.0.0.1:{port}/postgres"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    program = command[0]
    if shutil.which(program) is None:
        raise RuntimeError(f"{program} is missing: scripts/need servers")
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not until(START_SECONDS, lambda: server.poll() is not None or _listens(port)) or server.poll() is not None:
            raise RuntimeError(f"no answer from {' '.join(command)}")
        yield
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
