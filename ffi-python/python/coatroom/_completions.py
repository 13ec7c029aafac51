"""How an event loop waits for far stores: the work is done on one thread of the native module, which wakes the loop
through one descriptor, however many requests are waiting."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from coatroom import _native

T = TypeVar("T")

LINGER = 2.0
"""Seconds for which the end of a process waits for what was sent to a store."""


class Waker:
    """What one event loop waits for. Held by the loop alone: it goes, and its descriptor with it, when the loop is
    closed."""

    __slots__ = ("__weakref__", "loop", "make", "native", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.native = _native.Completions()
        self.loop = loop
        self.make = loop.create_future
        self.waiting: dict[int, asyncio.Future[None]] = {}
        # In a context of its own, for the loop keeps it: that of the first request would live as long as the loop.
        contextvars.Context().run(loop.add_reader, self.native.fileno(), self.wake)

    def wake(self) -> None:
        numbers = self.native.drain()
        if len(numbers) > 1:
            # Those who wake up now may have more to ask. It is handed over together, once they all have run.
            self.native.hold()
        try:
            for number in numbers:
                future = self.waiting.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(None)
        finally:
            if len(numbers) > 1:
                self.loop.call_soon(self.native.flush)

    def told(self, number: int) -> asyncio.Future[None]:
        """Is done once the work with this number is."""
        future = self.waiting[number] = self.make()
        return future

    def still(self, number: int, future: asyncio.Future[None]) -> asyncio.Future[None]:
        """The same for whoever waits in place of one that was cancelled."""
        return self.told(number) if future.cancelled() else future


def _nobody() -> None:
    return None


class _Last(threading.local):
    """The one that this thread asked for last."""

    waker: Callable[[], Waker | None] = staticmethod(_nobody)


_LAST = _Last()
_WAKERS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Callable[[], Waker | None]]
_WAKERS = weakref.WeakKeyDictionary()


def waker() -> Waker | None:
    """That of the running loop; None where a loop cannot be woken by a descriptor: then a thread does the waiting."""
    loop = asyncio.get_running_loop()
    last = _LAST.waker()
    if last is not None and last.loop is loop:
        return last
    known = _WAKERS.get(loop)
    if known is _nobody:
        return None
    found = known() if known is not None else None
    if found is None:
        try:
            found = Waker(loop)
        except NotImplementedError:
            _WAKERS[loop] = _nobody
            return None
        except OSError:
            # No descriptor is left at the moment.
            return None
        _WAKERS[loop] = weakref.ref(found)
    _LAST.waker = weakref.ref(found)
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
