"""Serves the shop on 127.0.0.1 until Ctrl-C: python examples/shop [--port N] [--framework django]."""

from __future__ import annotations

import argparse
import importlib
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import coatroom
import uvicorn

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


def serve_asynchronously(app: str, port: int) -> None:
    """Becomes uvicorn, in this process."""
    importlib.import_module(app).create_app()
    uvicorn.run(f"{app}:create_app", factory=True, host="127.0.0.1", port=port, workers=2, log_level="warning")


def main() -> None:
    """Becomes the server, in this process."""
    parser = argparse.ArgumentParser(prog="shop", description="A small shop that shows what Coatroom does.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--db", type=Path, default=default_database(), help="the SQLite file of the sessions")
    parser.add_argument(
        "--store", choices=("sqlite", "redis"), default="sqlite", help="redis starts a server of its own"
    )
    parser.add_argument(
        "--stateless",
        choices=("", "alone", "deny", "until-login"),
        nargs="?",
        const="alone",
        default="",
        help="sessions live in their cookies: alone, with a deny list in the store, or until somebody logs in",
    )
    parser.add_argument("--framework", choices=("flask", "django", "fastapi"), default="flask")
    flags = parser.parse_args()
    database = flags.db.absolute()
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ.update(SHOP_DB=str(database), SHOP_PORT=str(flags.port))
    place: object = database
    if flags.store == "redis":
        place = os.environ["SHOP_STORE"] = start_redis(database.parent)
    if flags.stateless:
        os.environ["SHOP_STATELESS"] = flags.stateless
        # All workers seal with it, and there may be no store to keep it beside.
        os.environ.setdefault("COATROOM_KEYS", coatroom.Sessions.new_key(1))
        place = {"alone": "cookies", "deny": f"cookies, with a deny list in {place}"}.get(
            flags.stateless, f"cookies until login, then in {place}"
        )
    address = f"http://127.0.0.1:{flags.port}"
    print(f"The shop is open on {address} ({flags.framework}, sessions in {place}). Ctrl-C closes it.", flush=True)
    sys.path.insert(0, str(PACKAGE.parent))
    app = f"{PACKAGE.name}.{flags.framework}_app"
    try:
        if flags.framework == "fastapi":
            serve_asynchronously(app, flags.port)
        else:
            sys.argv = ["gunicorn", "--config", f"python:{PACKAGE.name}.serving", f"{app}:create_app()"]
            runpy.run_module("gunicorn", run_name="__main__")
    except coatroom.ConfigError as error:
        sys.exit(f"The shop stays closed: {error}")


if __name__ == "__main__":
    main()
