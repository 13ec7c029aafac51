"""What the adapters share: the answer to an exchange that failed, and the headers of one that did not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from coatroom._transport import carried, vary_of
from coatroom.errors import CoatroomError, TokenMissing, TokenRefused
from coatroom.session import Session

log = logging.getLogger("coatroom")

Headers: TypeAlias = "list[tuple[str, str]]"


@dataclass(frozen=True)
class Answer:
    """A response in place of the application's."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


OnError: TypeAlias = "Callable[[CoatroomError], Answer]"


# spec: ERR-1 63c2, HTTP-3 779a
def answer(error: CoatroomError) -> Answer:
    """The default: the error's status, its code and text as JSON; Retry-After with 503 (RFC 9110 section 15.6.4); a
    challenge where an access token is asked for (RFC 6750 section 3)."""
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    if error.status == 503:
        headers.append(("Retry-After", "1"))
    if isinstance(error, TokenRefused):
        is_missing = isinstance(error, TokenMissing)
        headers.append(("WWW-Authenticate", "Bearer" if is_missing else 'Bearer error="invalid_token"'))
    body = json.dumps({"error": error.code, "message": str(error)}).encode()
    return Answer(error.status, body, tuple(headers))


def report(error: CoatroomError) -> None:
    """Notes an answer of ours. The text of no error holds an id."""
    log.log(logging.ERROR if error.status >= 500 else logging.INFO, "%s: %s", error.code, error)


def abandon(session: Session) -> None:
    """Closes the exchange of a response that acknowledges nothing; what dead ids call for is written all the same."""
    try:
        session._commit(500)
    except CoatroomError as error:
        report(error)


# spec: HTTP-1 99c4, HTTP-2 2616
def session_headers(session: Session, headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers of a response that depends on the committed session."""
    merged = list(headers)
    replacing, more = changed_headers(session, _joined(merged, "vary"), _joined(merged, "cache-control"))
    for name, value in replacing:
        merged = [header for header in merged if header[0].lower() != name.lower()]
        merged.append((name, value))
    merged.extend(more)
    return merged


def changed_headers(session: Session, vary: str | None, cache_control: str | None) -> tuple[Headers, Headers]:
    """What such a response has in place of its own headers, and what besides."""
    new_vary, new_cache_control, cookies = session._exchange.head(vary, cache_control)
    pairs = (("Vary", vary_of(session, new_vary)), ("Cache-Control", new_cache_control))
    return [(name, value) for name, value in pairs if value is not None], carried(session, cookies)


def _joined(headers: Headers, name: str) -> str | None:
    values = [value for key, value in headers if key.lower() == name]
    return ", ".join(values) if values else None
