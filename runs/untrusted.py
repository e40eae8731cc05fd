"""Which values of a contract others have written: letters, documents, web pages. Pure; trusts and refuses nothing.

A workflow's author marks them, `body: Annotated[str, Untrusted()]`. What is not marked is a person's in the input of a
run, and its own author's in the output of a function.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Untrusted:
    """Marks a value that whoever gives it has only read: somebody else has written it, and may have meant us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A value that holds no others, with its place."""

    place: str
    value: Any
    untrusted: bool


def told(contract: Any, value: Any) -> Iterator[Told]:
    """Every value of JSON-able data that meets a contract, and whether the contract marks it as untrusted."""
    return _told(contract, value, "", False, 0)


def marks(contract: Any) -> bool:
    """Whether a contract marks anything at all, at any depth."""
    return _marks(contract, 0)


def _told(kind: Any, value: Any, place: str, untrusted: bool, depth: int) -> Iterator[Told]:
    if depth > DEEPEST:
        return
    kind, marked = _bare(kind)
    untrusted = untrusted or marked
    if isinstance(value, Mapping):
        for name, one in value.items():
            inner, noted = _of_name(kind, str(name))
            yield from _told(inner, one, _at(place, name), untrusted or noted, depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, one in enumerate(value):
            yield from _told(_of_place(kind, number), one, _at(place, number), untrusted, depth + 1)
    else:
        arms = [_bare(arm) for arm in _arms(kind)]
        yield Told(place=place, value=value, untrusted=untrusted or any(noted for _, noted in arms))


def _at(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)


def _bare(kind: Any) -> tuple[Any, bool]:
    """A type without what is noted beside it, and whether the mark is among that."""
    noted = False
    while get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        noted = noted or any(_is_mark(note) for note in notes)
    return kind, noted


def _is_mark(note: object) -> bool:
    return isinstance(note, Untrusted) or note is Untrusted


def _arms(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()


def _models(kind: Any) -> list[type[BaseModel]]:
    bare = [_bare(one)[0] for one in _arms(kind) or (kind,)]
    return [one for one in bare if isinstance(one, type) and issubclass(one, BaseModel)]


def _of_name(kind: Any, name: str) -> tuple[Any, bool]:
    """What stands under a name: of several models that have it, marked if any of them marks it."""
    fields = [field for model in _models(kind) if (field := _field(model, name)) is not None]
    if fields:
        return fields[0].annotation, any(any(map(_is_mark, field.metadata)) for field in fields)
    values = [get_args(one)[1] for one in _holding(kind, Mapping) if len(get_args(one)) == 2]
    return (values[0], False) if values else (Any, False)


def _field(model: type[BaseModel], name: str) -> Any:
    found = model.model_fields.get(name)
    if found is not None:
        return found
    return next((one for one in model.model_fields.values() if one.alias == name), None)


def _of_place(kind: Any, number: int) -> Any:
    for one in _holding(kind, Sequence, set, frozenset):
        inner = [arg for arg in get_args(one) if arg is not Ellipsis]
        if get_origin(one) is tuple and Ellipsis not in get_args(one):
            return inner[number] if number < len(inner) else Any
        return inner[0] if inner else Any
    return Any


def _holding(kind: Any, *containers: type) -> list[Any]:
    """The arms of a type that are such a container of something."""
    bare = [_bare(one)[0] for one in _arms(kind) or (kind,)]
    origins = [(one, get_origin(one)) for one in bare]
    return [one for one, origin in origins if isinstance(origin, type) and issubclass(origin, containers)]


def _marks(kind: Any, depth: int) -> bool:
    if depth > 16:  # a contract that holds itself
        return False
    kind, noted = _bare(kind)
    if noted:
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields.values()
        return any(any(map(_is_mark, one.metadata)) or _marks(one.annotation, depth + 1) for one in fields)
    return any(_marks(arg, depth + 1) for arg in get_args(kind) if arg is not Ellipsis)
