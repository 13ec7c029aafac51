"""How the driver asks a store of the application, on a thread that may wait or on an event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from coatroom import _native
from coatroom.errors import ConfigError, StoreUnavailable
from coatroom.store import AsyncStore, Conflict, Done, Entered, Full, Store

log = logging.getLogger("coatroom")

Answer: TypeAlias = "tuple[str, Any]"
T = TypeVar("T")

LONGEST = 30.0
"""Seconds after which a loop that was asked from another thread must have stopped."""

INDEX = ("enter", "sessions", "leave", "bar")

ABSENT: dict[str, Answer] = {
    "enter": ("ok", (0, 0, None, None)),
    "leave": ("ok", True),
    "sweep": ("ok", 0),
}
"""What is answered for methods that a store need not have: nobody asks an index that is not there."""


class Asker:
    """A store of the application, as the native module sees it."""

    @classmethod
    def of(cls, store: object) -> Asker | None:
        """None for an address. Whoever keeps sessions of its own beside the application's shares what asks for them."""
        if isinstance(store, (str, Asker)):
            return store if isinstance(store, Asker) else None
        return cls(cast("Store | AsyncStore", store))

    def __init__(self, store: Store | AsyncStore) -> None:
        missing = [name for name in ("load", "swap") if not callable(getattr(store, name, None))]
        if missing:
            raise ConfigError(f"a store of your own needs the methods of coatroom.Store: {missing[0]} is missing")
        present = [name for name in (*INDEX, "load", "swap", "sweep", "scan") if callable(getattr(store, name, None))]
        kinds = {inspect.iscoroutinefunction(getattr(store, name)) for name in present}
        if len(kinds) != 1:
            raise ConfigError("the methods of a store are all `async def`, or none is")
        self.store = store
        self.is_async: bool = kinds.pop()
        self.has = frozenset(present)
        self.has_index = self.has.issuperset(INDEX)
        if not self.has_index and self.has.intersection(INDEX):
            raise ConfigError(f"an index has all of the methods {', '.join(INDEX)}")
        self.loop: asyncio.AbstractEventLoop | None = None
        self.pausing = 0

    # spec: STORE-5 5484
    def ask(self, name: str, arguments: tuple[Any, ...]) -> Answer:
        """Asks from this thread, and waits."""
        if name not in self.has:
            return ABSENT.get(name, ("unavailable", None))
        try:
            answer = getattr(self.store, name)(*arguments)
            return _read(name, self._awaited(answer) if self.is_async else answer)
        except Exception as error:
            return _failed(name, error)

    # spec: STORE-5 5484
    async def ask_on_loop(self, name: str, arguments: tuple[Any, ...]) -> Answer:
        """Asks from the event loop."""
        if name == "pause":
            return await self._pause(*arguments)
        if name not in self.has:
            return ABSENT.get(name, ("unavailable", None))
        try:
            return _read(name, await getattr(self.store, name)(*arguments))
        except Exception as error:
            return _failed(name, error)

    async def drive(self, task: _native.Task) -> _native.Exchange:
        """Runs the driver's own loop, which stops whenever the store is to be asked."""
        self.loop = asyncio.get_running_loop()
        step = task.resume(None)
        while not isinstance(step, _native.Exchange):
            if step[0] == "wait":
                await _woken(task, self.loop)
                step = task.resume(None)
            else:
                step = task.resume(await self.ask_on_loop(*step))
        return step

    async def _pause(self, span: float) -> Answer:
        """The more of this process wait for turns, the less often each of them looks."""
        self.pausing += 1
        try:
            await asyncio.sleep(span + random.uniform(0, 0.001 * self.pausing))
        finally:
            self.pausing -= 1
        return "ok", None

    def _awaited(self, answer: Awaitable[T]) -> T:
        """What an asynchronous store answers to a thread without a loop: its own loop runs elsewhere, or not at all."""

        async def result() -> T:
            return await answer

        if self.loop is not None and self.loop.is_running():
            return asyncio.run_coroutine_threadsafe(result(), self.loop).result(LONGEST)
        return asyncio.run(result())

    def may_be_asked_here(self) -> None:
        """Refuses to wait on the event loop for what the event loop has to do."""
        if self.is_async and _runs_a_loop():
            raise RuntimeError("on an event loop, call this through `await asyncio.to_thread(...)`: the store is async")

    def needs_index(self) -> None:
        if not self.has_index:
            raise ConfigError("this needs a store with the methods of coatroom.store.Index")

    def needs_scan(self) -> None:
        if "scan" not in self.has:
            raise ConfigError("this needs a store with the method of coatroom.store.Scan")


async def _woken(task: _native.Task, loop: asyncio.AbstractEventLoop) -> None:
    """Waits until those of this process who write to the same session, and came first, are done."""
    future: asyncio.Future[None] = loop.create_future()

    def done() -> None:
        if not future.done():
            future.set_result(None)

    task.when_woken(lambda: loop.call_soon_threadsafe(done))
    await future


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _failed(name: str, error: Exception) -> Answer:
    """The text of an error may hold what was asked for: it is shown to nobody."""
    if isinstance(error, StoreUnavailable):
        return "unavailable", None
    log.error("the session store failed: %s raised %s", name, type(error).__name__)
    return ("unknown" if name == "swap" else "unavailable"), None


def _read(name: str, answer: Any) -> Answer:
    return READERS[name](answer)


def _loaded(answer: Any) -> Answer:
    return ("absent", None) if answer is None else ("found", _record(answer))


def _swapped(answer: Any) -> Answer:
    if isinstance(answer, Done):
        return "done", None
    if isinstance(answer, Conflict):
        return "conflict", None if answer.record is None else _record(answer.record)
    raise TypeError("a swap answers Done or Conflict")


def _entered(answer: Any) -> Answer:
    if isinstance(answer, Full):
        return "full", None
    if isinstance(answer, Entered):
        return "ok", (answer.revoked, answer.count, answer.ago, _all_of(answer.before))
    raise TypeError("an entry is answered by Entered or Full")


def _all_of(handles: Sequence[str] | None) -> list[str] | None:
    return None if handles is None else list(handles)


def _record(record: Any) -> bytes:
    if not isinstance(record, (bytes, bytearray, memoryview)):
        raise TypeError("a record is bytes")
    return bytes(record)


READERS: dict[str, Callable[[Any], Answer]] = {
    "load": _loaded,
    "swap": _swapped,
    "enter": _entered,
    "sessions": lambda answer: ("ok", list(answer)),
    "leave": lambda _: ("ok", True),
    "bar": lambda answer: ("ok", int(answer)),
    "scan": lambda answer: ("ok", (list(answer[0]), answer[1])),
    "sweep": lambda answer: ("ok", int(answer)),
}
