"""Sessions for any WSGI application: ``environ["coatroom.session"]`` is the :class:`coatroom.Session`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from coatroom._answer import Answer, Headers, OnError, abandon, answer, report, session_headers
from coatroom._body import peek
from coatroom._events import refused
from coatroom._token_answers import keys_answer, not_allowed, token_answer
from coatroom._transport import header_from_environ
from coatroom.csrf import Csrf, guard, of
from coatroom.errors import CoatroomError, CsrfRefused
from coatroom.session import Session
from coatroom.sessions import Sessions, given_or_made

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack

    from coatroom.sessions import Settings
    from coatroom.store import AsyncStore, Store
    from coatroom.tokens import Issuer

__all__ = ["Answer", "CoatroomMiddleware", "KeysEndpoint", "TokenEndpoint"]


class CoatroomMiddleware:
    """Opens the session before ``app`` runs and commits it before the response head is sent.

    Make it with ``sessions=``, or with the arguments of :class:`coatroom.Sessions`. Requests whose path begins with one
    of ``skip`` have no session; those that begin with one of ``readonly`` have one to read from, which sets no cookie.
    With ``csrf=True`` or a :class:`coatroom.csrf.Csrf`, forged requests are refused (403). ``on_error`` makes the
    response that stands in for a refused commit (409) or a store that cannot answer (503).
    """

    def __init__(
        self,
        app: WSGIApplication,
        sessions: Sessions | None = None,
        *,
        store: str | Store | AsyncStore = "",
        skip: Sequence[str] = (),
        readonly: Sequence[str] = (),
        csrf: bool | Csrf = False,
        on_error: OnError = answer,
        dev: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        self.app = app
        self.sessions = given_or_made(sessions, store, dev, settings)
        self.skip = (skip,) if isinstance(skip, str) else tuple(skip)
        self.readonly = (readonly,) if isinstance(readonly, str) else tuple(readonly)
        self.csrf = guard(of(csrf), self.sessions)
        self.on_error = on_error

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if self.skip and path.startswith(self.skip):
            return self.app(environ, start_response)
        is_readonly = bool(self.readonly) and path.startswith(self.readonly)
        session = None
        try:
            is_guarded = self.csrf is not None and self.csrf.guards(method, path)
            if is_guarded:
                self.check_source(environ)
            cookies = header_from_environ(self.sessions, environ)
            session = self.sessions.open(cookies, method=method, serial=False if is_readonly else None)
            if self.sessions._may_restore(method, cookies) and not is_readonly:
                self.sessions._restore(session, method)
            if is_guarded:
                self.check_token(environ, session)
        except CoatroomError as error:
            if isinstance(error, CsrfRefused):
                refused(self.sessions, error, None if session is None else session.handle)
            if session is not None:
                abandon(session)
            return _Exchange.refuse(error, self.on_error, start_response)
        if is_readonly:
            session._exchange.head_sent()
        environ["coatroom.session"] = session
        return _Exchange(session, self.on_error, start_response).run(self.app, environ)

    # spec: CSRF-4 1695
    def check_source(self, environ: WSGIEnvironment) -> None:
        assert self.csrf is not None
        host, origin, site = (environ.get(f"HTTP_{name}") for name in ("HOST", "ORIGIN", "SEC_FETCH_SITE"))
        self.csrf.check_source(self.sessions, host, origin, site)

    # spec: CSRF-4 1695
    def check_token(self, environ: WSGIEnvironment, session: Session) -> None:
        assert self.csrf is not None
        if self.csrf.tokens:
            token = environ.get("HTTP_" + self.csrf.header.upper().replace("-", "_"))
            if token is None:
                token = self.csrf.token_in(environ.get("CONTENT_TYPE", ""), peek(environ))
            self.csrf.check_token(session, token)


class TokenEndpoint:
    """An application that answers ``POST`` with a token for whoever is logged in, within the middleware: put it at
    ``/token``."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            return _send(token_answer(self.issuer, environ.get("coatroom.session")), start_response)
        return _send(not_allowed("POST"), start_response)


class KeysEndpoint:
    """An application that answers ``GET`` with the public keys, to verify tokens with: put it at
    ``/.well-known/jwks.json``, and that path into ``skip``."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        is_read = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        return _send(keys_answer(self.issuer) if is_read else not_allowed("GET, HEAD"), start_response)


class _Exchange:
    """One request: holds the response head back until the session is committed."""

    __slots__ = ("committed", "on_error", "session", "stand_in", "start_response", "touched")

    def __init__(self, session: Session, on_error: OnError, start_response: StartResponse) -> None:
        self.session = session
        self.on_error = on_error
        self.start_response = start_response
        self.committed = False
        self.touched = False
        self.stand_in: list[bytes] | None = None

    @staticmethod
    def refuse(error: CoatroomError, on_error: OnError, start_response: StartResponse) -> list[bytes]:
        report(error)
        return _send(on_error(error), start_response)

    def run(self, app: WSGIApplication, environ: WSGIEnvironment) -> Iterable[bytes]:
        body: Iterable[bytes] | None = None
        try:
            body = app(environ, self.start)
            if self.committed:
                chunks: Iterator[bytes] = iter(body)
                first: list[bytes] = []
            else:
                # An application written as a generator sends its head with the first chunk.
                chunks = iter(body)
                first = [chunk for chunk in (next(chunks, None),) if chunk is not None]
        except CoatroomError as error:
            _close(body)
            if self.committed:
                raise
            abandon(self.session)
            return self.refuse(error, self.on_error, self.start_response)
        except BaseException:
            _close(body)
            if not self.committed:
                abandon(self.session)
            raise
        if self.stand_in is not None:
            _close(body)
            return self.stand_in
        return _Body(first, chunks, body) if first or not isinstance(body, (list, tuple)) else body

    # spec: HTTP-2 2616, HTTP-3 779a, WRITE-16 ef0b
    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        if self.committed:
            if self.stand_in is not None:
                return _swallow
            # An error page in place of a head that was never sent: the session is written, so its cookies go along.
            return self.start_response(status, self.with_session(headers), exc_info)
        self.committed = True
        try:
            self.touched = self.session._commit(int(status[:3]))
        except CoatroomError as error:
            if status.startswith("5"):
                report(error)
                return self.start_response(status, headers, exc_info)
            self.stand_in = self.refuse(error, self.on_error, self.start_response)
            return _swallow
        return self.start_response(status, self.with_session(headers), exc_info)

    def with_session(self, headers: Headers) -> Headers:
        return session_headers(self.session, headers) if self.touched else headers


class _Body:
    """The application's body, chunk by chunk, closed when the server is done with it."""

    def __init__(self, first: list[bytes], rest: Iterator[bytes], whole: Iterable[bytes]) -> None:
        self.first = first
        self.rest = rest
        self.whole = whole

    def __iter__(self) -> Iterator[bytes]:
        yield from self.first
        yield from self.rest

    def close(self) -> None:
        _close(self.whole)


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _swallow(_: bytes) -> None:
    return None


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _send(made: Answer, start_response: StartResponse) -> list[bytes]:
    start_response(_status_line(made.status), [*made.headers, ("Content-Length", str(len(made.body)))])
    return [made.body]
