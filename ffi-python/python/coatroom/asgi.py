"""Sessions for ASGI applications: Starlette, FastAPI, Litestar and others. ``request.session`` is the
:class:`coatroom.Session`; without a framework it is ``scope["session"]``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from coatroom._answer import Answer, OnError, answer, report
from coatroom._body import peek_async
from coatroom._completions import in_thread
from coatroom._events import refused
from coatroom._native import Exchange
from coatroom._on_loop import Commit, begin_to_open
from coatroom._sockets import Sockets
from coatroom._token_answers import keys_answer, not_allowed, token_answer
from coatroom._transport import carried, header_from_scope, one_of_scope, vary_of
from coatroom.csrf import Csrf, guard, of
from coatroom.errors import CoatroomError, CsrfRefused
from coatroom.session import Session
from coatroom.sessions import Sessions, given_or_made

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from coatroom.sessions import Settings
    from coatroom.store import AsyncStore, Store
    from coatroom.tokens import Issuer

__all__ = ["Answer", "CoatroomMiddleware", "KeysEndpoint", "TokenEndpoint"]

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

    A WebSocket has the session of its handshake, to read from: its head cannot carry a cookie back. When that session
    is over the socket is closed, with code 4401: at once if this process ended it, else within ``recheck`` seconds. 0:
    never.
    """

    def __init__(
        self,
        app: App,
        sessions: Sessions | None = None,
        *,
        store: str | Store | AsyncStore = "",
        skip: Sequence[str] = (),
        readonly: Sequence[str] = (),
        csrf: bool | Csrf = False,
        on_error: OnError = answer,
        recheck: float = 30.0,
        dev: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        self.app = app
        self.sessions = given_or_made(sessions, store, dev, settings)
        self.skip = (skip,) if isinstance(skip, str) else tuple(skip)
        self.readonly = (readonly,) if isinstance(readonly, str) else tuple(readonly)
        self.csrf = guard(of(csrf), self.sessions)
        self.on_error = on_error
        self._sockets = Sockets(self.sessions, recheck) if recheck > 0 else None

    # spec: HTTP-5 842b
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or (self.skip and scope["path"].startswith(self.skip)):
            await self.app(scope, receive, send)
            return
        sessions = self.sessions
        cookies = header_from_scope(sessions, scope["headers"])
        is_readonly = bool(self.readonly) and scope["path"].startswith(self.readonly)
        try:
            is_guarded = self.csrf is not None and self.check_source(self.csrf, scope)
            may_write = kind == "http" and not is_readonly
            in_turn = sessions._has_turns and may_write and sessions._native.takes_turns(scope["method"])
            exchange = begin_to_open(sessions, cookies, in_turn)
            if not isinstance(exchange, Exchange):
                exchange = await exchange
            session = Session(exchange, sessions, cookies)
            if sessions._has_more and may_write and sessions._may_restore(scope["method"], cookies):
                await in_thread(sessions._restore, session, scope["method"])
        except CoatroomError as error:
            if isinstance(error, CsrfRefused):
                refused(sessions, error, None)
            await _Exchange.refuse(error, self.on_error, kind, send)
            return
        held = _Exchange(session, self.on_error, kind, send)
        if is_guarded and self.csrf is not None:
            try:
                receive = await _check_token(self.csrf, session, scope, receive)
            except CsrfRefused as error:
                refused(sessions, error, session.handle)
                await held.abandon()
                await _Exchange.refuse(error, self.on_error, kind, send)
                return
        scope["session"] = session
        if kind == "websocket" or is_readonly:
            session._exchange.head_sent()
        try:
            if kind == "http":
                await self.app(scope, receive, held.hold)
            else:
                await held.talk(self.app, self._sockets, scope, receive)
        except CoatroomError as error:
            if held.has_begun:
                raise
            await held.abandon()
            await _Exchange.refuse(error, self.on_error, kind, held.send)
        finally:
            if not held.has_begun:
                await held.abandon()

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


class TokenEndpoint:
    """An application that answers ``POST`` with a token for whoever is logged in, within the middleware:
    ``Route("/token", TokenEndpoint(issuer))`` in Starlette, or wherever an ASGI application can be put."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await _send(token_answer(self.issuer, scope.get("session")), send)
        else:
            await _send(not_allowed("POST"), send)


class KeysEndpoint:
    """An application that answers ``GET`` with the public keys, to verify tokens with:
    ``Route("/.well-known/jwks.json", KeysEndpoint(issuer))``. It needs no session: add its path to ``skip``."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_read = scope["method"] in ("GET", "HEAD")
        await _send(keys_answer(self.issuer) if is_read else not_allowed("GET, HEAD"), send)


# spec: CSRF-4 1695
async def _check_token(csrf: Csrf, session: Session, scope: Scope, receive: Receive) -> Receive:
    token = one_of_scope(scope["headers"], csrf.header)
    if token is None:
        body, receive = await peek_async(receive)
        token = csrf.token_in(one_of_scope(scope["headers"], "content-type") or "", body)
    csrf.check_token(session, token)
    return receive


class _Exchange(Commit):
    """One request: holds the response head back until the session is committed."""

    stands_in = False

    def __init__(self, session: Session, on_error: OnError, kind: str, send: Send) -> None:
        self.session = session
        self.on_error = on_error
        self.kind = kind
        self.send = send

    @staticmethod
    async def refuse(error: CoatroomError, on_error: OnError, kind: str, send: Send) -> None:
        report(error)
        if kind == "websocket":
            code = 1013 if error.status == 503 else 1008
            await send({"type": "websocket.close", "code": code, "reason": error.code})
            return
        await _send(on_error(error), send)

    async def talk(self, app: App, sockets: Sockets | None, scope: Scope, receive: Receive) -> None:
        """Runs the application on a WebSocket."""
        if sockets is None:
            await app(scope, receive, self.hold)
        else:
            with sockets.watched(self.session, receive, self.send) as (receive, self.send):
                await app(scope, receive, self.hold)
        # What the handler asked for cannot be promised any more: that is an error of the program, and loud.
        await self.committed(200)

    # spec: HTTP-2 2616, HTTP-3 779a, WRITE-16 ef0b
    def hold(self, message: Message) -> Awaitable[None]:
        """Stands before ``send``. Where nothing is waited for, what is awaited is the server's own."""
        if message["type"] == "http.response.start" and not self.stands_in:
            # A head after one whose commit was cancelled waits for that commit, and carries what came of it.
            try:
                touched = None if self.has_begun else self.begin(message["status"])
            except CoatroomError as error:
                return self.fail(message, error)
            if touched is None:
                return self.hold_on(message)
            if touched:
                self.add_headers(message)
        return _nothing() if self.stands_in else self.send(message)

    async def hold_on(self, message: Message) -> None:
        try:
            touched = await self
        except CoatroomError as error:
            await self.fail(message, error)
            return
        if touched:
            self.add_headers(message)
        await self.send(message)

    async def fail(self, message: Message, error: CoatroomError) -> None:
        if message["status"] >= 500:
            report(error)
            await self.send(message)
        else:
            self.stands_in = True
            await self.refuse(error, self.on_error, self.kind, self.send)

    # spec: HTTP-1 99c4, HTTP-2 2616
    def add_headers(self, message: Message) -> None:
        """Gives a response that depends on the committed session its headers."""
        session = self.session
        headers = message.get("headers", ())
        if session._sessions is not None and session._sessions._transport.is_header:
            kept, vary, cookies = session._exchange.asgi_head(headers)
            vary = vary_of(session, vary)
            if vary is not None:
                kept.append((b"vary", vary.encode("latin-1")))
            message["headers"] = kept + _encoded(carried(session, cookies))
            return
        message["headers"] = kept = session._exchange.asgi_headers(headers)
        if session._visitor is not None or session._more_lines or session._has_left:
            kept += _encoded(carried(session, ()))

    async def committed(self, status: int) -> None:
        if self.has_begun or self.begin(status) is None:
            await self

    async def abandon(self) -> None:
        try:
            await self.committed(500)
        except CoatroomError as error:
            report(error)


async def _nothing() -> None:
    return None


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _send(made: Answer, send: Send) -> None:
    headers = [*made.headers, ("Content-Length", str(len(made.body)))]
    await send({"type": "http.response.start", "status": made.status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": made.body})
