"""Fixtures: every test runs against every app, each under its real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness import Browser, Server
from places import DOES_NOT_APPLY, PLACES

Serve = Callable[..., Server]


@pytest.fixture(scope="session", params=["flask", "django", "starlette", "fastapi", "litestar", "kotlin", "swift"])
def app(request: pytest.FixtureRequest) -> str:
    """The name of the app under test."""
    name: str = request.param
    return name


@pytest.fixture(scope="session", params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Where the sessions of the shared server live."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def shared(app: str, place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers with the default policy, for all tests that disturb nobody: on one SQLite file, on cookies alone, and
    on cookies with a deny list in one."""
    database = f"sqlite:{tmp_path_factory.mktemp(app) / 'sessions.db'}"
    store = {"store": database, "cookie": "cookie", "cookie+deny": f"cookie+deny:{database}"}[place]
    with Server(app, "--store", store, "--workers", "2") as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What does not apply to a place has to fail there."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        place = parameters.params.get("place", "store") if parameters else "store"
        reason = DOES_NOT_APPLY[place].get(getattr(item, "originalname", ""))
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


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
