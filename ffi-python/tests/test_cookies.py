"""Cookie headers as the wheel reads them, against ``http.cookies``, over headers made from a seed.

A difference has to have one of these reasons, and each reason has an example below, asserted for both sides:

==========  ==============================================  ==================================  ======================
reason      header                                          coatroom                            http.cookies
==========  ==============================================  ==================================  ======================
twice       the name comes twice                            counts as absent, with an event     the last one wins
blanks      blanks beside ``=`` or after a value            no trimming: not the name, no id    ignored, or they end it
quotes      the value in double quotes                      not an id                           taken off
gives up    a pair that it cannot read                      that pair is left out               all or the rest is lost
reserved    ``path``, ``$x`` and such among the names       cookies like any other              attributes, or an error
comma       an illegal character in a name                  another cookie                      an error
==========  ==============================================  ==================================  ======================

Coatroom reads what a browser sends (RFC 6265 section 5.4) and nothing more.
"""

from __future__ import annotations

import http.cookies
import random
import re

import coatroom
import pytest
from conftest import Browser

NAME = "__Host-id"
HEADERS = 20_000


@pytest.fixture
def login_id(sessions: coatroom.Sessions, browser: Browser) -> str:
    session = sessions.open("")
    session.login("alice")
    session._commit(200)
    browser.take(session._exchange.head()[2])
    return browser.cookies[NAME]


def native(sessions: coatroom.Sessions, header: str) -> str:
    trace = sessions.open(header).trace()
    if trace.state is not None:
        return "id"
    return {(): "absent", ("junk id",): "junk", ("duplicate cookie",): "twice"}[trace.events]


def standard(header: str, login_id: str) -> str:
    try:
        morsel = http.cookies.SimpleCookie(header).get(NAME)
    except http.cookies.CookieError:
        return "error"
    if morsel is None:
        return "absent"
    return "id" if morsel.value == login_id else "junk"


def reasons(header: str) -> set[str]:
    """The reasons that could make the two differ on this header."""
    pairs = header.split(";")
    names = [pair.partition("=")[0].strip() for pair in pairs]
    tests = {
        "twice": names.count(NAME) > 1,
        "blanks": any(re.search(r"\s=|=\s|\S\s", pair) for pair in pairs),
        "quotes": '"' in header,
        "gives up": any("=" not in pair for pair in pairs) or any(not name for name in names) or not header.isascii(),
        "reserved": any(name.startswith("$") or name.lower() in http.cookies.Morsel._reserved for name in names),  # type: ignore[attr-defined]
        "comma": any(not re.fullmatch(r"[\w!#$%&'*+.^`|~:-]*", name, re.ASCII) for name in names),
    }
    return {reason for reason, holds in tests.items() if holds}


def header(rng: random.Random, login_id: str) -> str:
    name = [NAME] * 8 + [
        "a",
        "b",
        "c",
        "sid",
        "__host-id",
        "x__Host-id",
        "",
        "path",
        "$Version",
        "a,b",
        f" {NAME}",
        f"{NAME} ",
    ]
    value = [login_id] * 8 + [
        f'"{login_id}"',
        f"{login_id} ",
        login_id[:-1],
        login_id + "x",
        "",
        "1",
        "a=b",
        "a b",
        "%41",
        "é",
        "a,b",
    ]
    equals = ["="] * 12 + [" =", "= ", "", "=="]
    glue = ["; "] * 8 + [";", " ;", ", ", ";;", " "]
    parts = [rng.choice(name) + rng.choice(equals) + rng.choice(value) for _ in range(rng.randint(1, 4))]
    return "".join(part + rng.choice(glue) for part in parts[:-1]) + parts[-1]


def test_every_difference_between_the_two_readers_has_a_reason(sessions: coatroom.Sessions, login_id: str) -> None:
    rng = random.Random(1)
    same = plain = 0
    seen: set[str] = set()
    for _ in range(HEADERS):
        text = header(rng, login_id)
        ours, theirs, why = native(sessions, text), standard(text, login_id), reasons(text)
        if ours == theirs:
            same += 1
            plain += not why and ours == "id"
            continue
        assert why, f"{text!r}: coatroom {ours}, http.cookies {theirs}"
        if len(why) == 1:
            seen |= why
    assert plain > 500
    assert same > HEADERS // 4
    assert seen == {"twice", "blanks", "quotes", "gives up", "reserved", "comma"}


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        ("__Host-id=x; __Host-id=ID", "twice", "id"),
        ("__Host-id =ID", "absent", "id"),
        ("__Host-id= ID", "junk", "id"),
        ("__Host-id=ID ; a=1", "junk", "id"),
        ("a=1 __Host-id=ID", "absent", "id"),
        ('__Host-id="ID"', "junk", "id"),
        ("flag; __Host-id=ID", "id", "absent"),
        ("a=1;; __Host-id=ID", "id", "absent"),
        ("a=é; __Host-id=ID", "id", "absent"),
        ("path=/; __Host-id=ID", "id", "absent"),
        ("a=1; $Other=1; __Host-id=ID", "id", "error"),
        ("a,b=1; __Host-id=ID", "id", "error"),
        # And on these both agree.
        ("__Host-id=ID", "id", "id"),
        ("a=1; __Host-id=ID; b=2", "id", "id"),
        ("a=1;__Host-id=ID", "id", "id"),
        ("__host-id=ID", "absent", "absent"),
        ("__Host-id=", "junk", "junk"),
        ("x__Host-id=ID", "absent", "absent"),
    ],
)
def test_the_differences_are_these(
    sessions: coatroom.Sessions, login_id: str, text: str, ours: str, theirs: str
) -> None:
    text = text.replace("ID", login_id)
    assert native(sessions, text) == ours
    assert standard(text, login_id) == theirs
