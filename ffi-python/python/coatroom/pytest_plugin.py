"""Fixtures for pytest, there as soon as Coatroom is installed.

``coatroom_clock`` stands still until told, ``coatroom_sessions`` are the sessions to give to the application under
test, and ``coatroom_session(client)`` is a client's session to read and write.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Any

import pytest

from coatroom.session import Session
from coatroom.sessions import Sessions
from coatroom.testing import KEYS, ManualClock, session_of

pytest.register_assert_rewrite("coatroom.store_suite")


@pytest.fixture
def coatroom_clock() -> ManualClock:
    """A clock that starts at noon of 1 January 2030, and randomness that is the same for each test."""
    return ManualClock(datetime(2030, 1, 1, 12, tzinfo=timezone.utc), seed=b"the same in each test")


@pytest.fixture
def coatroom_sessions(coatroom_clock: ManualClock) -> Sessions:
    """Sessions in memory, by ``coatroom_clock``, with the default settings. Override this fixture for your own."""
    return Sessions("memory", KEYS, clock=coatroom_clock)


@pytest.fixture
def coatroom_session(coatroom_sessions: Sessions) -> Callable[[Any], AbstractContextManager[Session]]:
    """``with coatroom_session(client) as session``: as :func:`coatroom.testing.session_of`."""
    return lambda client: session_of(client, coatroom_sessions)
