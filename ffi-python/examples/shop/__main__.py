"""Serves the shop on 127.0.0.1 until Ctrl-C: python examples/shop [--port N] [--db FILE] [--store redis]."""

from __future__ import annotations

import argparse
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import coatroom

PACKAGE = Path(__file__).resolve().parent


def default_database() -> Path:
    """SHOP_DB, or a file in the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(os.environ.get("SHOP_DB") or f"{state}/coatroom-shop/shop.db").expanduser()


def start_redis(folder: Path) -> str:
    """Starts a Redis server that ends with the shop and keeps nothing; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        "redis-server",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
    ]
    try:
        subprocess.Popen([*command, "--dir", str(folder), "--loglevel", "warning"], stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        sys.exit("The shop stays closed: redis-server is missing, and scripts/need servers installs it")
    return f"redis://127.0.0.1:{port}"


def main() -> None:
    """Becomes gunicorn, in this process."""
    parser = argparse.ArgumentParser(prog="shop", description="A small shop that shows what Coatroom does.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--db", type=Path, default=default_database(), help="the SQLite file of the sessions")
    parser.add_argument(
        "--store", choices=("sqlite", "redis"), default="sqlite", help="redis starts a server of its own"
    )
    flags = parser.parse_args()
    database = flags.db.absolute()
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ.update(SHOP_DB=str(database), SHOP_PORT=str(flags.port))
    place: object = database
    if flags.store == "redis":
        place = os.environ["SHOP_STORE"] = start_redis(database.parent)
    print(f"The shop is open on http://127.0.0.1:{flags.port} (sessions in {place}). Ctrl-C closes it.", flush=True)
    sys.path.insert(0, str(PACKAGE.parent))
    sys.argv = ["gunicorn", "--config", f"python:{PACKAGE.name}.serving", f"{PACKAGE.name}.app:create_app()"]
    try:
        runpy.run_module("gunicorn", run_name="__main__")
    except coatroom.ConfigError as error:
        sys.exit(f"The shop stays closed: {error}")


if __name__ == "__main__":
    main()
