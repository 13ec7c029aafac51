"""What is stored, for an operator: never an id, never data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coatroom.session import Device
from coatroom.sessions import Sessions

BATCH = 1000

SHOWN = ("label", "address", "created", "seen", "authenticated", "over", "level")


@dataclass(frozen=True)
class Record:
    """One stored record. ``kind`` is login, visitor, expired, ended or unreadable."""

    handle: str
    kind: str
    cause: str | None
    principal: str | None
    device: Device | None

    def document(self) -> dict[str, Any]:
        """For programs."""
        document = {"handle": self.handle, "kind": self.kind, "cause": self.cause, "principal": self.principal}
        return document if self.device is None else document | {name: getattr(self.device, name) for name in SHOWN}


def records(sessions: Sessions) -> Iterator[list[Record]]:
    """Everything that is stored, in batches. What is written meanwhile may be missing."""
    place: bytes | None = None
    while True:
        rows, place = sessions._native.scan(place, BATCH)
        yield [_record(*row) for row in rows]
        if place is None:
            return


def look_up(sessions: Sessions, handle: str) -> Record | None:
    """What is stored under a handle."""
    row = sessions._native.look_up(handle)
    return None if row is None else _record(*row)


def of_principal(sessions: Sessions, principal: str) -> list[Record]:
    """The live sessions of a principal, by the index."""
    return [Record(device.handle, "login", None, principal, device) for device in sessions.devices(principal)]


class Statistics:
    """Counts over records."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter(login=0, visitor=0, expired=0, ended=0, unreadable=0)
        self.causes: Counter[str] = Counter()
        self.per_principal: Counter[str] = Counter()

    def count(self, record: Record) -> None:
        self.kinds[record.kind] += 1
        if record.cause is not None:
            self.causes[record.cause] += 1
        if record.kind == "login" and record.principal is not None:
            self.per_principal[record.principal] += 1

    def document(self) -> dict[str, Any]:
        return {
            "records": self.kinds.total(),
            "kinds": dict(self.kinds),
            "causes": dict(self.causes),
            "principals": len(self.per_principal),
            "most_of_one_principal": max(self.per_principal.values(), default=0),
        }


def _record(handle: str, kind: str, cause: str | None, principal: str | None, parts: Any) -> Record:
    return Record(handle, kind, cause, principal, None if parts is None else Device.of(parts, None))
