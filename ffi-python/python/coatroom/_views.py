"""Marks on views, for the frameworks whose adapters look at the view before they open the session."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

View = TypeVar("View", bound=Callable[..., Any])


def skip(view: View) -> View:
    """Marks a view that has no session: nothing is loaded unless the view asks for it all the same."""
    view.coatroom_skip = True  # type: ignore[attr-defined]
    return view


def guarded(view: View, refused: Callable[..., Any]) -> View:
    """The view behind a check that sees the same arguments: what it returns, unless it is None, is the answer."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def guarded_async(*args: Any, **kwargs: Any) -> Any:
            answer = refused(*args, **kwargs)
            return await view(*args, **kwargs) if answer is None else answer

        return cast(View, guarded_async)

    @wraps(view)
    def guarded_view(*args: Any, **kwargs: Any) -> Any:
        answer = refused(*args, **kwargs)
        return view(*args, **kwargs) if answer is None else answer

    return cast(View, guarded_view)


def in_turn(view: View) -> View:
    """Marks a view whose requests have the session one after the other, whatever ``concurrency`` says."""
    view.coatroom_turn = True  # type: ignore[attr-defined]
    return view


def out_of_turn(view: View) -> View:
    """Marks a view that waits for nobody although ``concurrency`` is ``serial``, such as one that logs out."""
    view.coatroom_turn = False  # type: ignore[attr-defined]
    return view


def readonly(view: View) -> View:
    """Marks a view that only reads the session, such as one that a page polls: it waits for no turn, rotates no id and
    sets no cookie, and a write in it is an error."""
    view.coatroom_readonly = True  # type: ignore[attr-defined]
    view.coatroom_turn = False  # type: ignore[attr-defined]
    return view
