"""Access tokens for Flask: a blueprint for applications that issue them, and a guard for those that only verify."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Blueprint, Response, g, request, session

from coatroom._answer import Answer, answer, report
from coatroom._token_answers import KEYS_PATH, TOKEN_PATH, checked, keys_answer, token_answer
from coatroom._views import guarded, skip
from coatroom.errors import CoatroomError

if TYPE_CHECKING:
    from coatroom.tokens import Claims, Issuer, Verifier

View = TypeVar("View", bound=Callable[..., Any])


def token_blueprint(issuer: Issuer) -> Blueprint:
    """``POST /token``, a token for whoever is logged in, and ``GET /.well-known/jwks.json``, the public keys:
    ``app.register_blueprint(token_blueprint(issuer))``, perhaps with a ``url_prefix``."""
    blueprint = Blueprint("coatroom_tokens", __name__)

    @blueprint.post(TOKEN_PATH)
    def token() -> Response:
        # What stands behind Flask's proxy.
        return _response(token_answer(issuer, cast(Any, session)._get_current_object()))

    @blueprint.get(KEYS_PATH)
    @skip
    def keys() -> Response:
        return _response(keys_answer(issuer))

    return blueprint


def require_token(verifier: Verifier, role: str | None = None) -> Callable[[View], View]:
    """Answers 401 unless the request carries an access token that counts, 403 unless its principal has the role, and
    503 while endings are unknown; then :func:`current_claims` has what the token states. The application needs no
    sessions."""

    def refused(*_: object, **__: object) -> Response | None:
        try:
            g.coatroom_claims = checked(verifier, request.headers.get("Authorization"), role)
        except CoatroomError as error:
            report(error)
            return _response(answer(error))
        return None

    return lambda view: guarded(view, refused)


def current_claims() -> Claims:
    """What the token of this request states, in a view below :func:`require_token`."""
    return cast("Claims", g.coatroom_claims)


def _response(made: Answer) -> Response:
    return Response(made.body, made.status, made.headers)
