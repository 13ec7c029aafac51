"""What the adapters answer to `POST /token` and to whoever asks for the keys, and what a guard says of a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from coatroom._answer import Answer
from coatroom.session import Session

if TYPE_CHECKING:
    from coatroom.tokens import Claims, Issuer, Verifier

TOKEN_PATH = "/token"
KEYS_PATH = "/.well-known/jwks.json"
KEYS_LAST = 300
"""Seconds for which anybody may keep the key set. A new key is to be published for longer before it signs."""


# spec: TOKEN-3 c1a8
def token_answer(issuer: Issuer, session: object) -> Answer:
    """A token for the login of the request, in the form of RFC 6749 section 5.1. Whatever there is no token for raises:
    the adapter answers as it does to any of these errors."""
    if not isinstance(session, Session):
        raise RuntimeError("there is no session here: add Coatroom to the application, or look at its `skip`")
    token = issuer.issue(session)
    body = {"access_token": token.text, "token_type": "Bearer", "expires_in": token.lifetime}
    return Answer(200, json.dumps(body).encode(), _headers("application/json", "no-store"))


# spec: TOKEN-9 8191
def keys_answer(issuer: Issuer) -> Answer:
    """The public keys, for anybody (RFC 7517 section 8.5.1)."""
    kept = f"public, max-age={KEYS_LAST}"
    return Answer(200, issuer.jwks().encode(), _headers("application/jwk-set+json", kept))


def not_allowed(method: str) -> Answer:
    """To another method than this one, where no framework says so."""
    return Answer(405, b"", (("Allow", method),))


def checked(verifier: Verifier, authorization: str | None, role: str | None) -> Claims:
    """What the token of a request states, and that its principal has the role."""
    claims = verifier.bearer(authorization)
    if role is not None:
        claims.require_role(role)
    return claims


def _headers(kind: str, cache_control: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", kind), ("Cache-Control", cache_control))
