"""Messages for the next page."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coatroom.session import Session

KEY = "_flash"


def leave(session: Session, text: str, category: str) -> None:
    # Its own name tells it from an equal one that another request leaves at the same time.
    message = [secrets.token_bytes(6), category, text]
    session.update(KEY, lambda present: [*_list(present), message])


def take(session: Session) -> list[tuple[str, str]]:
    if KEY not in session:
        return []
    shown = _list(session[KEY])
    if shown:
        names = {message[0] for message in shown}
        # Not the key is removed but what is shown: what others leave meanwhile stays.
        session.update(KEY, lambda present: [message for message in _list(present) if message[0] not in names])
    return [(category, text) for _, category, text in shown]


def _list(present: Any) -> list[Any]:
    return present if isinstance(present, list) else []
