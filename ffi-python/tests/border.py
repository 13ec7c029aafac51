"""Bytes as a sequence of native calls with whatever objects Python can come up with: the fuzz target of the border.

``run`` raises AssertionError when a property is broken. What it expects comes from an encoder and a model of its own.
"""

from __future__ import annotations

import contextlib
import enum
import math
import random
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from coatroom import _native
from coatroom.errors import CoatroomError
from conftest import TEST_KEYS, Browser

KEYS = ["a", "b", "", "\u00e9", "key"]
MAX_DEPTH = 32


class Refused(Exception):
    """The second encoder says no."""


class Text(str):
    """Text that equals no other, so that a dict can have it twice."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __str__(self) -> str:
        raise AssertionError("asked for another text")


class Number(int):
    def __index__(self) -> int:
        raise AssertionError("asked for another number")


class Colour(enum.IntEnum):
    RED = 1


class Pair(NamedTuple):
    left: object
    right: object


class Map(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise AssertionError("asked for other items")

    def __iter__(self) -> Any:
        raise AssertionError("asked for other keys")


class Sly:
    """Says that it is a dict."""

    @property
    def __class__(self) -> Any:
        return dict

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AssertionError


class Choices:
    """Bytes as choices. When they run out, every choice is the first."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def below(self, limit: int) -> int:
        return self.byte() % limit

    def some(self, most: int) -> bytes:
        taken = self.data[self.at : self.at + self.below(most + 1) + 1][1:]
        self.at += len(taken)
        return taken


def head(major: int, argument: int) -> bytes:
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 24:
            return bytes([major << 5 | argument])
        if argument < 1 << 8 * size:
            return bytes([major << 5 | code]) + argument.to_bytes(size, "big")
    raise Refused


def encode(value: Any, depth: int = MAX_DEPTH) -> bytes:
    """Deterministic CBOR (RFC 8949 section 4.2.1) by the types that Python itself sees."""
    kind = type(value)
    if value is None or value is True or value is False:
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if issubclass(kind, str):
        try:
            text = str.encode(value)
        except UnicodeEncodeError:
            raise Refused from None
        return head(3, len(text)) + text
    if issubclass(kind, int):
        number = int.__add__(value, 0)
        if not -(2**63) <= number < 2**63:
            raise Refused
        return head(0, number) if number >= 0 else head(1, -1 - number)
    if issubclass(kind, float):
        return encode_float(float.__add__(value, -0.0))
    if issubclass(kind, bytes):
        return head(2, len(value)) + bytes(value)
    if depth == 0 and issubclass(kind, (list, tuple, dict)):
        raise Refused
    if issubclass(kind, dict):
        pairs = [(key, encode(item, depth - 1)) for key, item in dict.items(value)]
        if not all(issubclass(type(key), str) for key, _ in pairs):
            raise Refused
        texts = sorted((encode(key), item) for key, item in pairs)
        if len({key for key, _ in texts}) < len(texts):
            raise Refused
        return head(5, len(texts)) + b"".join(key + item for key, item in texts)
    if issubclass(kind, (list, tuple)):
        walk = list.__iter__ if issubclass(kind, list) else tuple.__iter__
        items = [encode(item, depth - 1) for item in walk(value)]
        return head(4, len(items)) + b"".join(items)
    raise Refused


def encode_float(value: float) -> bytes:
    if not math.isfinite(value):
        raise Refused
    for code, form in ((0xF9, ">e"), (0xFA, ">f"), (0xFB, ">d")):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.pack(">d", struct.unpack(form, packed)[0]) == struct.pack(">d", value):
            return bytes([code]) + packed
    raise Refused


def any_object(choices: Choices, depth: int = 5) -> Any:
    kind = choices.below(24 if depth else 13)
    if kind == 23:  # as deep as may be, and one deeper
        value: Any = None
        for _ in range(MAX_DEPTH + choices.below(2)):
            value = [value]
        return value
    if kind >= 13:
        items = [any_object(choices, depth - 1) for _ in range(choices.below(4))]
        names = [choices.below(5) for _ in items]
        nested: list[Callable[[], Any]] = [
            lambda: items,
            lambda: tuple(items),
            lambda: {KEYS[name]: item for name, item in zip(names, items, strict=True)},
            lambda: OrderedDict((f"{name}", item) for name, item in zip(names, items, strict=True)),
            lambda: Map((Text(KEYS[name]), item) for name, item in zip(names, items, strict=True)),
            lambda: Pair(items[:1], items[1:]),
            lambda: dict(enumerate(items)),
            lambda: itself(items),
            lambda: [b"".join(item for item in items if isinstance(item, bytes))],
            lambda: {"": items},
        ]
        return nested[kind - 13]()
    flat: list[Callable[[], Any]] = [
        lambda: None,
        lambda: bool(choices.below(2)),
        lambda: (1 << choices.below(66)) * (-1) ** choices.below(2) + choices.below(3) - 1,
        lambda: struct.unpack(">d", choices.some(8).ljust(8, b"\0"))[0],
        lambda: struct.unpack(">e", bytes([choices.byte(), choices.byte()]))[0],
        lambda: choices.some(24).decode("utf-8", "surrogateescape"),
        lambda: choices.some(40),
        lambda: Text("text"),
        lambda: Number(7),
        lambda: Colour.RED,
        lambda: bytearray(choices.some(3)),
        lambda: {choices.byte()} if choices.below(2) else Sly(),
        lambda: struct.unpack(">f", choices.some(4).ljust(4, b"\0"))[0],
    ]
    return flat[kind]()


def itself(items: list[Any]) -> list[Any]:
    items.append(items)
    return items


def plain(value: Any) -> Any:
    """What comes back: the plain types."""
    kind = type(value)
    if issubclass(kind, dict):
        return {str.__add__(key, ""): plain(item) for key, item in dict.items(value)}
    if issubclass(kind, (list, tuple)):
        return [plain(item) for item in value]
    if issubclass(kind, str):
        return str.__add__(value, "")
    if issubclass(kind, int) and kind is not bool:
        return int.__add__(value, 0)
    return value


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, floats by their bits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack(">d", left) == struct.pack(">d", right)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def code_of(call: Callable[[], object]) -> str | None:
    """The code of the refusal, if there is one. A panic is no Exception, and anything untyped is not caught."""
    try:
        call()
    except CoatroomError as error:
        return error.code
    except KeyError:
        return "absent"
    return None


def expected(value: object) -> bytes | None:
    try:
        return encode(value)
    except Refused:
        return None


class Scene:
    """A browser whose exchanges follow each other, and what its session must hold."""

    def __init__(self) -> None:
        self.sessions = _native.Sessions("memory", TEST_KEYS, {}, _native.Clock(1_767_225_600_000))
        self.browser = Browser()
        self.committed: dict[str, Any] = {}
        self.who: str | None = None

    def exchange(self, choices: Choices) -> None:
        exchange = self.sessions.open(self.browser.header.encode() if choices.below(2) else self.browser.header)
        view, who = dict(self.committed), self.who
        for _ in range(choices.below(10)):
            view, who = self.call(exchange, choices, view, who)
            key = KEYS[choices.below(5)]
            assert exchange.contains(key) == (key in view)
            if key in view:
                assert same(exchange.get(key), view[key]), (exchange.get(key), view[key])
        assert sorted(exchange.keys()) == sorted(view)
        kept = choices.below(8) > 0
        if not kept:
            exchange.discard()
        assert code_of(exchange.close) is None
        self.browser.take(exchange.head()[2])
        if kept:
            self.committed, self.who = view, who
        self.is_over(exchange, choices)

    def call(
        self, exchange: _native.Exchange, choices: Choices, view: dict[str, Any], who: str | None
    ) -> tuple[dict[str, Any], str | None]:
        kind, key = choices.below(9), KEYS[choices.below(5)]
        if kind <= 2:
            value = any_object(choices)
            encoded = expected(value)
            assert code_of(lambda: exchange.set(key, value)) == (None if encoded is not None else "value")
            return (view | {key: plain(value)}, who) if encoded is not None else (view, who)
        if kind == 3:
            assert code_of(lambda: exchange.remove(key)) == (None if key in view else "absent")
            return {name: value for name, value in view.items() if name != key}, who
        if kind == 4:
            return self.update(exchange, key, any_object(choices), view), who
        if kind == 5:
            n = choices.below(3) - 1
            present = view.get(key, 0)
            ok = type(present) is int and -(2**63) <= present + n < 2**63
            assert code_of(lambda: exchange.add(key, n)) == (None if ok else "not-addable")
            return (view | {key: present + n} if ok else view), who
        if kind == 6:
            exchange.clear()
            return {}, who
        if kind == 7:
            exchange.logout()
            return {}, None
        # Another principal starts afresh; the same one, or the first, carries everything.
        name = "alice" if choices.below(2) else "bob"
        exchange.login(name, ["user"], 1)
        return (view if who in (None, name) else {}), name

    def update(self, exchange: _native.Exchange, key: str, value: Any, view: dict[str, Any]) -> dict[str, Any]:
        def function(present: Any) -> Any:
            assert present is None if key not in view else same(present, view[key])
            # Whatever runs in here finds the exchange away.
            assert code_of(lambda: exchange.set(key, 1)) == "wrong-stage"
            assert code_of(exchange.close) == "wrong-stage"
            return value

        encoded = expected(value)
        assert code_of(lambda: exchange.update(key, function)) == (None if encoded is not None else "value")
        return view | {key: plain(value)} if encoded is not None else view

    def is_over(self, exchange: _native.Exchange, choices: Choices) -> None:
        calls: list[Callable[[], object]] = [
            lambda: exchange.get("a"),
            lambda: exchange.set("a", 1),
            lambda: exchange.update("a", lambda present: present),
            lambda: exchange.login("alice", [], 1),
            exchange.logout,
            exchange.close,
            exchange.finish,
            exchange.close_without_waiting,
            exchange.rotate,
        ]
        assert code_of(calls[choices.below(len(calls))]) == "wrong-stage"

    def junk(self, choices: Choices) -> None:
        """No cookie bytes but ours find anything."""
        header = b"__Host-id=" + choices.some(200) if choices.below(2) else choices.some(200)
        exchange = self.sessions.open(header if choices.below(2) else header.decode("utf-8", "surrogateescape"))
        assert exchange.keys() == []
        assert exchange.principal() is None
        assert exchange.close() is not None
        assert exchange.head()[2] == []


def start(choices: Choices) -> None:
    """Settings of any kind are taken or refused, and nothing else."""
    names = ["idle", "touch", "absolute", "activation", "skew", "rotate_every", "grace", "tombstone", "size", "limit"]
    names += ["sealed", "carry", "reuse", "concurrency", "plain_http", "preset", "login_cookie", "path", "domain"]
    names += ["max_age", "same_site", "visitor_cookie", "\udc80", "nonsense"]
    words: list[object] = [
        "none",
        "all",
        "merge",
        "aal3",
        "/",
        "",
        "__Host-x",
        1,
        60.0,
        -1,
        1e300,
        math.nan,
        None,
        ["a"],
    ]
    settings = {names[choices.below(len(names))]: words[choices.below(len(words))] for _ in range(choices.below(4))}
    keys = TEST_KEYS if choices.below(4) else choices.some(60).decode("latin-1")
    with contextlib.suppress(CoatroomError, TypeError, ValueError, OverflowError):
        _native.Sessions("memory", keys, settings)


def run(data: bytes) -> None:
    """Objects encode as the second encoder says; a session holds what a dict would; what is over stays over."""
    choices = Choices(data)
    scene = Scene()
    while choices:
        kind = choices.below(8)
        if kind == 0:
            scene.junk(choices)
        elif kind == 1:
            start(choices)
        elif kind <= 4:
            value = any_object(choices)
            encoded = expected(value)
            found: list[bytes] = []
            refusal = code_of(lambda: found.append(_native.Exchange.encode(value)))  # noqa: B023
            assert refusal == (None if encoded is not None else "value"), (refusal, encoded)
            assert encoded is None or found == [encoded], (found, encoded)
        else:
            scene.exchange(choices)


def main() -> None:
    """``border.py SECONDS SEED`` runs random inputs, ``border.py FILE...`` the inputs given."""
    if not sys.argv[1].isdigit():
        for name in sys.argv[1:]:
            run(Path(name).read_bytes())
        return
    seconds, seed = int(sys.argv[1]), int(sys.argv[2])
    until, source, executions = time.monotonic() + seconds, random.Random(seed), 0
    while time.monotonic() < until:
        data = source.randbytes(source.randrange(400))
        executions += 1
        try:
            run(data)
        except BaseException:
            Path(sys.argv[3], f"seed-{seed}").write_bytes(data)
            raise
    print(executions)


if __name__ == "__main__":
    main()
