"""The conformance app on Django, served by gunicorn."""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import django
from coatroom.django import DjangoSession
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET, require_POST

import options

Reply = dict[str, Any]
View = Callable[[HttpRequest], Reply]

#: `django.contrib.auth.SESSION_KEY`; that app wants a database, and the contract has none.
SESSION_KEY = "_auth_user_id"


def create() -> Any:
    """The app as its flags ask for it."""
    sessions = options.inherited("django").sessions()
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=BASELINE if sessions is None else CONTRACT,
        INSTALLED_APPS=["coatroom.django"],
        MIDDLEWARE=[] if sessions is None else ["coatroom.django.SessionMiddleware"],
        COATROOM={"sessions": sessions},
        # A request that is refused is not worth a line on the console.
        LOGGING_CONFIG=None,
    )
    django.setup()
    return WSGIHandler()


def read(route: str, view: View) -> URLPattern:
    """A route that is asked for with GET."""
    return path(route, require_GET(replying(view)))


def write(route: str, view: View) -> URLPattern:
    """A route that is asked for with POST."""
    return path(route, require_POST(replying(view)))


def replying(view: View) -> Callable[[HttpRequest], JsonResponse]:
    """The reply of a view as JSON; 400 and the reason for a wrong parameter."""

    def reply(request: HttpRequest) -> JsonResponse:
        try:
            return JsonResponse(view(request))
        except options.BadParameterError as error:
            return JsonResponse({"error": str(error)}, status=400)

    return reply


def mine(request: HttpRequest) -> DjangoSession:
    """The session of this request, with its own methods."""
    return cast("DjangoSession", request.session)


def pause(request: HttpRequest) -> None:
    """Sleeps as long as the request asks for."""
    seconds = options.pause_seconds(request.GET)
    if seconds:
        time.sleep(seconds)


def me(request: HttpRequest) -> Reply:
    """Who is logged in, and what the session holds."""
    pause(request)
    session = mine(request)
    values = {name: session[name] for name in session if name != SESSION_KEY}
    return options.me(session.principal, values)


def login(request: HttpRequest) -> Reply:
    """Logs in as anyone, the way that Django's own login does for a user of its database."""
    mine(request)[SESSION_KEY] = options.text(request.GET, "user")
    return {"ok": True}


def logout(request: HttpRequest) -> Reply:
    """Ends the session, if there is one."""
    mine(request).flush()
    return {"ok": True}


def sessions(request: HttpRequest) -> Reply:
    """Where the same user is logged in."""
    return options.devices(mine(request).devices())


def logout_others(request: HttpRequest) -> Reply:
    """Ends all other sessions of the user."""
    return {"ended": mine(request).revoke_others()}


def logout_all(request: HttpRequest) -> Reply:
    """Ends all sessions of the user."""
    session = mine(request)
    ended = session.revoke_all()
    session.flush()
    return {"ended": ended}


def incr(request: HttpRequest) -> Reply:
    """Counts the way most applications do: read, think, write."""
    session = mine(request)
    views = session.get("views", 0) + 1
    pause(request)
    session["views"] = views
    return {"views": views}


def add(request: HttpRequest) -> Reply:
    """Counts in a way that no parallel request can spoil."""
    pause(request)
    return {"views": mine(request).add("views", 1)}


def set_(request: HttpRequest) -> Reply:
    """Sets one key."""
    name, value = options.key(request.GET), request.GET.get("v", "")
    session = mine(request)
    pause(request)
    session[name] = value
    return {"ok": True}


def rotate(request: HttpRequest) -> Reply:
    """Asks for a new id."""
    return {"rotated": mine(request).rotate() == "rotated"}


#: The routes that all conformance apps share.
CONTRACT = (
    read("me", me),
    read("sessions", sessions),
    write("logout-others", logout_others),
    write("logout-all", logout_all),
    *(write(view.__name__.rstrip("_"), view) for view in (login, logout, incr, add, set_, rotate)),
)

#: Constant replies without any session layer, to measure against.
BASELINE = (
    read("me", lambda _request: options.me(None, {})),
    write("incr", lambda _request: {"views": 1}),
)


def main() -> None:
    """Becomes gunicorn, in this process."""
    options.start("django")
    gunicorn_settings = Path(__file__).parent / "gunicorn_settings.py"
    sys.argv = ["gunicorn", "--config", str(gunicorn_settings), "django_app:create()"]
    runpy.run_module("gunicorn", run_name="__main__")


if __name__ == "__main__":
    main()
