"""The shop on Django. It has no database: whoever gives a name is that user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, re_path
from django.views.static import serve

from . import pages


def create_app() -> Any:
    """The application."""
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        COATROOM={"sessions": pages.make_sessions(), "skip": ["/static/"]},
        INSTALLED_APPS=["coatroom.django"],
        # The panel tells what was committed, so it stands outside.
        MIDDLEWARE=[f"{__name__}.panel", "coatroom.django.SessionMiddleware"],
        ROOT_URLCONF=(
            path("static/<path:path>", serve, {"document_root": pages.HERE / "static"}),
            re_path("", answer),
        ),
        SESSION_ENGINE="coatroom.django.sessions",
    )
    django.setup()
    return WSGIHandler()


def answer(request: HttpRequest) -> HttpResponseBase:
    """The response of the shop to this request."""
    visit = pages.Visit(
        session=request.session,
        method=request.method or "",
        path=request.path,
        form=request.POST,
        cookies=request.COOKIES,
        agent=request.headers.get("User-Agent", ""),
        address=request.META.get("REMOTE_ADDR", ""),
    )
    reply = pages.answer(visit)
    request.shop = (visit, reply)
    response = StreamingHttpResponse(reply.pieces(), status=reply.status, headers=reply.headers)
    if reply.token:
        response.set_cookie(pages.NOTE_COOKIE, reply.token, max_age=pages.NOTE_SECONDS, httponly=True, samesite="Lax")
    return response


def panel(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """A middleware that runs after Coatroom committed, before anything is sent."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if hasattr(request, "shop"):
            set_cookies = [morsel.OutputString() for morsel in response.cookies.values()]
            visit, reply = request.shop
            pages.committed(visit, reply, response.status_code, set_cookies)
        return response

    return respond
