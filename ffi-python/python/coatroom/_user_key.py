"""What the adapters share whose frameworks know the user by a key of the session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from coatroom.session import Session


class UserKeySession(Session):
    """A session in which one key is the principal, under the name that a framework has for it.

    Whoever sets the key logs that user in, and whoever removes it, or clears the session, logs out. It is not stored:
    who is logged in is said in one place.
    """

    _user_key: str | None = None
    """The key; None if there is no such framework."""
    _logs_in = False
    """Whether somebody was logged in by this request."""
    # For most sessions never set.
    _visitor = None
    _more_lines = ()
    _has_left = False

    def __getitem__(self, key: str) -> Any:
        if self._user_key is None or key != self._user_key:
            return super().__getitem__(key)
        principal = self.principal
        if principal is None:
            raise KeyError(key)
        return principal

    def __setitem__(self, key: str, value: Any) -> None:
        if self._user_key is not None and key == self._user_key:
            self.login(str(value))
        else:
            super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        if self._user_key is None or key != self._user_key:
            super().__delitem__(key)
        elif key in self:
            self.logout()
        else:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        if self._user_key is None or key != self._user_key:
            return super().__contains__(key)
        return self.principal is not None

    def __iter__(self) -> Iterator[str]:
        if self._user_key is not None and self.principal is not None:
            yield self._user_key
        yield from super().__iter__()

    def __len__(self) -> int:
        return super().__len__() + (self._user_key is not None and self.principal is not None)

    def clear(self) -> None:
        """Removes every key, that of the user included: whoever is logged in is logged out."""
        if self._user_key is None or self.principal is None:
            super().clear()
        else:
            self.logout()

    def login(self, principal: str, roles: Iterable[str] = (), level: int = 1) -> None:
        super().login(principal, roles, level)
        self._logs_in = True

    def logout(self) -> None:
        super().logout()
        self._logs_in = False

    def _discard(self) -> None:
        super()._discard()
        self._logs_in = False
