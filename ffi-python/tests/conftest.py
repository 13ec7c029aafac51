"""Fixtures: a test ring, a clock that stands still, and an application for each adapter."""

from __future__ import annotations

import base64

import coatroom
import pytest
from coatroom.testing import ManualClock

TEST_KEYS = "1:" + base64.urlsafe_b64encode(b"obviously a test key, not a secret!").decode().rstrip("=")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sessions(clock: ManualClock) -> coatroom.Sessions:
    return coatroom.Sessions("memory", TEST_KEYS, clock=clock)


class Browser:
    """Keeps cookies as a browser does, as far as names and removal go."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    @property
    def header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def take(self, lines: list[str]) -> None:
        for line in lines:
            name, _, rest = line.partition("=")
            if "Max-Age=0" in rest:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = rest.partition(";")[0]


@pytest.fixture
def browser() -> Browser:
    return Browser()
