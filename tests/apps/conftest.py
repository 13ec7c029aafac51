"""Fixtures: every test runs against every app, each under its real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import Browser, Server

Serve = Callable[..., Server]


@pytest.fixture(scope="session", params=["flask", "django", "starlette", "fastapi", "litestar"])
def app(request: pytest.FixtureRequest) -> str:
    """The name of the app under test."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def shared(app: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers on one SQLite file with the default policy, for all tests that disturb nobody."""
    database = tmp_path_factory.mktemp(app) / "sessions.db"
    with Server(app, "--store", f"sqlite:{database}", "--workers", "2") as server:
        yield server


@pytest.fixture
def browser(shared: Server) -> Browser:
    """A browser without cookies at the shared server."""
    return shared.browser()


@pytest.fixture
def serve(app: str) -> Iterator[Serve]:
    """Starts servers of the app under test with flags of their own."""
    with ExitStack() as stack:
        yield lambda *flags: stack.enter_context(Server(app, *flags))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a SQLite store may be made."""
    return tmp_path / "sessions.db"
