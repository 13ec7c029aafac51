"""``request.session``."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from datetime import datetime, timedelta
from typing import Any

from coatroom._completions import in_thread
from coatroom.django.base import SessionBase


class DjangoSession(SessionBase):
    """A :class:`coatroom.Session` with the interface of Django's sessions, opened before the view runs.

    Whoever sets the key by which Django knows the user, as ``django.contrib.auth.login`` does, logs that user in: the
    principal is the user's primary key as text. ``flush``, which ``logout`` calls, ends the session.

    Each method with an ``a`` in front does what the one without it does. Once the session is open, only ``asave`` and
    the three below it ask the store, on a thread.
    """

    async def aget(self, key: str, default: Any = None) -> Any:
        await self._aopen()
        return self.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        await self._aopen()
        self[key] = value

    async def apop(self, key: str, *default: Any) -> Any:
        await self._aopen()
        return self.pop(key, *default)

    async def asetdefault(self, key: str, value: Any) -> Any:
        await self._aopen()
        return self.setdefault(key, value)

    async def aupdate(self, dict_: Mapping[str, Any]) -> None:
        await self._aopen()
        self.update(dict_)

    async def ahas_key(self, key: str) -> bool:
        await self._aopen()
        return key in self

    async def akeys(self) -> KeysView[str]:
        await self._aopen()
        return self.keys()

    async def avalues(self) -> ValuesView[Any]:
        await self._aopen()
        return self.values()

    async def aitems(self) -> ItemsView[str, Any]:
        await self._aopen()
        return self.items()

    async def aload(self) -> dict[str, Any]:
        await self._aopen()
        return self.load()

    async def aset_test_cookie(self) -> None:
        await self._aopen()
        self.set_test_cookie()

    async def atest_cookie_worked(self) -> bool:
        await self._aopen()
        return self.test_cookie_worked()

    async def adelete_test_cookie(self) -> None:
        await self._aopen()
        self.delete_test_cookie()

    async def aset_expiry(self, value: int | float | datetime | timedelta | None) -> None:
        await self._aopen()
        self.set_expiry(value)

    async def aget_expiry_age(self, **kwargs: Any) -> int:
        await self._aopen()
        return self.get_expiry_age(**kwargs)

    async def aget_expiry_date(self, **kwargs: Any) -> datetime:
        await self._aopen()
        return self.get_expiry_date(**kwargs)

    async def aget_expire_at_browser_close(self) -> bool:
        await self._aopen()
        return self.get_expire_at_browser_close()

    async def aflush(self) -> None:
        await self._aopen()
        self.flush()

    async def acycle_key(self) -> None:
        await self._aopen()
        self.cycle_key()

    async def asave(self, must_create: bool = False) -> None:
        await in_thread(self.save, must_create)

    async def acreate(self) -> None:
        await in_thread(self.create)

    async def aexists(self, session_key: str) -> bool:
        return await in_thread(self.exists, session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        await in_thread(self.delete, session_key)
