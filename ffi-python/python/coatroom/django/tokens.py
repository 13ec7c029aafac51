"""Access tokens for Django: URLs for projects that issue them, and a guard for those that only verify."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from coatroom._answer import Answer, answer, report
from coatroom._token_answers import KEYS_PATH, TOKEN_PATH, checked, keys_answer, token_answer
from coatroom._views import guarded, skip
from coatroom.django.conf import configuration
from coatroom.errors import CoatroomError

if TYPE_CHECKING:
    from coatroom.tokens import Issuer, Verifier

View = TypeVar("View", bound=Callable[..., Any])


def token_urls(issuer: Issuer) -> list[URLPattern | URLResolver]:
    """``POST /token``, a token for whoever is logged in, and ``GET /.well-known/jwks.json``, the public keys:
    ``urlpatterns = [*token_urls(issuer), ...]``. Django's CSRF protection holds, but for ids in headers, which no
    browser sends on its own."""

    def token(request: HttpRequest) -> HttpResponse:
        return _response(token_answer(issuer, getattr(request, "session", None)))

    def keys(_: HttpRequest) -> HttpResponse:
        return _response(keys_answer(issuer))

    view = require_POST(token)
    if configuration().sessions._uses_headers:
        view = csrf_exempt(view)
    return [path(TOKEN_PATH[1:], view, name="token"), path(KEYS_PATH[1:], skip(require_safe(keys)), name="jwks")]


def require_token(verifier: Verifier, role: str | None = None) -> Callable[[View], View]:
    """Answers 401 unless the request carries an access token that counts, 403 unless its principal has the role, and
    503 while endings are unknown; then ``request.claims`` is what the token states. The project needs no sessions. A
    token is no cookie, so the view is exempt from CSRF protection."""

    def refused(request: Any, *_: object, **__: object) -> HttpResponse | None:
        try:
            request.claims = checked(verifier, request.headers.get("Authorization"), role)
        except CoatroomError as error:
            report(error)
            return _response(answer(error))
        return None

    def decorate(view: View) -> View:
        checked_first = guarded(view, refused)
        # Before 5.0 `csrf_exempt` made an asynchronous view one that nobody awaits.
        checked_first.csrf_exempt = True  # type: ignore[attr-defined]
        return checked_first

    return decorate


def _response(made: Answer) -> HttpResponse:
    response = HttpResponse(made.body, status=made.status)
    for name, value in made.headers:
        response.headers[name] = value
    return response
