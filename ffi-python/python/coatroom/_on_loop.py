"""Exchanges on an event loop, which they never hold up."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from coatroom._completions import in_thread, lasting, waker
from coatroom._events import not_opened, tell
from coatroom.errors import CoatroomError
from coatroom.session import Session
from coatroom.sessions import Sessions

if TYPE_CHECKING:
    from coatroom._completions import Told
    from coatroom._native import Exchange
    from coatroom._native import Sessions as Native
    from coatroom._own import Asker


def open_at_once(sessions: Sessions, cookies: bytes | str) -> Exchange:
    """Opens an exchange over a store that answers at once, and waits for nobody's turn."""
    try:
        return sessions._native.open(cookies)
    except CoatroomError as error:
        not_opened(sessions, error)
        raise


async def open_on_loop(sessions: Sessions, cookies: bytes | str, in_turn: bool) -> Exchange:
    """Opens an exchange."""
    native = sessions._native
    try:
        own = sessions._own
        if own is not None and own.is_async:
            return await _open_own(own, sessions, cookies, in_turn)
        woken = waker() if sessions._is_far else None
        if woken is not None:
            exchange, number = woken.native.open(native, cookies, in_turn)
            if number is not None:
                told = woken.told(number)
                try:
                    await told
                except asyncio.CancelledError:
                    if in_turn:
                        # The turn may have been taken by then.
                        lasting(_give_back(woken.still(number, told), exchange, sessions))
                    raise
            exchange.opens()
            return exchange
        if native.waits():
            return await in_thread(native.open, cookies, in_turn)
        return await _open_in_turn(native, cookies) if in_turn else native.open(cookies)
    except CoatroomError as error:
        not_opened(sessions, error)
        raise


async def _open_own(own: Asker, sessions: Sessions, cookies: bytes | str, in_turn: bool) -> Exchange:
    opens = own.drive(sessions._native.opening(cookies, in_turn))
    if not in_turn:
        exchange = await opens
    else:
        task = lasting(opens)
        try:
            exchange = await asyncio.shield(task)
        except asyncio.CancelledError:
            # The turn may have been taken by then.
            lasting(_give_back_own(task, sessions))
            raise
    exchange.opens()
    return exchange


async def _give_back_own(opened: asyncio.Task[Exchange], sessions: Sessions) -> None:
    exchange = await opened
    with contextlib.suppress(CoatroomError):
        exchange.opens()
        await Commit(Session(exchange, sessions)).run(500)


async def _give_back(opened: Told, exchange: Exchange, sessions: Sessions) -> None:
    await opened
    with contextlib.suppress(CoatroomError):
        exchange.opens()
        await Commit(Session(exchange, sessions)).run(500)


# spec: SER-1 0cb4
async def _open_in_turn(native: Native, cookies: bytes | str) -> Exchange:
    """Waits for the requests before this one, and holds up neither the loop nor a thread: they may need one."""
    exchange = native.open_without_waiting(cookies)
    waits = exchange.opens()
    while waits is not None:
        if waits == "turn":
            await _pause()
            waits = exchange.look()
        else:
            waits = await in_thread(exchange.take)
    return exchange


class Commit:
    """The commit of one response. Once begun it is brought to its end, also when the request is cancelled meanwhile:
    then by a task of its own."""

    __slots__ = ("error", "over", "rest", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.error: CoatroomError | None = None
        """Why what the handler asked for cannot be written."""
        self.rest: asyncio.Task[bool | CoatroomError] | None = None
        """What goes on by itself."""
        self.over: bool | CoatroomError = False
        """How it went."""

    async def run(self, status: int) -> bool:
        """Closes the exchange for a response with ``status``; whether that response depends on the session. Raises when
        it was refused."""
        session = self.session
        self.error = session._prepare(status)
        exchange = session._exchange
        sessions = session._sessions
        own = sessions._own if sessions is not None else None
        if sessions is not None and own is not None and own.is_async:
            self.rest = lasting(self._go_on(own.drive(sessions._native.closing(exchange))))
            return await self.result()
        woken = waker() if sessions is not None and sessions._is_far else None
        # Functions of the application run here or on a thread of the executor, and nowhere else.
        if sessions is None or woken is None or exchange.calls_back():
            return self._starts(exchange) or await self.result()
        try:
            number = woken.native.close(sessions._native, exchange)
        except CoatroomError as error:
            self.over = error
            raise
        if number is not None:
            told = woken.told(number)
            try:
                await told
            except asyncio.CancelledError:
                self.rest = lasting(self._go_on(woken.still(number, told)))
                raise
        return self._ends(None) or await self.result()

    def start(self, status: int) -> bool:
        """As ``run``, as far as that takes no waiting. False also when something goes on: :meth:`result` says."""
        self.error = self.session._prepare(status)
        return self._starts(self.session._exchange)

    def _starts(self, exchange: Exchange) -> bool:
        return self._ends(None if exchange.close_without_waiting() else _finish(exchange))

    def _ends(self, step: Awaitable[object] | None) -> bool:
        if step is not None or self._is_to_settle():
            self.rest = lasting(self._go_on(step))
            return False
        return _raised(self._end())

    async def result(self) -> bool:
        """As ``run``, of a commit that was begun before."""
        return _raised(self.over if self.rest is None else await asyncio.shield(self.rest))

    async def _go_on(self, step: Awaitable[object] | None) -> bool | CoatroomError:
        if step is not None:
            await step
        over = self._end()
        if not isinstance(over, CoatroomError) and self._is_to_settle():
            try:
                await in_thread(self.session._settle)
            except CoatroomError as error:
                self.over = error
        return self.over

    def _end(self) -> bool | CoatroomError:
        try:
            touched = self.session._exchange.closed()
            self.over = touched if self.error is None else self.error
        except CoatroomError as error:
            self.over = error
        tell(self.session)
        return self.over

    def _is_to_settle(self) -> bool:
        sessions = self.session._sessions
        return sessions is not None and sessions._has_more and sessions._is_to_settle(self.session)


async def _finish(exchange: Exchange) -> None:
    """Waits for turns, and on a thread for disks and other processes."""
    touched = None
    with contextlib.suppress(CoatroomError):
        while touched is None:
            if exchange.waits_for_turn():
                await _pause()
                touched = exchange.look_again()
            else:
                touched = await in_thread(exchange.finish)


def _raised(over: bool | CoatroomError) -> bool:
    if isinstance(over, CoatroomError):
        raise over
    return over


async def commit_on_loop(session: Session, status: int) -> bool:
    """Commits a session; whether the response depends on it."""
    return await Commit(session).run(status)


class _Queue:
    """How many requests of this process wait for a turn: the more, the less often each of them looks."""

    waiting = 0


async def _pause() -> None:
    _Queue.waiting += 1
    try:
        await asyncio.sleep(random.uniform(0.001, 0.01 + 0.001 * _Queue.waiting))
    finally:
        _Queue.waiting -= 1
