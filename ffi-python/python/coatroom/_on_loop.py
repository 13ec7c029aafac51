"""Exchanges on an event loop, which they never hold up."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING

from coatroom._completions import completions, in_thread, lasting
from coatroom._events import not_opened, tell
from coatroom._native import Completions, Exchange, Pending
from coatroom.errors import CoatroomError
from coatroom.session import Session
from coatroom.sessions import Sessions

if TYPE_CHECKING:
    from coatroom._native import Sessions as Native
    from coatroom._own import Asker


def begin_to_open(sessions: Sessions, cookies: bytes | str, in_turn: bool) -> Exchange | Awaitable[Exchange]:
    """An exchange, or what to await for it."""
    native = sessions._native
    try:
        if sessions._answers_at_once and not in_turn:
            return native.open(cookies)
        here = (Completions.here() or completions()) if sessions._is_far else None
        if here is None:
            return _open(sessions, cookies, in_turn)
        exchange, pending = here.open(native, cookies, in_turn)
        if pending is not None:
            return _opened(exchange, pending, sessions, in_turn)
        exchange.opens()
    except CoatroomError as error:
        not_opened(sessions, error)
        raise
    return exchange


async def open_on_loop(sessions: Sessions, cookies: bytes | str, in_turn: bool) -> Exchange:
    """Opens an exchange."""
    opened = begin_to_open(sessions, cookies, in_turn)
    return opened if isinstance(opened, Exchange) else await opened


async def _opened(exchange: Exchange, pending: Pending, sessions: Sessions, in_turn: bool) -> Exchange:
    """An exchange over a far store, once it is open."""
    try:
        await pending
    except asyncio.CancelledError:
        if in_turn:
            # The turn may have been taken by then.
            lasting(_give_back(pending.again(), exchange, sessions))
        raise
    try:
        exchange.opens()
    except CoatroomError as error:
        not_opened(sessions, error)
        raise
    return exchange


async def _open(sessions: Sessions, cookies: bytes | str, in_turn: bool) -> Exchange:
    native = sessions._native
    own = sessions._own
    try:
        if own is not None and own.is_async:
            return await _open_own(own, sessions, cookies, in_turn)
        if native.waits():
            return await in_thread(native.open, cookies, in_turn)
        return await _open_in_turn(native, cookies)
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
        await commit_on_loop(Session(exchange, sessions), 500)


async def _give_back(opened: Pending, exchange: Exchange, sessions: Sessions) -> None:
    await opened
    with contextlib.suppress(CoatroomError):
        exchange.opens()
        await commit_on_loop(Session(exchange, sessions), 500)


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

    has_begun = False
    error: CoatroomError | None = None
    """Why what the handler asked for cannot be written."""
    pending: Pending | None = None
    """What the store has still to do."""
    rest: asyncio.Task[bool | CoatroomError] | None = None
    """What goes on by itself."""
    over: bool | CoatroomError = False
    """How it went."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def begin(self, status: int) -> bool | None:
        """Closes the exchange for a response with ``status``; whether that response depends on the session, or None if
        this is to be awaited for that. Raises when it was refused."""
        self.has_begun = True
        session = self.session
        error = session._prepare(status)
        if error is not None:
            self.error = error
        exchange = session._exchange
        sessions = session._sessions
        here = None
        if sessions is not None and not sessions._answers_at_once:
            own = sessions._own
            if own is not None and own.is_async:
                self.rest = lasting(self._go_on(own.drive(sessions._native.closing(exchange))))
                return None
            here = (Completions.here() or completions()) if sessions._is_far else None
        over: bool | Pending | None
        try:
            if here is None or sessions is None:
                over = exchange.close_without_waiting()
            else:
                over = here.close(sessions._native, exchange)
        except CoatroomError as error:
            return _raised(self._is_over(error))
        if isinstance(over, Pending):
            self.pending = over
            return None
        if over is None:
            self.rest = lasting(self._go_on(_finish(exchange)))
            return None
        return self._closed(over)

    def __await__(self) -> Generator[object, None, bool]:
        pending = self.pending
        if pending is not None:
            self.pending = None
            try:
                yield from pending
            except asyncio.CancelledError:
                self.rest = lasting(self._go_on(pending.again()))
                raise
            try:
                closed = self.session._exchange.closed()
            except CoatroomError as error:
                return _raised(self._is_over(error))
            touched = self._closed(closed)
            if touched is not None:
                return touched
        return _raised(self.over if self.rest is None else (yield from asyncio.shield(self.rest).__await__()))

    def _closed(self, touched: bool) -> bool | None:
        """Whether the response depends on the session, or None if something follows that is to be awaited."""
        sessions = self.session._sessions
        if self.error is None and (sessions is None or not (sessions._has_more or sessions._is_heard)):
            # Nothing follows, and nobody is told.
            self.over = touched
            return touched
        if self._is_to_settle():
            self.rest = lasting(self._go_on(None))
            return None
        return _raised(self._is_over(touched))

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
            return self._is_over(self.session._exchange.closed())
        except CoatroomError as error:
            return self._is_over(error)

    def _is_over(self, over: bool | CoatroomError) -> bool | CoatroomError:
        self.over = over if self.error is None or isinstance(over, CoatroomError) else self.error
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
    commit = Commit(session)
    touched = commit.begin(status)
    return await commit if touched is None else touched


class _Queue:
    """How many requests of this process wait for a turn: the more, the less often each of them looks."""

    waiting = 0


async def _pause() -> None:
    _Queue.waiting += 1
    try:
        await asyncio.sleep(random.uniform(0.001, 0.01 + 0.001 * _Queue.waiting))
    finally:
        _Queue.waiting -= 1
