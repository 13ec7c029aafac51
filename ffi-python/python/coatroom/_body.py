"""The first bytes of a request's body, read and put back."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from coatroom.csrf import BODY_LIMIT

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LONGEST_LENGTH = 18
"""Digits of a Content-Length. Python refuses to read numbers of some thousands."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def peek(environ: WSGIEnvironment) -> bytes:
    """What a WSGI application will read first; it will read it all the same."""
    length = environ.get("CONTENT_LENGTH", "")
    if not length.isdecimal() or len(length) > LONGEST_LENGTH:
        # Nobody knows where the body ends, so that reading might wait for ever.
        return b""
    stream = environ["wsgi.input"]
    first: bytes = stream.read(min(int(length), BODY_LIMIT))
    rest = int(length) - len(first)
    environ["wsgi.input"] = io.BytesIO(first) if rest <= 0 else io.BufferedReader(_Rejoined(first, stream, rest))
    return first


class _Rejoined(io.RawIOBase):
    """Bytes that were read already, then a stream, of which so many bytes are the body."""

    def __init__(self, first: bytes, stream: Any, rest: int) -> None:
        self.first = memoryview(first)
        self.stream = stream
        self.rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if self.first:
            chunk = self.first[: len(into)]
            self.first = self.first[len(chunk) :]
        else:
            chunk = self.stream.read(min(len(into), self.rest))
            self.rest -= len(chunk)
        into[: len(chunk)] = chunk
        return len(chunk)


async def peek_async(receive: Receive) -> tuple[bytes, Receive]:
    """What an ASGI application will receive first, and how it receives everything."""
    messages: deque[MutableMapping[str, Any]] = deque()
    first, goes_on = b"", True
    while goes_on and len(first) < BODY_LIMIT:
        message = await receive()
        messages.append(message)
        first += message.get("body", b"")
        goes_on = message["type"] == "http.request" and message.get("more_body", False)

    async def again() -> MutableMapping[str, Any]:
        return messages.popleft() if messages else await receive()

    return first[:BODY_LIMIT], again
