"""Which values of a contract others have written, and which its author stands for. Pure; refuses nothing.

A workflow's author marks them: `body: Annotated[str, Untrusted()]`. What is not marked is a person's in the input of a
run; in the output of a function it is good unless the function was given it. The nearest mark counts.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Untrusted:
    """Marks a value that whoever gives it has only read: somebody else has written it, and may have meant us."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Marks a value of a function's output that its author stands for, out of our own records or compared with them,
    wherever else it was seen; and an argument of a tool that reaches nobody, whatever is written there."""


Mark = type[Untrusted] | type[Vouched] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A value that holds no others, with its place."""

    place: str
    value: Any
    mark: Mark

    @property
    def untrusted(self) -> bool:
        return self.mark is Untrusted

    @property
    def vouched(self) -> bool:
        return self.mark is Vouched


@lru_cache(maxsize=1024)
def marks(contract: type[BaseModel]) -> bool:
    """Whether anything in a contract is marked, however deep."""
    return _marks(contract, set())


def _marks(kind: Any, seen: set[type[BaseModel]]) -> bool:
    kind, noted = _bare(kind)
    if noted is not None:
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind in seen:
            return False
        seen.add(kind)
        fields = kind.model_fields.values()
        return any(
            any(_mark(note) for note in field.metadata) or _marks(field.annotation, seen) for field in fields
        )
    return any(_marks(arg, seen) for arg in get_args(kind))


def told(contract: Any, value: Any) -> Iterator[Told]:
    """Every value of JSON-able data that meets a contract, and how the contract marks it."""
    return _told(contract, value, "", None, 0)


def apart(contract: type[BaseModel], value: Any) -> tuple[Any, Any]:
    """JSON-able data without what a contract marks as untrusted, and that alone; None where nothing is left."""
    untrusted = {one.place for one in told(contract, value) if one.untrusted}
    return _kept(value, "", untrusted, False), _kept(value, "", untrusted, True)


def _kept(value: Any, place: str, marked: Collection[str], wanted: bool) -> Any:
    if isinstance(value, Mapping):
        kept = {name: _kept(one, _at(place, name), marked, wanted) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one is not None} or None
    if isinstance(value, Sequence) and not isinstance(value, str):
        all_ = (_kept(one, _at(place, number), marked, wanted) for number, one in enumerate(value))
        return [one for one in all_ if one is not None] or None
    return value if (place in marked) is wanted else None


def _told(kind: Any, value: Any, place: str, mark: Mark, depth: int) -> Iterator[Told]:
    if depth > DEEPEST:
        return
    kind, noted = _bare(kind)
    mark = noted or mark
    if isinstance(value, Mapping):
        for name, one in value.items():
            inner, noted = _of_name(kind, str(name))
            yield from _told(inner, one, _at(place, name), noted or mark, depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, one in enumerate(value):
            yield from _told(_of_place(kind, number), one, _at(place, number), mark, depth + 1)
    else:
        yield Told(place=place, value=value, mark=_first(_bare(arm)[1] for arm in _arms(kind)) or mark)


def _at(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)


def _bare(kind: Any) -> tuple[Any, Mark]:
    """A type without what is noted beside it, and the mark among that."""
    noted: Mark = None
    while get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        noted = noted or _first(map(_mark, notes))
    return kind, noted


def _mark(note: object) -> Mark:
    for mark in (Untrusted, Vouched):
        if isinstance(note, mark) or note is mark:
            return mark
    return None


def _first(marks: Iterable[Mark]) -> Mark:
    """Of several marks that of who trusts least."""
    found = set(marks)
    return Untrusted if Untrusted in found else Vouched if Vouched in found else None


def _arms(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()


def _models(kind: Any) -> list[type[BaseModel]]:
    bare = [_bare(one)[0] for one in _arms(kind) or (kind,)]
    return [one for one in bare if isinstance(one, type) and issubclass(one, BaseModel)]


def _of_name(kind: Any, name: str) -> tuple[Any, Mark]:
    """What stands under a name, in the first of several models that have it."""
    try:
        return _known_of_name(kind, name)
    except TypeError:  # a type with something beside it that cannot be a key
        return _find_of_name(kind, name)


def _find_of_name(kind: Any, name: str) -> tuple[Any, Mark]:
    fields = [field for model in _models(kind) if (field := _field(model, name)) is not None]
    if fields:
        return fields[0].annotation, _first(_mark(note) for field in fields for note in field.metadata)
    values = [get_args(one)[1] for one in _holding(kind, Mapping) if len(get_args(one)) == 2]
    return (values[0], None) if values else (Any, None)


_known_of_name = lru_cache(maxsize=4096)(_find_of_name)


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
