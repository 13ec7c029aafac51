"""What type checkers see: declared data, and mistakes in it."""

from __future__ import annotations

from pathlib import Path

import coatroom
import pytest
from coatroom.testing import KEYS
from mypy import api
from test_docs import examples

MISTAKES = """

def wrong(session: coatroom.Session[ShopData]) -> None:
    reveal_type(session.data["cart"])
    session.data["visits"] = "many"
    session.data["basket"]
    untyped: coatroom.Session = session
    reveal_type(untyped["cart"])
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("typed")
    (folder / "example.py").write_text(examples("typing.md") + MISTAKES)
    cache = Path(__file__).parents[2] / ".mypy_cache"
    text, errors, _ = api.run(["--strict", f"--cache-dir={cache}", str(folder / "example.py")])
    assert not errors
    return [line.partition("example.py:")[2].partition(": ")[2] for line in text.splitlines()]


def test_declared_data_is_followed_and_mistakes_are_found(report: list[str]) -> None:
    assert report[:-1] == [
        'note: Revealed type is "list[str]"',
        'error: Value of "visits" has incompatible type "str"; expected "int"  [typeddict-item]',
        'error: TypedDict "ShopData" has no key "basket"  [typeddict-item]',
        'note: Revealed type is "Any"',
    ]


def test_the_data_is_the_session_itself() -> None:
    session: coatroom.Session[dict[str, int]] = coatroom.Sessions("memory", KEYS).open("")
    session.data["n"] = 1
    assert session.data is session
    assert session["n"] == 1
