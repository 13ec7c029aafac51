"""How an event loop waits for far stores: it watches one descriptor, however many requests are waiting. Over Redis the
work itself is done when the loop finds it readable; over PostgreSQL a thread of the native module does it, and makes it
so."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from coatroom import _native
from coatroom._native import Completions

T = TypeVar("T")

LINGER = 2.0
"""Seconds for which the end of a process waits for what was sent to a store."""


def _nobody() -> None:
    return None


_KNOWN: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Callable[[], Completions | None]]
_KNOWN = weakref.WeakKeyDictionary()


def completions() -> Completions | None:
    """Those of the running loop; None where a loop cannot be woken by a descriptor: then a thread does the waiting."""
    loop = asyncio.get_running_loop()
    known = _KNOWN.get(loop)
    if known is _nobody:
        return None
    found = known() if known is not None else None
    if found is None:
        try:
            found = Completions(loop)
            # In a context of its own, for the loop keeps it: that of the first request would live as long as the loop.
            contextvars.Context().run(loop.add_reader, found.fileno(), found.wake)
        except NotImplementedError:
            _KNOWN[loop] = _nobody
            return None
        except OSError:
            # No descriptor is left at the moment.
            return None
        _KNOWN[loop] = weakref.ref(found)
    found.remember()
    return found


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


_LASTING: set[asyncio.Task[Any]] = set()


def lasting(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that goes on when whoever waits for it is cancelled."""
    task = asyncio.get_running_loop().create_task(work)
    _LASTING.add(task)
    task.add_done_callback(_LASTING.discard)
    return task


atexit.register(_native.settle, LINGER)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_native.forked)
