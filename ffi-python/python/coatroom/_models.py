"""Sessions through a model: a msgspec Struct, a pydantic model, or a dataclass. Each of its fields is one key."""

from __future__ import annotations

import dataclasses
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from coatroom._native import Exchange
from coatroom.errors import ConfigError, ModelMismatch

if TYPE_CHECKING:
    from coatroom.session import Session

M = TypeVar("M")


class _Kind(ABC):
    """How models of one library are made of plain data, and become it again."""

    @abstractmethod
    def keys(self, model: Any) -> Iterator[str]: ...

    @abstractmethod
    def make(self, model: Any, data: dict[str, Any]) -> Any: ...

    @abstractmethod
    def plain(self, made: Any) -> dict[str, Any]: ...


class _Msgspec(_Kind):
    """Structs, and dataclasses too."""

    def keys(self, model: Any) -> Iterator[str]:
        import msgspec

        info: Any = msgspec.inspect.type_info(model)
        return (field.encode_name for field in info.fields)

    def make(self, model: Any, data: dict[str, Any]) -> Any:
        import msgspec

        try:
            return msgspec.convert(data, model, builtin_types=(bytes,))
        except msgspec.ValidationError:
            raise self.mismatch(model, data) from None

    def plain(self, made: Any) -> dict[str, Any]:
        import msgspec

        plain: dict[str, Any] = msgspec.to_builtins(made, builtin_types=(bytes,))
        return plain

    def mismatch(self, model: Any, data: dict[str, Any]) -> ModelMismatch:
        """Names the keys that do not fit."""
        import msgspec

        info: Any = msgspec.inspect.type_info(model)
        types = get_type_hints(model, include_extras=True)
        wrong = []
        for field in info.fields:
            key = field.encode_name
            try:
                if key in data or field.required:
                    msgspec.convert(data[key], types[field.name], builtin_types=(bytes,))
            except (KeyError, msgspec.ValidationError):
                wrong.append(key)
        return _mismatch(model, wrong)


class _Pydantic(_Kind):
    def keys(self, model: Any) -> Iterator[str]:
        return (field.alias or name for name, field in model.model_fields.items())

    def make(self, model: Any, data: dict[str, Any]) -> Any:
        import pydantic

        try:
            return model.model_validate(data)
        except pydantic.ValidationError as error:
            # Its text holds the values.
            places = [str(detail["loc"][0]) for detail in error.errors(include_input=False) if detail["loc"]]
            raise _mismatch(model, places) from None

    def plain(self, made: Any) -> dict[str, Any]:
        plain: dict[str, Any] = made.model_dump(mode="json", by_alias=True, warnings=False)
        return plain


def view(session: Session[Any], model: type[M]) -> M:
    kind = _kind_of(model)
    made: M = kind.make(model, _present(kind, session, model))
    return made


@contextmanager
def edit(session: Session[Any], model: type[M]) -> Iterator[M]:
    kind = _kind_of(model)
    made: M = kind.make(model, _present(kind, session, model))
    before = {key: Exchange.encode(value) for key, value in kind.plain(made).items()}
    yield made
    after = kind.plain(made)
    # What is stored can be read again.
    kind.make(model, after)
    for key, value in after.items():
        if Exchange.encode(value) != before.get(key):
            session[key] = value


def _present(kind: _Kind, session: Mapping[str, Any], model: Any) -> dict[str, Any]:
    return {key: session[key] for key in kind.keys(model) if key in session}


def _kind_of(model: Any) -> _Kind:
    """Asks only libraries that the application has imported: else the model is none of theirs."""
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(model, type) and issubclass(model, pydantic.BaseModel):
        return _Pydantic()
    if _is_struct(model):
        return _Msgspec()
    if dataclasses.is_dataclass(model):
        try:
            import msgspec  # noqa: F401
        except ImportError:
            raise ConfigError("a dataclass as a model needs msgspec: pip install msgspec") from None
        return _Msgspec()
    raise ConfigError("a model is a msgspec.Struct, a pydantic.BaseModel or a dataclass")


def _is_struct(model: Any) -> bool:
    msgspec: Any = sys.modules.get("msgspec")
    return msgspec is not None and isinstance(model, type) and issubclass(model, msgspec.Struct)


def _mismatch(model: Any, keys: list[str]) -> ModelMismatch:
    named = ", ".join(sorted(set(keys))) or "the whole"
    return ModelMismatch(f"what the session holds is no {model.__name__}: {named}")
