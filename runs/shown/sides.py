"""Two contracts field by field: what the one gives, what the other takes, and where they differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from runs.shown.fields import Field, paths

Model = type[BaseModel]
_Known = tuple[Field, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One field on both sides; None where a side has no such field. `says` tells a difference in words; `failing` is
    where a value broke its contract."""

    name: str
    gives: Field | None
    takes: Field | None
    says: str = ""
    failing: bool = False


def rows(gives: Model, takes: Model, *, where: str = "") -> tuple[Row, ...]:
    """Every field of both sides in the order of the giving one. `where`: the path of a wrong value, as errors have it.

    Of that path the deepest field that there is is marked.
    """
    given, taken = paths(gives), paths(takes)
    closed = {_place(name) for name, (_, shut) in taken.items() if shut}
    names = list(dict.fromkeys((*given, *taken)))
    failing = _failing(where, names)
    return tuple(
        _row(name, given.get(name), taken.get(name), failing, refused=_place(name) in closed)
        for name in names
    )


def differing(found: Iterable[Row]) -> int:
    return sum(1 for row in found if row.says)


def _place(name: str) -> str:
    """What a field stands in."""
    return name.rpartition(".")[0]


def _row(name: str, given: _Known | None, taken: _Known | None, failing: str, *, refused: bool) -> Row:
    return Row(
        name=name,
        gives=given[0] if given else None,
        takes=taken[0] if taken else None,
        says=_says(given, taken, refused=refused),
        failing=name == failing,
    )


def _says(given: _Known | None, taken: _Known | None, *, refused: bool) -> str:
    if given is None:
        return "required, and not given" if taken and taken[0].required else "not given, may be left out"
    if taken is None:
        return "not taken: refused when it is there" if refused else "not taken: left out"
    one, other = given[0], taken[0]
    if one.kind != other.kind:
        return "another type"
    if one.limits != other.limits:
        return "other limits"
    if other.required and not one.required:
        return "required there, and may be missing"
    return ""


def _failing(where: str, names: list[str]) -> str:
    """The field that a path leads to: items of lists have numbers in it, fields have none."""
    parts: list[str] = []
    for part in filter(None, where.split(".")):
        if part.isdecimal() and parts:
            parts[-1] += "[]"
        else:
            parts.append(part)
    known = {name: name for name in names} | {f"{name}[]": name for name in names}
    while parts:
        found = known.get(".".join(parts))
        if found:
            return found
        parts.pop()
    return ""
