"""The shop on Flask."""

from __future__ import annotations

from typing import cast

import coatroom
from coatroom.flask import Coatroom, skip
from flask import Flask, Response, g, request, session
from werkzeug.exceptions import HTTPException

from . import pages


def create_app() -> Flask:
    """The application."""
    app = Flask(__name__)
    Coatroom(app, sessions=pages.make_sessions())
    app.view_functions["static"] = skip(app.view_functions["static"])
    for number, (method, path, _) in enumerate(pages.ROUTES):
        rule = path.replace(pages.HANDLE, "<handle>")
        app.add_url_rule(rule, f"page{number}", lambda handle="": answer(), methods=[method])
    app.register_error_handler(HTTPException, lambda _: answer())
    app.after_request(before_commit)
    app.teardown_request(after_commit)
    return app


def answer() -> Response:
    """The response of the shop to this request."""
    g.visit = pages.Visit(
        session=cast("coatroom.Session", session),
        method=request.method,
        path=request.path,
        form=request.form,
        cookies=request.cookies,
        agent=request.user_agent.string,
        address=request.remote_addr or "",
    )
    g.reply = pages.answer(g.visit)
    return Response(g.reply.pieces(), g.reply.status, g.reply.headers)


def before_commit(response: Response) -> Response:
    """Runs before Coatroom commits: the head can still change."""
    if "reply" in g:
        g.response = response
        if g.reply.token:
            response.set_cookie(
                pages.NOTE_COOKIE, g.reply.token, max_age=pages.NOTE_SECONDS, httponly=True, samesite="Lax"
            )
    return response


def after_commit(_error: BaseException | None) -> None:
    """Runs after Coatroom committed, before anything is sent."""
    if "response" in g:
        response = g.response
        pages.committed(g.visit, g.reply, response.status_code, response.headers.getlist("Set-Cookie"))
