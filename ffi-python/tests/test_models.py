"""Sessions through msgspec Structs, pydantic models and dataclasses."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import coatroom
import msgspec
import pydantic
import pytest
from coatroom.testing import KEYS
from test_docs import examples

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)


class Struct(msgspec.Struct):
    cart: list[str] = []
    visits: int = 0
    since: datetime | None = None


class Model(pydantic.BaseModel):
    cart: list[str] = []
    visits: int = 0
    since: datetime | None = None


@dataclass
class Data:
    cart: list[str] = field(default_factory=list)
    visits: int = 0
    since: datetime | None = None


MODELS: list[Any] = [Struct, Model, Data]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def session(sessions: coatroom.Sessions) -> coatroom.Session:
    return sessions.open("")


def test_what_a_block_changes_is_set_and_nothing_else(session: coatroom.Session, model: Any) -> None:
    session["other"] = 1
    with session.edit(model) as shop:
        shop.cart.append("hat")
        shop.since = NOON
    assert set(session) == {"cart", "since", "other"}, "what has its default is not written"
    assert session["cart"] == ["hat"]
    assert session.view(model).since == NOON
    session["visits"] = 3
    with session.edit(model) as shop:
        shop.visits += 1
    assert session["visits"] == 4


def test_a_block_that_fails_and_a_look_change_nothing(session: coatroom.Session, model: Any) -> None:
    session["cart"] = ["coat"]
    with pytest.raises(ZeroDivisionError), session.edit(model) as shop:
        shop.cart.append(1 // 0)
    session.view(model).visits = 9
    assert dict(session) == {"cart": ["coat"]}


def test_requests_that_overlap_are_merged_field_by_field(sessions: coatroom.Sessions, model: Any) -> None:
    first = sessions.open("")
    first["n"] = 1
    first._commit(200)
    cookies = first._exchange.head()[2][0].partition(";")[0]
    one, two = sessions.open(cookies), sessions.open(cookies)
    with one.edit(model) as shop:
        shop.cart.append("hat")
    with two.edit(model) as shop:
        shop.visits = 7
    one._commit(200)
    two._commit(200)
    assert dict(sessions.open(cookies)) == {"n": 1, "cart": ["hat"], "visits": 7}


def test_what_does_not_fit_is_named_without_its_value(session: coatroom.Session, model: Any) -> None:
    session["visits"] = "a secret"
    for use in (session.view, lambda model: ExitStack().enter_context(session.edit(model))):
        with pytest.raises(coatroom.ModelMismatch) as caught:
            use(model)
        assert str(caught.value) == f"what the session holds is no {model.__name__}: visits"
        assert caught.value.__suppress_context__, "nor does a traceback show it"


def test_a_model_that_was_filled_wrongly_is_not_stored(session: coatroom.Session) -> None:
    for model in MODELS:
        with pytest.raises(coatroom.ModelMismatch), session.edit(model) as shop:
            shop.visits = "many"
    assert "visits" not in session


def test_anything_else_is_no_model(session: coatroom.Session) -> None:
    with pytest.raises(coatroom.ConfigError, match="msgspec"):
        session.view(dict)


def test_neither_library_is_imported_by_sessions_without_models() -> None:
    code = (
        "import sys, coatroom.asgi, coatroom.wsgi;"
        f"s = coatroom.Sessions('memory', {KEYS!r}).open(''); s['n'] = 1; s._commit(200);"
        "assert not {'msgspec', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_model_of_the_page(session: coatroom.Session) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(examples("typing.md"), names)
    names["add"](session, "hat")
    assert names["count"](session) == 1
