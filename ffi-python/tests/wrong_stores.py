"""Stores that are wrong, each in one way: the suite must find every one."""

from __future__ import annotations

import time

from coatroom.store import Conflict, Done, Entered, Entry, Full, Swap, Swapped
from own_stores import Dict, Wheel


class Upserts(Dict):
    def swap(self, swap: Swap) -> Swapped:
        if swap.record is not None:
            self.records[swap.handle] = swap.record
        return Done()


class ComparesVersions(Dict):
    def swap(self, swap: Swap) -> Swapped:
        stored = self.records.get(swap.handle)
        if (None if stored is None else stored[2:10]) != (swap.expected and swap.expected[:8]):
            return Conflict(stored)
        return super().swap(Swap(swap.handle, stored and stored[2:18], swap.record, True, 0, 0))


class FoldsCase(Dict):
    def load(self, handle: str) -> bytes | None:
        return super().load(handle.lower())

    def swap(self, swap: Swap) -> Swapped:
        return super().swap(Swap(swap.handle.lower(), swap.expected, swap.record, True, 0, 0))


class SaysNothingOfWhatIsThere(Dict):
    def swap(self, swap: Swap) -> Swapped:
        answer = super().swap(swap)
        return Conflict(None) if isinstance(answer, Conflict) else answer


class ComparesFirstAndWritesLater(Dict):
    def swap(self, swap: Swap) -> Swapped:
        stored = self.records.get(swap.handle)
        if (None if stored is None else stored[2:18]) != swap.expected:
            return Conflict(stored)
        time.sleep(0.001)
        self.records[swap.handle] = swap.record or b""
        return Done()


class Forgetful(Wheel):
    def sessions(self, principal: str) -> list[str]:
        return list(super().sessions(principal))[1:]


class CountsInTwoSteps(Wheel):
    def enter(self, entry: Entry) -> Entered | Full:
        if entry.at_most is not None and len(self.sessions(entry.principal)) >= entry.at_most:
            return Full()
        time.sleep(0.001)
        return super().enter(Entry(entry.principal, entry.handle, entry.until, entry.now))


class NamesWhoCameLater(Wheel):
    def enter(self, entry: Entry) -> Entered | Full:
        answer = super().enter(entry)
        if isinstance(answer, Full) or answer.before is not None:
            return answer
        return Entered(answer.revoked, answer.count, answer.ago, list(self.sessions(entry.principal)))


class RepeatsMoments(Wheel):
    def bar(self, principal: str, now: int) -> int:
        super().bar(principal, now)
        return now
