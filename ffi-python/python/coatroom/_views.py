"""Marks on views, for the frameworks whose adapters look at the view before they open the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


def skip(view: View) -> View:
    """Marks a view that has no session: nothing is loaded unless the view asks for it all the same."""
    view.coatroom_skip = True  # type: ignore[attr-defined]
    return view


def in_turn(view: View) -> View:
    """Marks a view whose requests have the session one after the other, whatever ``concurrency`` says."""
    view.coatroom_turn = True  # type: ignore[attr-defined]
    return view


def out_of_turn(view: View) -> View:
    """Marks a view that waits for nobody although ``concurrency`` is ``serial``, such as one that logs out."""
    view.coatroom_turn = False  # type: ignore[attr-defined]
    return view
