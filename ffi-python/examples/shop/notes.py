"""Hands what was noted about one request to the next request, whichever worker process serves it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

KEPT = 200


class Notebook:
    """The last notes, in a file that all workers share. A note is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch(mode=0o600)
        with contextlib.closing(self._connect()) as book:
            book.execute("CREATE TABLE IF NOT EXISTS note (token TEXT PRIMARY KEY, text TEXT NOT NULL)")

    def put(self, token: str, text: str) -> None:
        """Keeps a note and forgets the oldest. A note that cannot be kept is not worth an error."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as book:
            book.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (token, text))
            book.execute("DELETE FROM note WHERE rowid <= (SELECT max(rowid) FROM note) - ?", (KEPT,))

    def take(self, token: str) -> str | None:
        """Reads a note and forgets it."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(self._connect()) as book:
            row = book.execute("SELECT text FROM note WHERE token = ?", (token,)).fetchone()
            book.execute("DELETE FROM note WHERE token = ?", (token,))
            return str(row[0]) if row else None
        return None

    def _connect(self) -> sqlite3.Connection:
        book = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        book.execute("PRAGMA synchronous = OFF")
        return book
