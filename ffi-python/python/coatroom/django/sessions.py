"""``SESSION_ENGINE = "coatroom.django.sessions"``: what Django uses outside of requests, which is its test client and
the command ``clearsessions``. Requests have :class:`coatroom.django.DjangoSession`."""

from __future__ import annotations

from coatroom._completions import in_thread
from coatroom.django.conf import configuration
from coatroom.django.mirror import as_header
from coatroom.django.session import DjangoSession


class SessionStore(DjangoSession):
    """A session by its id, for tests. Here ``session_key`` is the whole id, and nothing is written without ``save``."""

    def __init__(self, session_key: str | None = None) -> None:
        config = configuration()
        self._id = session_key
        super().__init__(config.sessions, config.limits, as_header(session_key) if session_key else "", False)

    @property
    def session_key(self) -> str | None:
        """The id, if it opens a session."""
        return None if self._is_other or self.handle is None else self._id

    def save(self, must_create: bool = False) -> None:
        """Writes the session; the id may be another one afterwards."""
        super().save(must_create)
        for line in self._lines.values():
            self._id = line.partition(";")[0].partition("=")[2] or self._id
        self._lines.clear()

    def flush(self) -> None:
        """Ends the session at once."""
        self.logout()
        self._commit(200)
        self._cookies, self._id, self._opened = "", None, None
        self._is_closing = self._is_other = False

    def exists(self, session_key: str) -> bool:
        """Whether that id opens a session."""
        return SessionStore(session_key).session_key is not None

    @classmethod
    def clear_expired(cls) -> None:
        """Removes the records of all sessions that are over for good. Only space depends on it."""
        sessions = configuration().sessions
        while sessions.sweep():
            pass

    @classmethod
    async def aclear_expired(cls) -> None:
        await in_thread(cls.clear_expired)
