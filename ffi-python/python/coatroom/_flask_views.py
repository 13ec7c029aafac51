"""Marks and guards for Flask views, to be written below the route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from flask import session

from coatroom.session import Session

View = TypeVar("View", bound=Callable[..., Any])


Kind = TypeVar("Kind", bound=Mapping[str, object])


def typed_session(kind: type[Kind]) -> Session[Kind]:
    """``flask.session``, which type checkers then know as a Coatroom session whose ``data`` is of this kind."""
    return cast("Session[Any]", session)


def csrf_exempt(view: View) -> View:
    """Marks a view that takes requests from anywhere, such as a web hook that proves itself by other means."""
    view.coatroom_csrf_exempt = True  # type: ignore[attr-defined]
    return view


def require_login(view: View) -> View:
    """Answers 401 unless somebody is logged in."""
    return _guarded(lambda current: current.require_level(0))(view)


# spec: LOGIN-9 c39d
def require_role(role: str) -> Callable[[View], View]:
    """Answers 401 unless somebody is logged in, and 403 unless it is somebody with this role."""
    return _guarded(lambda current: current.require_role(role))


# spec: FRESH-1 a65a
def require_fresh(minutes: float) -> Callable[[View], View]:
    """Answers 401 unless whoever is logged in proved it no longer than so many minutes ago."""
    return _guarded(lambda current: current.require_fresh(minutes))


# spec: FRESH-1 a65a
def require_level(level: int) -> Callable[[View], View]:
    """Answers 401 unless somebody is logged in at this level or a higher one."""
    return _guarded(lambda current: current.require_level(level))


def _guarded(check: Callable[[Session], None]) -> Callable[[View], View]:
    """The view behind a check. Marks that the view has are kept."""

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded_async(*args: Any, **kwargs: Any) -> Any:
                check(cast(Session, session))
                return await view(*args, **kwargs)

            return cast(View, guarded_async)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            check(cast(Session, session))
            return view(*args, **kwargs)

        return cast(View, guarded)

    return decorate
