"""The vectors of whole exchanges, which every language plays: `spec/vectors/exchange/README.md` has their format.
Values go through the objects of Python: what comes back has the same bytes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import coatroom
import pytest
from coatroom import _native
from coatroom.testing import ManualClock

FOLDER = Path(__file__).parents[2] / "spec" / "vectors" / "exchange"
INDEX: dict[str, Any] = json.loads((FOLDER / "index.json").read_text())

Fields = dict[str, Any]

SETTINGS = {"size", "sealed", "carry", "concurrency", "reuse"}
SPANS = {"idle", "touch", "absolute", "activation", "skew", "grace", "rotate_every", "tombstone"}


def take(fields: Fields, *names: str) -> list[Any]:
    """The values of exactly these fields."""
    assert set(fields) == set(names), fields
    return [fields[name] for name in names]


def hexed(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def unhexed(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def settings(given: Fields) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name == "limit":
            made[name] = tuple(value)
        elif name in SETTINGS:
            made[name] = value
        else:
            span, unit = name[:-3], name[-3:]
            assert (span in SPANS, unit) == (True, "_ms"), name
            made[span] = None if value is None else value / 1000
    return made


class Player:
    """One case under way."""

    def __init__(self, given: Fields) -> None:
        self.store: dict[str, str] = given.pop("store", {})
        place = given.pop("place", "memory")
        assert place in ("memory", "cookie"), place
        keys, seed, chosen = take(given, "keys", "seed", "settings")
        self.clock = ManualClock(seed=bytes.fromhex(seed))
        self.sessions = coatroom.Sessions(place, keys, clock=self.clock, **settings(chosen))
        self.exchanges: dict[str, _native.Exchange] = {}

    def call(self, call: str, name: str, args: Fields) -> Fields:
        """Makes one call; what came of it."""
        if call == "open":
            cookies, now = take(args, "cookies", "now")
            self.clock._native.set(now)
            self.exchanges[name] = _native.open_by_hand(self.sessions._native, bytes.fromhex(cookies))
            return self.outcome(name)
        if call == "edits":
            (edits,) = take(args, "edits")
            try:
                return {"results": [edit(self.exchanges[name], dict(one)) for one in edits]}
            except coatroom.CoatroomError as error:
                return {"error": error.code}
        try:
            self.answer(call, self.exchanges[name], args)
        except coatroom.CoatroomError as error:
            return {"error": error.code}
        return self.outcome(name)

    def answer(self, call: str, exchange: _native.Exchange, args: Fields) -> None:
        if call == "close":
            (now,) = take(args, "now")
            self.clock._native.set(now)
            _native.answer_by_hand(exchange, "close")
        elif call == "entered":
            revoked, count = take(args, "revoked", "count")
            _native.answer_by_hand(exchange, "entered", None, revoked, count)
        elif call == "found" and "unavailable" in args:
            assert take(args, "unavailable") == [True]
            _native.answer_by_hand(exchange, "silent")
        elif call in ("found", "conflicted", "unknown"):
            (record,) = take(args, "record")
            self.keep(exchange, record)
            _native.answer_by_hand(exchange, call, unhexed(record))
        else:
            assert call in ("saved", "unavailable"), f"unknown call {call}"
            take(args)
            if call == "saved":
                self.keep_swap(exchange)
            _native.answer_by_hand(exchange, call)

    def keep(self, exchange: _native.Exchange, record: str | None) -> None:
        """The store holds this under the handle that the exchange asks for."""
        try:
            kind, parts = _native.waits_by_hand(exchange)
        except coatroom.CoatroomError:
            return
        if kind in ("load", "swap"):
            self.put(parts if kind == "load" else parts[0], record)

    def keep_swap(self, exchange: _native.Exchange) -> None:
        kind, parts = _native.waits_by_hand(exchange)
        if kind == "swap":
            self.put(parts[0], hexed(parts[2]))

    def put(self, handle: bytes, record: str | None) -> None:
        if record is None:
            self.store.pop(handle.hex(), None)
        else:
            self.store[handle.hex()] = record

    def outcome(self, name: str) -> Fields:
        exchange = self.exchanges[name]
        noticed = [event for event, _, _ in exchange.events()]
        try:
            kind, parts = _native.waits_by_hand(exchange)
        except coatroom.CoatroomError as error:
            return {"failed": {"error": error.code, "events": noticed}}
        if kind == "load":
            return {"load": parts.hex()}
        if kind == "handler":
            return {"handler": view(exchange)}
        if kind == "swap":
            return {"swap": swap(*parts)}
        if kind == "entry":
            return {"entry": entry(*parts)}
        return {"done": {"cookies": exchange.head()[2], "written": exchange.trace()[3], "events": noticed}}


def view(exchange: _native.Exchange) -> Fields:
    state, _, handle, *_ = exchange.trace()
    keys = exchange.keys()
    who = exchange.principal()
    return {
        "state": state,
        "handle": None if handle is None else base64.urlsafe_b64decode(handle).hex(),
        "principal": None if who is None else {"name": who[0], "roles": who[1], "level": who[2]},
        "data": {key: exchange.encode(exchange.get(key)).hex() for key in keys},
    }


def swap(
    handle: bytes, expected: bytes | None, new: bytes | None, durable: bool, garbage_at: int, enter: Any, leave: Any
) -> Fields:
    listing = {"enter": entry(*enter)} if enter else {"leave": leave} if leave is not None else None
    return {
        "handle": handle.hex(),
        "expected": hexed(expected),
        "new": hexed(new),
        "durable": durable,
        "garbage_at": garbage_at,
        "listing": listing,
    }


def entry(principal: str, handle: bytes, until: int, now: int, at_most: int | None) -> Fields:
    return {"principal": principal, "handle": handle.hex(), "until": until, "now": now, "at_most": at_most}


def edit(exchange: _native.Exchange, fields: Fields) -> Any:
    """Makes one edit; its result."""
    kind = fields.pop("edit")
    if kind == "set":
        key, value = take(fields, "key", "value")
        exchange.set(key, _native.decode(bytes.fromhex(value)))
    elif kind == "get":
        (key,) = take(fields, "key")
        return exchange.encode(exchange.get(key)).hex() if exchange.contains(key) else None
    elif kind == "remove":
        (key,) = take(fields, "key")
        if exchange.contains(key):
            exchange.remove(key)
    elif kind == "add":
        return exchange.add(*take(fields, "key", "n"))
    elif kind == "login":
        exchange.login(*take(fields, "principal", "roles", "level"))
    elif kind == "elevate":
        exchange.elevate(*take(fields, "level"))
    elif kind == "client":
        exchange.set_client(*take(fields, "label", "address"))
    else:
        take(fields)
        assert kind in ("clear", "logout", "rotate", "strict", "head_sent", "discard"), f"unknown edit {kind}"
        return getattr(exchange, kind)()
    return None


def play_all(text: str) -> int:
    """Plays the text of a file; how many cases it has."""
    (cases,) = take(json.loads(text), "cases")
    for case in cases:
        play(case)
    return len(cases)


def play(case: Fields) -> None:
    name, given, steps, then = take(case, "name", "given", "steps", "then")
    player = Player(given)
    for number, step in enumerate(steps, 1):
        call, exchange, args, expect = take(step, "call", "exchange", "args", "expect")
        came = player.call(call, exchange, args)
        assert came == expect, f"{name}, step {number} ({call})"
    (store,) = take(then, "store")
    assert player.store == store, name


@pytest.mark.parametrize("file", INDEX["files"])
def test_every_case_plays_as_it_is_written(file: str) -> None:
    cases = play_all((FOLDER / file).read_text())
    print(f"{file}: {cases} cases")
    assert cases == INDEX["files"][file]


def test_the_index_counts_every_file() -> None:
    assert set(INDEX["files"]) == {path.name for path in FOLDER.glob("*.json")} - {"index.json"}
    assert INDEX["cases"] == sum(INDEX["files"].values())


def test_a_difference_is_noticed() -> None:
    text = (FOLDER / "visitors.json").read_text()
    for old, new in [
        ('"durable":true', '"durable":false'),
        ("SameSite=Lax", "SameSite=lax"),
        ('"call": "saved"', '"call": "kept"'),
        ('"now":', '"extra":1,"now":'),
    ]:
        with pytest.raises(AssertionError):
            play_all(text.replace(old, new, 1))
