"""Sessions for Flask: ``flask.session`` is the :class:`coatroom.Session`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, Request, Response, current_app, request, session
from flask.sessions import SessionInterface, SessionMixin

from coatroom._answer import Answer, OnError, answer, changed_headers, report
from coatroom._events import refused
from coatroom._flask_tokens import current_claims, require_token, token_blueprint
from coatroom._flask_views import (
    csrf_exempt,
    require_fresh,
    require_level,
    require_login,
    require_role,
    typed_session,
)
from coatroom._transport import header_from_environ
from coatroom._user_key import UserKeySession
from coatroom._views import in_turn, out_of_turn, readonly, skip
from coatroom.csrf import Csrf, guard, of
from coatroom.errors import CoatroomError, CsrfRefused
from coatroom.sessions import Sessions, given_or_made

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from coatroom._native import Exchange
    from coatroom.sessions import Settings
    from coatroom.store import AsyncStore, Store

__all__ = [
    "Answer",
    "Coatroom",
    "Csrf",
    "FlaskSession",
    "csrf_exempt",
    "current_claims",
    "in_turn",
    "out_of_turn",
    "readonly",
    "require_fresh",
    "require_level",
    "require_login",
    "require_role",
    "require_token",
    "skip",
    "token_blueprint",
    "typed_session",
]

log = logging.getLogger("coatroom")


class FlaskSession(UserKeySession, SessionMixin):  # pyright: ignore[reportIncompatibleMethodOverride]
    """The session of one request, opened before the view runs.

    Where Flask-Login is in use, its ``login_user``, ``logout_user`` and ``confirm_login`` log in and out here: they do
    so by the key ``_user_id``, which is the principal and not stored besides.
    """

    def __init__(
        self,
        open_: Callable[[str, bool], Exchange],
        cookies: str,
        serial: bool,
        sessions: Sessions | None = None,
        user_key: str | None = None,
    ) -> None:
        self._sessions = sessions
        self._user_key = user_key
        self._open = open_
        self._cookies = cookies
        self._serial = serial
        self._opened: Exchange | None = None
        self._handed_out = {}

    @property
    def _exchange(self) -> Exchange:  # type: ignore[override]
        if self._opened is None:
            try:
                self._opened = self._open(cast(str, self._cookies), self._serial)
            except CoatroomError:
                # The answer is an error; what looks at the session on its way out finds nobody and writes nothing.
                self._opened = self._open("", False)
                raise
        return self._opened

    def __setitem__(self, key: str, value: Any) -> None:
        confirms = self._user_key is not None and key == "_fresh" and value is True and not self._logs_in
        if confirms and self.principal is not None:
            # Flask-Login's `confirm_login`: the user has shown the password once more.
            self.login(self.principal, self.roles, self.level or 0)
        super().__setitem__(key, value)

    @property
    def permanent(self) -> bool:
        """Always False: how long a session lasts is said by ``idle`` and ``absolute``, and by ``max_age`` how long a
        browser keeps the cookie. Setting it changes nothing."""
        return False

    @permanent.setter
    def permanent(self, value: bool) -> None:
        log.warning("session.permanent has no effect: set `max_age` when Coatroom is made")


class Coatroom(SessionInterface):
    """Makes ``flask.session`` a Coatroom session: ``Coatroom(app, sessions)``, or with the arguments of
    :class:`coatroom.Sessions`, or ``Coatroom(...)`` and later ``init_app(app)``.

    With ``csrf=True`` or a :class:`coatroom.csrf.Csrf`, forged requests are refused (403). ``on_error`` makes the
    response that stands in for a refused commit (409) or a store that cannot answer (503).
    """

    def __init__(
        self,
        app: Flask | None = None,
        sessions: Sessions | None = None,
        *,
        store: str | Store | AsyncStore = "",
        csrf: bool | Csrf = False,
        on_error: OnError = answer,
        dev: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        self.sessions = given_or_made(sessions, store, dev, settings)
        self.csrf = guard(of(csrf), self.sessions)
        self.on_error = on_error
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Puts this in place of the application's own sessions."""
        app.session_interface = self
        app.before_request_funcs.setdefault(None, []).insert(0, self._load)
        app.register_error_handler(CoatroomError, self._handle)

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        cookies = header_from_environ(self.sessions, request.environ)
        native = self.sessions._native
        user_key = "_user_id" if hasattr(app, "login_manager") else None
        return FlaskSession(native.open, cookies, native.takes_turns(request.method), self.sessions, user_key)

    # spec: HTTP-2 2616, HTTP-3 779a, WRITE-16 ef0b
    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        session = cast(FlaskSession, session)
        if session._opened is None:
            return
        try:
            touched = session._commit(response.status_code)
        except CoatroomError as error:
            report(error)
            if response.status_code < 500:
                self._stand_in(response, error)
            return
        if touched:
            headers = response.headers
            present = [", ".join(headers.getlist(name)) or None for name in ("Vary", "Cache-Control")]
            replacing, more = changed_headers(session, *present)
            for name, value in replacing:
                headers.set(name, value)
            for name, value in more:
                headers.add(name, value)

    def is_null_session(self, obj: object) -> bool:
        return False

    def _load(self) -> None:
        """Opens the session once the route is known, before anything else runs."""
        endpoint = request.endpoint or ""
        view = current_app.view_functions.get(endpoint)
        is_static = endpoint.rpartition(".")[2] == "static"
        current = cast(FlaskSession, session)
        current._serial = getattr(view, "coatroom_turn", current._serial)
        has_session = not is_static and not getattr(view, "coatroom_skip", False)
        is_guarded = view is not None and not is_static and not getattr(view, "coatroom_csrf_exempt", False)
        if is_guarded:
            self._check_source()
        if has_session:
            current._exchange  # noqa: B018
            if getattr(view, "coatroom_readonly", False):
                current._exchange.head_sent()
            elif self.sessions._may_restore(request.method, current._cookies):
                self.sessions._restore(current, request.method)
            if is_guarded:
                self._check_token(current)

    # spec: CSRF-4 1695
    def _check_source(self) -> None:
        if self.csrf is not None and self.csrf.guards(request.method, request.path):
            host, origin, site = (request.headers.get(name) for name in ("Host", "Origin", "Sec-Fetch-Site"))
            self.csrf.check_source(self.sessions, host, origin, site)

    # spec: CSRF-4 1695
    def _check_token(self, current: FlaskSession) -> None:
        if self.csrf is not None and self.csrf.tokens and self.csrf.guards(request.method, request.path):
            token = request.headers.get(self.csrf.header) or request.form.get(self.csrf.field)
            self.csrf.check_token(current, token)

    def _handle(self, error: CoatroomError) -> Response:
        """An error that the view let through: nothing that it asked for is written."""
        current = cast(FlaskSession, session)
        if isinstance(error, CsrfRefused):
            refused(self.sessions, error, current.handle if current._opened is not None else None)
        if current._opened is not None:
            current._discard()
        report(error)
        return self._stand_in(current_app.response_class(), error)

    def _stand_in(self, response: Response, error: CoatroomError) -> Response:
        made = self.on_error(error)
        close = getattr(response.response, "close", None)
        if close is not None:
            close()
        response.direct_passthrough = False
        response.headers.clear()
        response.status_code = made.status
        response.set_data(made.body)
        response.headers.update(made.headers)
        return response
