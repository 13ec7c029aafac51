"""Sessions for ASGI applications: Starlette, FastAPI, Litestar and others. ``request.session`` is the
:class:`coatroom.Session`; without a framework it is ``scope["session"]``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from coatroom._answer import Answer, OnError, answer, report
from coatroom._body import peek_async
from coatroom._events import refused, tell
from coatroom._transport import carried, header_from_scope, one_of_scope, vary_of
from coatroom.csrf import Csrf, guard, of
from coatroom.errors import CoatroomError, CsrfRefused
from coatroom.session import Session
from coatroom.sessions import Sessions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from coatroom._native import Exchange
    from coatroom.sessions import Settings

__all__ = ["Answer", "CoatroomMiddleware"]

T = TypeVar("T")
Message: TypeAlias = "MutableMapping[str, Any]"
Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
App: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"


class CoatroomMiddleware:
    """Opens the session before ``app`` runs and commits it before the response head is sent.

    Make it with ``sessions=``, or with the arguments of :class:`coatroom.Sessions`. Requests whose path begins with one
    of ``skip`` have no session; those that begin with one of ``readonly`` have one to read from, which sets no cookie.
    With ``csrf=True`` or a :class:`coatroom.csrf.Csrf`, forged requests and sockets are refused (403).
    ``on_error`` makes the response that stands in for a refused commit (409) or a store that cannot answer (503).

    A WebSocket has the session of its handshake, to read from: its head cannot carry a cookie back.
    """

    def __init__(
        self,
        app: App,
        sessions: Sessions | None = None,
        *,
        store: str = "",
        skip: Sequence[str] = (),
        readonly: Sequence[str] = (),
        csrf: bool | Csrf = False,
        on_error: OnError = answer,
        dev: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        self.app = app
        self.sessions = sessions or Sessions(store, dev=dev, **settings)
        self.skip = (skip,) if isinstance(skip, str) else tuple(skip)
        self.readonly = (readonly,) if isinstance(readonly, str) else tuple(readonly)
        self.csrf = guard(of(csrf), self.sessions)
        self.on_error = on_error

    # spec: HTTP-5 842b
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or (self.skip and scope["path"].startswith(self.skip)):
            await self.app(scope, receive, send)
            return
        cookies = header_from_scope(self.sessions, scope["headers"])
        is_readonly = bool(self.readonly) and scope["path"].startswith(self.readonly)
        try:
            is_guarded = self.csrf is not None and self.check_source(self.csrf, scope)
            in_turn = kind == "http" and not is_readonly and self.sessions._native.takes_turns(scope["method"])
            session = Session(await open_on_loop(self.sessions, cookies, in_turn), self.sessions, cookies)
            if kind == "http" and not is_readonly and self.sessions._may_restore(scope["method"], cookies):
                await in_thread(self.sessions._restore, session)
        except CoatroomError as error:
            if isinstance(error, CsrfRefused):
                refused(self.sessions, error, None)
            await _Exchange.refuse(error, self.on_error, kind, send)
            return
        if is_guarded and self.csrf is not None:
            try:
                receive = await _check_token(self.csrf, session, scope, receive)
            except CsrfRefused as error:
                refused(self.sessions, error, session.handle)
                await _Exchange(session, self.on_error, kind, send).abandon()
                await _Exchange.refuse(error, self.on_error, kind, send)
                return
        scope["session"] = session
        if kind == "websocket" or is_readonly:
            session._exchange.head_sent()
        await _Exchange(session, self.on_error, kind, send).run(self.app, scope, receive)

    # spec: CSRF-4 1695, CSRF-5 5a07
    def check_source(self, csrf: Csrf, scope: Scope) -> bool:
        """Refuses by where the request comes from; whether it needs a token too."""
        host, origin, site = (one_of_scope(scope["headers"], name) for name in ("host", "origin", "sec-fetch-site"))
        if scope["type"] == "websocket":
            csrf.check_handshake(self.sessions, host, origin)
            return False
        if not csrf.guards(scope["method"], scope["path"]):
            return False
        csrf.check_source(self.sessions, host, origin, site)
        return csrf.tokens


# spec: CSRF-4 1695
async def _check_token(csrf: Csrf, session: Session, scope: Scope, receive: Receive) -> Receive:
    token = one_of_scope(scope["headers"], csrf.header)
    if token is None:
        body, receive = await peek_async(receive)
        token = csrf.token_in(one_of_scope(scope["headers"], "content-type") or "", body)
    csrf.check_token(session, token)
    return receive


async def open_on_loop(sessions: Sessions, cookies: bytes | str, in_turn: bool) -> Exchange:
    """Opens an exchange without holding up the loop."""
    if in_turn:
        return await _open_in_turn(sessions, cookies)
    if sessions._native.waits():
        # The store is behind a network, and the loop has others to serve.
        return await in_thread(sessions._native.open, cookies)
    return sessions._native.open(cookies)


async def commit_on_loop(session: Session, status: int) -> bool:
    """Commits a session without holding up the loop; whether the response depends on it."""
    try:
        touched = session._commit_without_waiting(status)
        exchange = session._exchange
        while touched is None:
            if exchange.waits_for_turn():
                await _pause()
                touched = exchange.look_again()
            else:
                # What waits for a disk or for another process waits on a thread of its own.
                touched = await in_thread(exchange.finish)
    finally:
        tell(session)
    remembered = session._sessions._remembered if session._sessions else None
    if remembered is not None and remembered.is_due(session):
        await in_thread(remembered.settle, session)
    return bool(touched)


# spec: SER-1 0cb4
async def _open_in_turn(sessions: Sessions, cookies: bytes | str) -> Exchange:
    """Waits for the requests before this one, and holds up neither the loop nor a thread: they may need one."""
    native = sessions._native
    far = native.waits()
    exchange = await in_thread(native.open_without_waiting, cookies) if far else native.open_without_waiting(cookies)
    waits = exchange.opens()
    while waits is not None:
        if waits == "turn":
            await _pause()
            waits = await in_thread(exchange.look) if far else exchange.look()
        else:
            waits = await in_thread(exchange.take)
    return exchange


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


class _Queue:
    """How many requests of this process wait for a turn: the more, the less often each of them looks."""

    waiting = 0


async def _pause() -> None:
    _Queue.waiting += 1
    try:
        await asyncio.sleep(random.uniform(0.001, 0.01 + 0.001 * _Queue.waiting))
    finally:
        _Queue.waiting -= 1


class _Exchange:
    """One request: holds the response head back until the session is committed."""

    __slots__ = ("committed", "kind", "on_error", "send", "session", "stands_in")

    def __init__(self, session: Session, on_error: OnError, kind: str, send: Send) -> None:
        self.session = session
        self.on_error = on_error
        self.kind = kind
        self.send = send
        self.committed = False
        self.stands_in = False

    @staticmethod
    async def refuse(error: CoatroomError, on_error: OnError, kind: str, send: Send) -> None:
        report(error)
        if kind == "websocket":
            code = 1013 if error.status == 503 else 1008
            await send({"type": "websocket.close", "code": code, "reason": error.code})
            return
        made = on_error(error)
        headers = [*made.headers, ("Content-Length", str(len(made.body)))]
        await send({"type": "http.response.start", "status": made.status, "headers": _encoded(headers)})
        await send({"type": "http.response.body", "body": made.body})

    async def run(self, app: App, scope: Scope, receive: Receive) -> None:
        try:
            await app(scope, receive, self.hold)
            if self.kind == "websocket":
                # What the handler asked for cannot be promised any more: that is an error of the program, and loud.
                await self.commit(200)
        except CoatroomError as error:
            if self.committed:
                raise
            await self.abandon()
            await self.refuse(error, self.on_error, self.kind, self.send)
        finally:
            if not self.committed:
                await self.abandon()

    # spec: HTTP-2 2616, HTTP-3 779a, WRITE-16 ef0b
    async def hold(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self.committed:
            status = message["status"]
            try:
                touched = await self.commit(status)
            except CoatroomError as error:
                if status >= 500:
                    report(error)
                else:
                    self.stands_in = True
                    await self.refuse(error, self.on_error, self.kind, self.send)
            else:
                if touched:
                    message["headers"] = _session_headers(self.session, message.get("headers", ()))
        if not self.stands_in:
            await self.send(message)

    async def commit(self, status: int) -> bool:
        self.committed = True
        return await commit_on_loop(self.session, status)

    async def abandon(self) -> None:
        try:
            await self.commit(500)
        except CoatroomError as error:
            report(error)


# spec: HTTP-1 99c4, HTTP-2 2616
def _session_headers(session: Session, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a response that depends on the committed session."""
    kept = []
    present: dict[bytes, str | None] = {b"vary": None, b"cache-control": None}
    for header in headers:
        name = header[0].lower()
        if name in present:
            value, before = header[1].decode("latin-1"), present[name]
            present[name] = value if before is None else f"{before}, {value}"
        else:
            kept.append(header)
    vary, cache_control = present.values()
    new_vary, new_cache_control, cookies = session._exchange.head(vary, cache_control)
    new_vary = vary_of(session, new_vary or vary)
    for name, value_or_none in (
        (b"vary", new_vary),
        (b"cache-control", new_cache_control or cache_control),
    ):
        if value_or_none is not None:
            kept.append((name, value_or_none.encode("latin-1")))
    kept.extend(_encoded(carried(session, cookies)))
    return kept


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
