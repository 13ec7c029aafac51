"""The suite that every store must pass, for pytest. A store of your own passes it in a test file of three lines::

    class TestMyStore(coatroom.store_suite.StoreSuite, coatroom.store_suite.IndexSuite):
        @pytest.fixture
        def store(self): return MyStore()

:class:`StoreSuite` is for ``load`` and ``swap``, :class:`IndexSuite` for a store that knows principals, and
:class:`SweepSuite` and :class:`ScanSuite` for one that sweeps and scans. Handles and principals are fresh in each test,
so the store need not be empty. An asynchronous store is awaited on one event loop per test, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, TypeVar

import pytest

from coatroom._on_loop import commit_on_loop, open_on_loop
from coatroom.errors import StoreUnavailable, UnknownOutcome
from coatroom.session import Session
from coatroom.sessions import Sessions
from coatroom.store import Conflict, Done, Entered, Entry, Full, Swap, Swapped, stamp_of
from coatroom.testing import KEYS, ManualClock

__all__ = ["IndexSuite", "ScanSuite", "StoreSuite", "SweepSuite"]

T = TypeVar("T")
HOUR = 3_600_000
THREADS = 4


class _Asked:
    """A store, asked call by call from any thread, whether it is asynchronous or not."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.is_async = inspect.iscoroutinefunction(store.load)
        self.loop: asyncio.AbstractEventLoop | None = None
        if self.is_async:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever, name="store suite")
            self.thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def _ask(self, name: str, *arguments: Any) -> Any:
        answer = getattr(self.store, name)(*arguments)
        return self.wait(answer) if self.is_async else answer

    def load(self, handle: str) -> bytes | None:
        record: bytes | None = self._ask("load", handle)
        return record

    def swap(self, swap: Swap) -> Swapped:
        answer: Swapped = self._ask("swap", swap)
        return answer

    def enter(self, entry: Entry) -> Entered | Full:
        answer: Entered | Full = self._ask("enter", entry)
        return answer

    def sessions(self, principal: str) -> list[str]:
        return sorted(self._ask("sessions", principal))

    def leave(self, principal: str, handle: str) -> None:
        self._ask("leave", principal, handle)

    def bar(self, principal: str, now: int) -> int:
        return int(self._ask("bar", principal, now))

    def sweep(self, now: int, most: int) -> int:
        return int(self._ask("sweep", now, most))

    def scan(self, place: bytes | None, most: int) -> tuple[Sequence[str], bytes | None]:
        answer: tuple[Sequence[str], bytes | None] = self._ask("scan", place, most)
        return answer

    def create(self, handle: str, garbage_at: int | None = None) -> None:
        assert self.swap(_swap(handle, None, _record(1, 1), garbage_at=garbage_at)) == Done()

    def exchange(self, sessions: Sessions, cookies: str, work: Callable[[Session], None]) -> str:
        """One request; the cookies that a browser then has."""

        async def on_loop() -> Session:
            session = Session(await open_on_loop(sessions, cookies, False), sessions, cookies)
            work(session)
            await commit_on_loop(session, 200)
            return session

        if self.is_async:
            session = self.wait(on_loop())
        else:
            session = sessions.open(cookies)
            work(session)
            session._commit(200)
        return "; ".join(line.partition(";")[0] for line in session._exchange.head()[2]) or cookies

    def close(self) -> None:
        if self.loop is not None:
            close = getattr(self.store, "aclose", None)
            if close is not None:
                self.wait(close())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


class _Suite:
    @pytest.fixture
    def asked(self, store: Any) -> Iterator[_Asked]:
        asked = _Asked(store)
        yield asked
        asked.close()


class StoreSuite(_Suite):
    """``load`` and ``swap`` as :class:`coatroom.Store` has them."""

    @pytest.mark.parametrize("durable", [False, True])
    def test_a_swap_never_inserts_and_a_create_never_overwrites(self, asked: _Asked, durable: bool) -> None:
        handle, neighbour = _handle(), _handle()
        first, second = _record(1, 1), _record(2, 2, bytes(65_536))
        assert asked.load(handle) is None
        for record in (second, None):
            assert asked.swap(_swap(handle, first, record, durable)) == Conflict(None), "nothing is there to replace"
        assert asked.load(handle) is None
        assert asked.swap(_swap(handle, None, first, durable)) == Done()
        assert asked.load(handle) == first
        for record in (first, second):
            assert asked.swap(_swap(handle, None, record, durable)) == Conflict(first), "something is there already"
        assert asked.swap(_swap(handle, first, second, durable)) == Done()
        assert asked.load(handle) == second
        assert asked.load(neighbour) is None

    @pytest.mark.parametrize("durable", [False, True])
    def test_a_refused_swap_tells_what_is_stored_and_changes_nothing(self, asked: _Asked, durable: bool) -> None:
        handle, present = _handle(), _record(2, 2)
        assert asked.swap(_swap(handle, None, present, durable)) == Done()
        past = [_record(1, 1), _record(1, 2)]
        future = [_record(3, 2), _record(1 << 40, 2), _record((1 << 64) - 1, 2)]
        same_version = [_record(2, 9), _record(2, (1 << 64) - 1)]
        for other in past + future + same_version:
            for record in (_record(9, 9), None):
                refused = asked.swap(_swap(handle, other, record, durable))
                assert refused == Conflict(present), "version and commit id both count"
        assert asked.load(handle) == present

    def test_nothing_brings_a_removed_record_back(self, asked: _Asked) -> None:
        handle = _handle()
        asked.create(handle)
        assert asked.swap(_swap(handle, _record(1, 1), None)) == Done()
        assert asked.load(handle) is None
        assert asked.swap(_swap(handle, _record(1, 1), _record(2, 2))) == Conflict(None)
        assert asked.load(handle) is None
        asked.create(handle)

    def test_stamps_are_compared_as_bytes_and_not_as_numbers_that_are_rounded(self, asked: _Asked) -> None:
        for bit in range(0, 64, 3):
            handle, one = _handle(), 1 << bit
            stored = _record(one, one)
            assert asked.swap(_swap(handle, None, stored)) == Done()
            for other in (_record(one ^ 1, one), _record(one, one ^ 1)):
                assert asked.swap(_swap(handle, other, None)) == Conflict(stored)
            assert asked.swap(_swap(handle, stored, None)) == Done()

    def test_any_bytes_come_back_as_they_were(self, asked: _Asked) -> None:
        for rest in (bytes(range(256)), b"\x00'\"; DROP TABLE session; --", b"\xff\xfe\r\n\x00", b""):
            handle, record = _handle(), _record(1, 1, rest)
            assert asked.swap(_swap(handle, None, record)) == Done()
            assert asked.load(handle) == record

    def test_handles_are_told_apart_by_case_and_by_every_character(self, asked: _Asked) -> None:
        stem = _handle()[:11]
        handles = [stem + tail for tail in ("AbcdA", "abcdA", "ABCDA", "Abc_A", "Abc-A")]
        for number, handle in enumerate(handles):
            assert asked.swap(_swap(handle, None, _record(1, number))) == Done()
        for number, handle in enumerate(handles):
            assert asked.load(handle) == _record(1, number)

    def test_of_racing_creates_one_takes_place(self, asked: _Asked) -> None:
        for _ in range(10):
            handle = _handle()
            records = [_record(1, number) for number in range(THREADS)]
            answers = _at_once(lambda record, h=handle: asked.swap(_swap(h, None, record)), records)  # type: ignore[misc]
            assert Counter(map(type, answers)) == {Done: 1, Conflict: THREADS - 1}
            stored = asked.load(handle)
            assert stored == records[answers.index(Done())]
            assert all(answer in (Done(), Conflict(stored)) for answer in answers)

    def test_racing_swaps_have_one_order(self, asked: _Asked) -> None:
        handle, each = _handle(), 25
        asked.create(handle)

        def write(thread: int) -> list[tuple[bytes, bytes]]:
            done, present = [], asked.load(handle)
            assert present is not None
            for number in range(each * 40):
                version = int.from_bytes(stamp_of(present)[:8], "big") + 1
                record = _record(version, 1 + thread + number * THREADS)
                answer = asked.swap(_swap(handle, present, record))
                if isinstance(answer, Conflict):
                    assert answer.record is not None
                    assert answer.record != present, "a refusal names what stood against it"
                    present = answer.record
                    continue
                done.append((present, record))
                present = record
                if len(done) == each:
                    return done
            raise AssertionError("racing swaps starve")

        chain = dict(link for links in _at_once(write, list(range(THREADS))) for link in links)
        assert len(chain) == THREADS * each, "no record was replaced twice"
        record = _record(1, 1)
        for _ in range(THREADS * each):
            record = chain.pop(record)
        assert asked.load(handle) == record

    def test_additions_of_racing_requests_all_count(self, asked: _Asked) -> None:
        sessions = Sessions(asked.store, KEYS)
        cookies = asked.exchange(sessions, "", lambda session: session.update(n=0))
        work = range(THREADS * 10)
        _at_once(lambda _: asked.exchange(sessions, cookies, _count), work)
        asked.exchange(sessions, cookies, lambda session: _is(session, len(work)))

    def test_an_unknown_outcome_is_found_out_and_counts_once(self, asked: _Asked) -> None:
        sessions = Sessions((_DoubtfulAsync if asked.is_async else _Doubtful)(asked.store), KEYS)
        plain = Sessions(asked.store, KEYS)
        cookies = asked.exchange(plain, "", lambda session: session.update(n=0))
        outcomes: Counter[str] = Counter()
        for _ in range(40):
            try:
                asked.exchange(sessions, cookies, _count)
                outcomes["acknowledged"] += 1
            except UnknownOutcome:
                outcomes["unknown"] += 1
            except StoreUnavailable:
                pass
        count = _read(asked, plain, cookies)
        assert outcomes["acknowledged"] > 20, "most doubts are cleared up"
        assert outcomes["acknowledged"] <= count <= outcomes["acknowledged"] + outcomes["unknown"]

    def test_expiry_is_judged_from_the_record_and_use_prolongs_it(self, asked: _Asked) -> None:
        clock = ManualClock(datetime.now(timezone.utc))
        sessions = Sessions(asked.store, KEYS, clock=clock, idle=600, touch=0)
        cookies = asked.exchange(sessions, "", lambda session: session.update(n=1))
        for _ in range(3):
            clock.advance(590)
            asked.exchange(sessions, cookies, lambda session: _is(session, 1))
        clock.advance(600)
        asked.exchange(sessions, cookies, lambda session: _is(session, None))

    def test_a_record_is_kept_for_as_long_as_the_swap_says(self, asked: _Asked) -> None:
        """A store that removes garbage goes by the last swap: the one before has no say."""
        handle, soon = _handle(), _now() + 1000
        asked.create(handle, garbage_at=soon)
        second = _record(2, 2)
        assert asked.swap(_swap(handle, _record(1, 1), second, garbage_at=_now() + HOUR)) == Done()
        while _now() <= soon + 200:
            time.sleep(0.05)
        assert asked.load(handle) == second

    def test_a_session_that_was_ended_stays_ended(self, asked: _Asked) -> None:
        sessions = Sessions(asked.store, KEYS)
        cookies = asked.exchange(sessions, "", lambda session: session.login("ada"))
        asked.exchange(sessions, cookies, lambda session: _is_named(session, "ada"))
        asked.exchange(sessions, cookies, lambda session: session.logout())
        asked.exchange(sessions, cookies, lambda session: _is_named(session, None))


class IndexSuite(_Suite):
    """The methods of :class:`coatroom.store.Index`."""

    def test_entering_twice_is_entering_once_and_leaving_takes_away(self, asked: _Asked) -> None:
        ada, one, two = _somebody(), _handle(), _handle()
        assert asked.sessions(ada) == []
        assert _entered(_log_in(asked, _entry(ada, one))) == (0, 1)
        assert _entered(_log_in(asked, _entry(ada, two))) == (0, 2)
        assert _entered(asked.enter(_entry(ada, one))) == (0, 2)
        assert asked.sessions(ada) == sorted([one, two])
        for _ in range(2):
            asked.leave(ada, one)
            assert asked.sessions(ada) == [two]
        asked.leave(_somebody(), two)
        assert asked.sessions(ada) == [two]

    def test_a_limit_counts_others_that_are_not_over(self, asked: _Asked) -> None:
        ada, one, two, three = _somebody(), _handle(), _handle(), _handle()
        for handle in (one, two, three):
            asked.create(handle, garbage_at=_now() + (24 if handle == three else 12) * HOUR)
        assert _entered(asked.enter(_entry(ada, one, at_most=2))) == (0, 1)
        assert _entered(asked.enter(_entry(ada, two, at_most=2))) == (0, 2)
        assert asked.enter(_entry(ada, three, at_most=2)) == Full()
        assert asked.sessions(ada) == sorted([one, two]), "who found no room is not listed"
        assert _entered(asked.enter(_entry(ada, two, at_most=2))) == (0, 2), "nobody counts against themselves"
        later = _now() + 13 * HOUR
        tomorrow = Entry(ada, three, later + 12 * HOUR, later, 2)
        assert _entered(asked.enter(tomorrow)) == (0, 1), "what is over does not count"

    def test_an_entry_names_those_that_were_listed_before_it_and_no_later_one(self, asked: _Asked) -> None:
        ada, now = _somebody(), _now()

        def enter(handle: str, hours: int, names: int = 4) -> list[str] | None:
            return _before(asked.enter(Entry(ada, handle, now + hours * HOUR, now, names=names)))

        one, two, three, four = (_handle() for _ in range(4))
        for handle, hours in ((one, 2), (two, 1), (three, 3), (four, 4)):
            asked.create(handle, garbage_at=now + hours * HOUR)
        assert enter(one, 2) == []
        assert enter(two, 1) == [one]
        assert enter(three, 3) == [two, one], "who is over first comes first"
        assert enter(two, 1) is None, "some of the others came after this one"
        assert enter(four, 4, names=1) == [two], "as many as are asked for"

    def test_revocations_have_moments_of_their_own_and_remove_no_entry(self, asked: _Asked) -> None:
        ada, handle, now = _somebody(), _handle(), _now()
        first = asked.bar(ada, now + HOUR)
        assert _entered(_log_in(asked, _entry(ada, handle)))[0] == first
        second, third = asked.bar(ada, now + HOUR), asked.bar(ada, now)
        assert first < second < third
        assert _entered(asked.enter(_entry(ada, handle)))[0] == third
        assert asked.sessions(ada) == [handle]

    def test_principals_are_told_apart_whatever_they_are_called(self, asked: _Asked) -> None:
        tail = _handle()
        hostile = ["a\0b", "a\0c", "a\nb", "'; DROP TABLE session; --", "\U0001f9e5", ".", "..", "x" * 1000]
        names = ["ada", "Ada", "ada ", " ada", "ad\u00e1", "ada\u0301", "../ada", "ada/..", "{ada}", "a%d_*", *hostile]
        entered = {f"{name}{tail}{name}": _handle() for name in names}
        for name, handle in entered.items():
            assert _entered(_log_in(asked, _entry(name, handle))) == (0, 1), f"{name!r} is somebody else"
        for name, handle in entered.items():
            assert asked.sessions(name) == [handle], repr(name)

    def test_racing_entries_keep_a_limit_and_none_is_missed(self, asked: _Asked) -> None:
        for _ in range(5):
            ada, handles = _somebody(), [_handle() for _ in range(2 * THREADS)]
            for handle in handles:
                asked.create(handle)
            limited = [_entry(ada, handle, at_most=3) for handle in handles]
            answers = dict(zip(handles, _at_once(asked.enter, limited), strict=True))
            listed = sorted(handle for handle, answer in answers.items() if answer != Full())
            assert len(listed) == 3
            assert asked.sessions(ada) == listed
            free = [_entry(ada, handle) for handle in handles]
            counts = [_entered(answer)[1] for answer in _at_once(asked.enter, free)]
            assert max(counts) == len(handles)
            assert asked.sessions(ada) == sorted(handles)

    def test_a_login_and_a_revocation_never_miss_each_other(self, asked: _Asked) -> None:
        for _ in range(20):
            ada, handle = _somebody(), _handle()
            asked.create(handle)

            def revoke(ada: str = ada) -> tuple[int, list[str]]:
                moment = asked.bar(ada, _now())
                return moment, asked.sessions(ada)

            def enter(ada: str = ada, handle: str = handle) -> int:
                return _entered(asked.enter(_entry(ada, handle)))[0]

            (moment, seen), told = _at_once(lambda work: work(), [revoke, enter])
            assert told == moment or handle in seen

    def test_revoking_all_sessions_of_somebody_ends_them(self, asked: _Asked) -> None:
        sessions = Sessions(asked.store, KEYS)
        ada = _somebody()
        browsers = [asked.exchange(sessions, "", lambda session: session.login(ada)) for _ in range(3)]
        assert len(sessions.devices(ada)) == 3
        assert sessions.revoke_all(ada) == 3
        assert sessions.devices(ada) == []
        for cookies in browsers:
            asked.exchange(sessions, cookies, lambda session: _is_named(session, None))


class SweepSuite(_Suite):
    """The method of :class:`coatroom.store.Sweep`."""

    def test_a_sweep_removes_garbage_and_nothing_else_a_bounded_number_at_a_time(self, asked: _Asked) -> None:
        garbage, kept = [_handle() for _ in range(50)], [_handle() for _ in range(20)]
        for handle in garbage:
            asked.create(handle, garbage_at=_now() - 3 * HOUR)
        for handle in kept:
            asked.create(handle, garbage_at=_now() + 9 * HOUR)
        renewed = garbage.pop()
        again = _swap(renewed, _record(1, 1), _record(2, 2), garbage_at=_now() + 9 * HOUR)
        assert asked.swap(again) == Done()
        asked.sweep(_now() - 5 * HOUR, 1000)
        assert all(asked.load(handle) for handle in garbage), "not garbage yet"
        for _ in range(200):
            removed = asked.sweep(_now() - HOUR, 10)
            assert removed <= 20, "bounded"
            if removed == 0 and not any(asked.load(handle) for handle in garbage):
                break
        assert not any(asked.load(handle) for handle in garbage)
        assert all(asked.load(handle) for handle in [*kept, renewed])


class ScanSuite(_Suite):
    """The method of :class:`coatroom.store.Scan`."""

    @pytest.mark.parametrize("most", [1000, 7])
    def test_a_scan_meets_every_record_that_is_there_throughout(self, asked: _Asked, most: int) -> None:
        kept = {_handle() for _ in range(60)}
        for handle in kept:
            asked.create(handle)
        place: bytes | None = None
        for _ in range(100_000):
            passing = _handle()
            asked.create(passing)
            handles, place = asked.scan(place, most)
            kept.difference_update(handles)
            assert asked.swap(_swap(passing, _record(1, 1), None)) == Done()
            if place is None:
                break
        assert place is None, "a scan ends"
        assert not kept


class _Doubtful:
    """A store of which every third swap is in doubt, and which does not answer now and then."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.calls = 0

    def load(self, handle: str, /) -> bytes | None:
        self.fails(11)
        record: bytes | None = self.store.load(handle)
        return record

    def swap(self, swap: Swap, /) -> Swapped:
        self.fails(6)
        answer: Swapped = self.store.swap(swap)
        self.fails(5)
        return answer

    def fails(self, every: int) -> None:
        self.calls += 1
        if self.calls % every == 0:
            raise ConnectionError("planted")


class _DoubtfulAsync(_Doubtful):
    async def load(self, handle: str, /) -> bytes | None:  # type: ignore[override]
        self.fails(11)
        record: bytes | None = await self.store.load(handle)
        return record

    async def swap(self, swap: Swap, /) -> Swapped:  # type: ignore[override]
        self.fails(6)
        answer: Swapped = await self.store.swap(swap)
        self.fails(5)
        return answer


def _now() -> int:
    return time.time_ns() // 1_000_000


def _handle() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(12)).decode()


def _somebody() -> str:
    return f"ada {_handle()}"


def _record(version: int, commit: int, rest: bytes = b"") -> bytes:
    """Any bytes with a stamp in their place: a store looks at nothing else of a record."""
    return b"\x01\x00" + version.to_bytes(8, "big") + commit.to_bytes(8, "big") + rest


def _swap(
    handle: str,
    expected: bytes | None,
    record: bytes | None,
    durable: bool = True,
    garbage_at: int | None = None,
) -> Swap:
    """A swap of one record for another."""
    garbage_at = _now() + HOUR if garbage_at is None else garbage_at
    keep = max(garbage_at - _now(), 1000)
    return Swap(handle, None if expected is None else stamp_of(expected), record, durable, garbage_at, keep)


def _entry(principal: str, handle: str, at_most: int | None = None) -> Entry:
    return Entry(principal, handle, _now() + 12 * HOUR, _now(), at_most)


def _log_in(asked: _Asked, entry: Entry) -> Entered | Full:
    asked.create(entry.handle)
    return asked.enter(entry)


def _entered(answer: Entered | Full) -> tuple[int, int]:
    assert isinstance(answer, Entered)
    return answer.revoked, answer.count


def _before(answer: Entered | Full) -> list[str] | None:
    assert isinstance(answer, Entered)
    return None if answer.before is None else list(answer.before)


def _at_once(work: Callable[[Any], T], arguments: Sequence[Any]) -> list[T]:
    with ThreadPoolExecutor(len(arguments) if len(arguments) < 10 else THREADS) as threads:
        return list(threads.map(work, arguments))


def _count(session: Session) -> None:
    session.add("n")


def _is(session: Session, n: int | None) -> None:
    assert session.get("n") == n


def _is_named(session: Session, principal: str | None) -> None:
    assert session.principal == principal


def _read(asked: _Asked, sessions: Sessions, cookies: str) -> int:
    found: list[int] = []
    asked.exchange(sessions, cookies, lambda session: found.append(session["n"]))
    return found[0]
