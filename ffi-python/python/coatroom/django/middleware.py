"""The middleware: opens the session before the view runs, and commits it before the response head is sent."""

# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from http.cookies import Morsel
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from coatroom._answer import abandon, report
from coatroom._on_loop import commit_on_loop
from coatroom._transport import carried, header_from_environ, header_from_scope, vary_of
from coatroom.django import mirror
from coatroom.django.checks import errors
from coatroom.django.conf import configuration
from coatroom.django.session import DjangoSession
from coatroom.errors import CoatroomError
from coatroom.sessions import Sessions


class SessionMiddleware(DjangosMiddleware):
    """Stands in ``MIDDLEWARE`` where ``django.contrib.sessions.middleware.SessionMiddleware`` stood, and has nothing of
    it but the type, by which the checks of Django's admin know it. Works under WSGI and ASGI."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        wrong = errors()
        if wrong:
            raise ImproperlyConfigured("; ".join(f"{error.id}: {error.msg}" for error in wrong))
        MiddlewareMixin.__init__(self, get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            self.process_view = self._aprocess_view  # type: ignore[method-assign]

    def __call__(self, request: HttpRequest) -> Any:
        if self._is_async:
            return self.__acall__(request)
        self.process_request(request)
        try:
            response = self.get_response(request)
        except BaseException:
            session = _session(request)
            if session is not None:
                abandon(session)
            raise
        return self.process_response(request, response)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        try:
            response = await cast("Awaitable[HttpResponseBase]", self.get_response(request))
        except BaseException:
            # The client has gone, for example.
            session = _session(request)
            if session is not None:
                with contextlib.suppress(CoatroomError):
                    await commit_on_loop(session, 500)
            raise
        return await self.aprocess_response(request, response)

    # spec: SER-1 0cb4
    def process_request(self, request: HttpRequest) -> None:
        """Gives the request its session, which is not opened yet."""
        config = configuration()
        in_turn = config.sessions._native.takes_turns(request.method or "GET")
        is_mirrored = mirror.is_of_test_client(request)
        cookies = (mirror.shown(request) if is_mirrored else None) or _cookies(config.sessions, request)
        request.session = DjangoSession(config.sessions, config.limits, cookies, in_turn, request)
        request.session._is_mirrored = is_mirrored

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        """Opens the session once the view is known, before anything else runs."""
        session = _to_open(request, view)
        if session is not None:
            try:
                session._open()
            except CoatroomError as error:
                return _answered(session, error)
            session._note_readonly(view)
        return None

    async def _aprocess_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        session = _to_open(request, view)
        if session is not None:
            try:
                await session._aopen()
            except CoatroomError as error:
                return _answered(session, error)
            session._note_readonly(view)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """An error of ours that the view let through: nothing that it asked for is written."""
        if not isinstance(exception, CoatroomError):
            return None
        session = request.session
        if not isinstance(session, DjangoSession):
            return _stand_in(exception)
        if session._opened is not None:
            session._discard()
        return _answered(session, exception)

    # spec: HTTP-2 2616, HTTP-3 779a, WRITE-16 ef0b
    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Commits the session; the response says so, or another stands in for it."""
        session = _session(request)
        if session is None:
            return response
        try:
            touched = session._commit(response.status_code)
        except CoatroomError as error:
            return _refused(session, response, error)
        return _with_session(session, response, touched)

    async def aprocess_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """As ``process_response``, on an event loop."""
        session = _session(request)
        if session is None:
            return response
        try:
            touched = await commit_on_loop(session, response.status_code)
        except CoatroomError as error:
            return _refused(session, response, error)
        return _with_session(session, response, touched)


def _session(request: HttpRequest) -> DjangoSession | None:
    """The session of a request, if something has to be done about it."""
    session = getattr(request, "session", None)
    if isinstance(session, DjangoSession) and (session._opened is not None or session._lines):
        return session
    return None


def _to_open(request: HttpRequest, view: Any) -> DjangoSession | None:
    session = request.session
    if not isinstance(session, DjangoSession):
        return None
    session._in_turn = getattr(view, "coatroom_turn", session._in_turn)
    skip = configuration().skip
    is_skipped = getattr(view, "coatroom_skip", False) or (skip and request.path.startswith(skip))
    return None if is_skipped else session


def _cookies(sessions: Sessions, request: HttpRequest) -> str | bytes:
    """The Cookie header, or what stands for one; several are joined."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        return header_from_scope(sessions, scope.get("headers", ()))
    return header_from_environ(sessions, request.META)


def _with_session(session: DjangoSession, response: HttpResponseBase, touched: bool) -> HttpResponseBase:
    """The response with the headers of a committed session."""
    failure = session._failure
    if failure is not None:
        # Something on the way here took the failure for its own, or for nobody: it is neither.
        return _replaced(session, response, failure)
    vary, cache_control, lines = session._exchange.head(
        response.headers.get("Vary"), response.headers.get("Cache-Control")
    )
    if lines or session._more_lines:
        session._lines.update(session._cookie_lines(lines))
    if session._lines or (touched and session.accessed):
        vary = vary_of(session, vary)
        if vary is not None:
            response.headers["Vary"] = vary
        if cache_control is not None:
            response.headers["Cache-Control"] = cache_control
        _set_cookies(session, response)
    return response


def _refused(session: DjangoSession, response: HttpResponseBase, error: CoatroomError) -> HttpResponseBase:
    """The response to an exchange whose commit failed."""
    session._has_left = False
    if response.status_code < 500:
        return _replaced(session, response, error)
    report(error)
    _set_cookies(session, response)
    return response


def _replaced(session: DjangoSession, response: HttpResponseBase, error: CoatroomError) -> HttpResponseBase:
    for close in response._resource_closers:
        with contextlib.suppress(Exception):
            close()
    answer = _answered(session, error)
    _set_cookies(session, answer)
    return answer


def _answered(session: DjangoSession, error: CoatroomError) -> HttpResponseBase:
    session._failure = None
    report(error)
    return _stand_in(error)


def _stand_in(error: CoatroomError) -> HttpResponseBase:
    made = configuration().on_error(error)
    response = HttpResponse(made.body, status=made.status)
    for name, value in made.headers:
        response.headers[name] = value
    response.headers["Content-Length"] = str(len(made.body))
    return response


def _set_cookies(session: DjangoSession, response: HttpResponseBase) -> None:
    for name, value in carried(session, session._lines.values()):
        if name == "Set-Cookie":
            dict.__setitem__(response.cookies, value.partition("=")[0], _Line.of(value))
        else:
            response.headers[name] = value
    if session._is_mirrored:
        mirror.keep(response, session._lines)


class _Line(Morsel[str]):
    """A cookie that is printed exactly as the core wrote it."""

    _line = ""

    @classmethod
    def of(cls, line: str) -> _Line:
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        made = cls()
        made.set(name, value, value)
        for attribute in attributes:
            key, _, setting = attribute.partition("=")
            made[key] = setting or True
        made._line = line
        return made

    def OutputString(self, attrs: Any = None) -> str:
        return self._line or super().OutputString(attrs)

    def output(self, attrs: Any = None, header: str = "Set-Cookie:") -> str:
        return f"{header} {self.OutputString(attrs)}".lstrip()
