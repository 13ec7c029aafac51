"""WebSockets do not outlive their session: it is looked at every so often, and at once when this process ended it."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from coatroom._completions import completions, in_thread, lasting
from coatroom.errors import CoatroomError

if TYPE_CHECKING:
    from coatroom.session import Session
    from coatroom.sessions import Sessions

Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"

ENDED = 4401
"""The code with which a socket is closed whose session is over: of those for private use, the one for 401."""
REASON = "session ended"
AT_ONCE = 64
"""How many sessions are looked at before the loop goes on."""


class SocketEnded(OSError):
    """The session of this WebSocket is over, and so is the socket."""


class Socket:
    """A WebSocket between the application and its server."""

    __slots__ = ("_receive", "_send", "handle", "is_closed", "is_ended", "stands")

    def __init__(self, handle: str, principal: str | None, receive: Receive, send: Send) -> None:
        self.handle = handle
        self.stands = ("visitor" if principal is None else "login", principal)
        """What has to stay as it was at the handshake."""
        self.is_closed = False
        self.is_ended = False
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if self.is_ended:
            # What the client sent meanwhile reaches nobody.
            return {"type": "websocket.disconnect", "code": ENDED, "reason": REASON}
        return message

    async def send(self, message: Message) -> None:
        closes = message["type"] not in ("websocket.accept", "websocket.send")
        if self.is_ended:
            if closes:
                return
            raise SocketEnded(REASON)
        self.is_closed = self.is_closed or closes
        await self._send(message)

    async def end(self) -> None:
        if not self.is_closed:
            self.is_closed = self.is_ended = True
            with contextlib.suppress(Exception):  # The client may have gone.
                await self._send({"type": "websocket.close", "code": ENDED, "reason": REASON})


class Sockets:
    """The open WebSockets of one middleware."""

    def __init__(self, sessions: Sessions, every: float) -> None:
        self.sessions = sessions
        self.every = every
        self._watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = weakref.WeakKeyDictionary()

    @contextmanager
    def watched(self, session: Session, receive: Receive, send: Send) -> Iterator[tuple[Receive, Send]]:
        """How to receive and to send while the session is watched."""
        handle = session.handle
        if handle is None:
            yield receive, send
            return
        self.sessions._sockets.add(self)
        self.sessions._is_heard = True
        loop = asyncio.get_running_loop()
        watch = self._watches.get(loop)
        if watch is None:
            watch = self._watches[loop] = _Watch(self.sessions, self.every, loop)
        socket = Socket(handle, session.principal, receive, send)
        watch.add(socket)
        try:
            yield socket.receive, socket.send
        finally:
            watch.remove(socket)

    def look(self, handles: set[str] | None, principal: str | None = None) -> None:
        """Looks at the sessions with these handles and at those of the principal; at all if None. From any thread."""
        for loop, watch in list(self._watches.items()):
            with contextlib.suppress(RuntimeError):  # It is closed.
                loop.call_soon_threadsafe(watch.look, handles, principal)


class _Watch:
    """The open WebSockets of one event loop, by the handle of their session."""

    def __init__(self, sessions: Sessions, every: float, loop: asyncio.AbstractEventLoop) -> None:
        self.sessions = sessions
        self.every = every
        self.loop = weakref.ref(loop)
        self.sockets: dict[str, list[Socket]] = {}
        self.due: set[str] = set()
        self.is_looking = False
        self.is_waiting = False

    def add(self, socket: Socket) -> None:
        self.sockets.setdefault(socket.handle, []).append(socket)
        if not self.is_waiting:
            self.wait()

    def remove(self, socket: Socket) -> None:
        left = self.sockets.get(socket.handle, [])
        if socket in left:
            left.remove(socket)
        if not left:
            self.sockets.pop(socket.handle, None)

    def wait(self) -> None:
        """Until the next look, by the clock of the sessions."""
        self.is_waiting = True
        loop, clock = self.loop(), self.sessions._clock
        if loop is None:
            return
        if clock is None:
            loop.call_later(self.every, self.tick)
        else:
            clock._call_later(self.every, lambda: _call_soon(loop, self.tick))

    def tick(self) -> None:
        self.is_waiting = False
        if self.sockets:
            self.look(None)
            self.wait()

    def look(self, handles: set[str] | None, principal: str | None = None) -> None:
        if handles is None:
            self.due.update(self.sockets)
        else:
            self.due.update(handles & self.sockets.keys())
        if principal is not None:
            of = ("login", principal)
            self.due.update(handle for handle, there in self.sockets.items() if any(s.stands == of for s in there))
        if self.due and not self.is_looking:
            self.is_looking = True
            lasting(self.look_at_due())

    async def look_at_due(self) -> None:
        try:
            while self.due:
                handles = [self.due.pop() for _ in range(min(AT_ONCE, len(self.due)))]
                # What the store cannot say at the moment is asked again the next time.
                with contextlib.suppress(CoatroomError):
                    for handle, *stands in await self.standing(handles):
                        for socket in self.sockets.get(handle, ()):
                            if socket.stands != tuple(stands):
                                # The closing handshake may take its time.
                                lasting(socket.end())
                await asyncio.sleep(0)
        finally:
            self.is_looking = False

    async def standing(self, handles: list[str]) -> list[tuple[str, str, str | None]]:
        native = self.sessions._native
        if not native.waits():
            return native.standing(handles)
        here = completions() if self.sessions._is_far else None
        if here is None:
            return await in_thread(native.standing, handles)
        looked, pending = here.look_up(native, handles)
        await pending
        return looked.take()


def _call_soon(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # It is closed.
        loop.call_soon_threadsafe(work)
