"""How an event loop waits for far stores: it watches one descriptor, however many requests are waiting. Over Redis the
work itself is done when the loop finds it readable; over PostgreSQL a thread of the native module does it, and makes it
so."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from coatroom import _native

T = TypeVar("T")

LINGER = 2.0
"""Seconds for which the end of a process waits for what was sent to a store."""


class Told:
    """What waits for one piece of work. The task that yields it to its loop goes on in the very turn of the loop that
    tells it; a future would have it go on in the next.

    Future-like as :func:`asyncio.isfuture` has it.
    """

    __slots__ = ("_asyncio_future_blocking", "callback", "context", "is_done", "loop", "reason", "was_cancelled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self.loop = loop
        self.callback: Callable[[Told], object] | None = None
        self.context: contextvars.Context | None = None
        self.is_done = self.was_cancelled = False
        self.reason: object = None

    def tell(self) -> None:
        """The work is done."""
        if self.is_done:
            return
        self.is_done = True
        callback, self.callback = self.callback, None
        if callback is not None and self.context is not None:
            self.context.run(callback, self)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    def add_done_callback(self, callback: Callable[[Told], object], *, context: contextvars.Context) -> None:
        self.callback = callback
        self.context = context

    def cancel(self, msg: object = None) -> bool:
        if self.is_done:
            return False
        self.is_done = self.was_cancelled = True
        self.reason = msg
        if self.callback is not None:
            self.loop.call_soon(self.callback, self, context=self.context)
        return True

    def result(self) -> None:
        if self.was_cancelled:
            # Cancel scopes know their own cancellations by this.
            raise asyncio.CancelledError() if self.reason is None else asyncio.CancelledError(self.reason)


class Work(Told):
    """Is awaited until it is done."""

    __slots__ = ()

    def __await__(self) -> Generator[Told, None, None]:
        if not self.is_done:
            self._asyncio_future_blocking = True
            yield self
        self.result()


class Waker:
    """What one event loop waits for. Held by the loop alone: it goes, and its descriptor with it, when the loop is
    closed."""

    __slots__ = ("__weakref__", "loop", "native", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.native = _native.Completions()
        self.loop = loop
        self.waiting: dict[int, Told] = {}
        # In a context of its own, for the loop keeps it: that of the first request would live as long as the loop.
        contextvars.Context().run(loop.add_reader, self.native.fileno(), self.wake)

    def wake(self) -> None:
        self.tell(self.native.drain())

    def tell(self, numbers: list[int]) -> None:
        if len(numbers) > 1:
            # Those who wake up now may have more to ask. It is handed over together, once they all have run.
            self.native.hold()
        rest = iter(numbers)
        try:
            for number in rest:
                told = self.waiting.pop(number, None)
                if told is not None:
                    told.tell()
        finally:
            if len(numbers) > 1:
                self.native.flush()
            # Somebody has stopped the program.
            left = list(rest)
            if left:
                self.loop.call_soon(self.tell, left)

    def work(self, number: int) -> Work:
        """Is done once the work with this number is."""
        work = self.waiting[number] = Work(self.loop)
        return work

    def rest(self, number: int, told: Told) -> Work:
        """The same for whoever waits in place of ``told``, which was cancelled."""
        if told.is_done and not told.was_cancelled:
            work = Work(self.loop)
            work.tell()
            return work
        return self.work(number)


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
