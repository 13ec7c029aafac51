"""Lets Django's own test client, as it is, log in and look at sessions.

That client believes that there is one session cookie, named ``SESSION_COOKIE_NAME``, and that the ``SessionStore`` of
``SESSION_ENGINE`` reads and writes what it stands for. So its requests, and no others, may show the present id under
that name, and their responses tell it under that name.
"""

# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from coatroom.django.conf import configuration


def is_of_test_client(request: HttpRequest) -> bool:
    """Whether Django's test client made this request, in this process. No header can make it look so, nor does the note
    with which some projects switch CSRF checks off."""
    if not hasattr(request, "_dont_enforce_csrf_checks"):
        return False
    body = request.environ["wsgi.input"] if hasattr(request, "environ") else request._stream
    # Django wraps the body, one way or another.
    body = getattr(body, "stream", getattr(getattr(body, "_read", None), "__self__", body))
    return type(body).__module__ == "django.test.client"


def shown(request: HttpRequest) -> str | None:
    """The Cookie header that a request of the test client stands for."""
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    return as_header(session_key) if session_key else None


def as_header(session_key: str) -> str:
    """An id, in whichever cookie it belongs to."""
    return "; ".join(f"{name}={session_key}" for name in configuration().sessions.cookie_names)


def keep(response: HttpResponseBase, lines: dict[str, str]) -> None:
    """Tells the test client what the browser is told."""
    if lines:
        pairs = (line.partition(";")[0].partition("=") for line in lines.values())
        response.cookies[settings.SESSION_COOKIE_NAME] = max(value for _, _, value in pairs)
