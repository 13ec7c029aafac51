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
def postgres(folder: Path) -> Iterator[str]:
    """A server with an empty database; its address. PostgreSQL refuses to run as root, so root lends it a user."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    as_user: list[str] = []
    data = folder / "data"
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        data.mkdir()
        os.chown(data, user.pw_uid, user.pw_gid)
        # The folders above have to let it through.
        for above in (folder, *folder.parents):
            if above.stat().st_uid == 0 and above != Path("/"):
                above.chmod(above.stat().st_mode | 0o111)
    initdb = [*as_user, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True)
    port = free_port()
    command = [*as_user, str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", "", "-h", "127.0.0.1"]
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
