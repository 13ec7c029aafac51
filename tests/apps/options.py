"""Flags, policy and parameters that the Python conformance apps share."""

from __future__ import annotations

import argparse
import base64
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import coatroom

#: One fixed ring, so that several servers, and several runs, accept each other's ids.
TEST_RING = "1:" + base64.urlsafe_b64encode(b"obviously a test key, not a secret!").decode().rstrip("=")

#: Worker processes import the app anew: they find the command line here.
FLAGS = "COATROOM_APP_FLAGS"

LONGEST_PAUSE_MS = 60_000

Concurrency = Literal["merge", "strict", "serial"]


class BadParameterError(Exception):
    """The request lacks a parameter, or has one that means nothing."""


@dataclass(frozen=True)
class Options:
    """The command line of a conformance app."""

    port: int
    store: str
    workers: int
    concurrency: Concurrency
    idle_seconds: float | None
    absolute_seconds: float | None
    grace_seconds: float | None
    rotate_seconds: float | None
    lease_seconds: float | None
    skew_seconds: float | None

    def sessions(self) -> coatroom.Sessions | None:
        """The session layer, or None for the baseline without one."""
        if self.store == "none":
            return None
        own_ring = os.environ.get("COATROOM_KEYS") or os.environ.get("COATROOM_KEYS_FILE")
        return coatroom.Sessions(
            store=self.store,
            keys=None if own_ring else TEST_RING,
            concurrency=self.concurrency,
            **self._limits(),
        )

    def _limits(self) -> dict[str, Any]:
        limits: dict[str, Any] = {}
        if self.idle_seconds is not None:
            limits["idle"] = self.idle_seconds
        if self.absolute_seconds is not None:
            limits["absolute"] = self.absolute_seconds
        if self.rotate_seconds is not None:
            limits["rotate_every"] = self.rotate_seconds
        if self.grace_seconds is not None:
            limits["grace"] = self.grace_seconds
            limits["skew"] = min(5.0, self.grace_seconds / 4)
        if self.lease_seconds is not None:
            limits["lease"] = self.lease_seconds
        if self.skew_seconds is not None:
            limits["skew"] = self.skew_seconds
        return limits


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"run {name}", description=f"Conformance app on {name}, on 127.0.0.1 only.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--store",
        default="memory",
        help="memory | sqlite:PATH | file:PATH | redis://... | postgres://... | cookie | cookie+deny:STORE |"
        " cookie-until-login+STORE | none (no session layer)",
    )
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--concurrency", choices=("merge", "strict", "serial"), default="merge")
    for limit in ("idle", "absolute", "grace", "rotate", "lease", "skew"):
        parser.add_argument(f"--{limit}-seconds", type=float, help="fractions allowed")
    return parser


def parse(name: str, argv: Sequence[str]) -> Options:
    """Parses a command line; ends the process if it makes no sense."""
    parser = _parser(name)
    options = Options(**vars(parser.parse_args(argv)))
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    if options.store == "memory" and options.workers > 1:
        parser.error("--store memory belongs to one process: use --workers 1 or --store sqlite:PATH")
    return options


def start(name: str) -> Options:
    """Reads the command line, refuses a wrong policy before any worker starts, and hands the flags to the workers."""
    options = parse(name, sys.argv[1:])
    try:
        sessions = options.sessions()
        if sessions is not None:
            sessions.migrate()
    except coatroom.ConfigError as error:
        sys.exit(f"run {name}: {error}")
    os.environ[FLAGS] = shlex.join(sys.argv[1:])
    return options


def inherited(name: str) -> Options:
    """The options of the process that started this worker."""
    return parse(name, shlex.split(os.environ[FLAGS]))


def text(parameters: Mapping[str, str], name: str) -> str:
    """A parameter that must be there."""
    value = parameters.get(name, "")
    if not value:
        raise BadParameterError(f"the parameter {name} is missing")
    return value


def key(parameters: Mapping[str, str]) -> str:
    """The key of /set; the counter has its own calls."""
    name = text(parameters, "k")
    if name == "views":
        raise BadParameterError("the key views belongs to /incr and /add")
    return name


def pause_seconds(parameters: Mapping[str, str]) -> float:
    """The pause asked for with ms=N."""
    value = parameters.get("ms", "0")
    if not (value.isascii() and value.isdecimal()) or int(value) > LONGEST_PAUSE_MS:
        raise BadParameterError(f"ms must be a whole number from 0 to {LONGEST_PAUSE_MS}")
    return int(value) / 1000


def devices(devices: Sequence[coatroom.Device]) -> dict[str, Any]:
    """The reply of /sessions."""
    return {"sessions": [{"handle": device.handle, "this": device.is_this} for device in devices]}


def me(user: str | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """The reply of /me."""
    others = {name: values[name] for name in values if name != "views"}
    return {"user": user, "views": values.get("views", 0), "keys": others}
