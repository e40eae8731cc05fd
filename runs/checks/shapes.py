"""Whether a definition is made of what its fields say: a text where a tuple belongs, None where an agent does.

Authors may not type-check. Pure; it looks only at the definition's own dataclasses, calls nothing, and everything
else (`runs.checks`, `runs.checks.patterns`) may rely on what it has found in order.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Iterator
from typing import Any

from runs import definitions, patterns, policies, starts_by
from runs.recorded import pattern as recorded

Problem = tuple[str, str, str]  # code, what, fix
DEEPEST = 24  # definitions inside definitions; a policy chain is the longest of them
_ELSEWHERE = {("Node", "work")}  # has a check of its own, with a better sentence
_SPACE: dict[str, Any] = {
    **vars(recorded),
    **vars(starts_by),
    **vars(policies),
    **vars(patterns),
    **vars(definitions),
}
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "True or False", type(None): "None"}


_sound: dict[int, Any] = {}  # by the definition's id; it is held, so that its id stays its own


def registered_problems(workflow: Any) -> list[Problem]:
    """`shape_problems` of a definition that stays. It cannot change: what was in order once is not looked at again."""
    if _sound.get(id(workflow)) is workflow:
        return []
    found = list(shape_problems(workflow))
    if not found:
        _sound[id(workflow)] = workflow
    return found


def shape_problems(workflow: Any) -> Iterator[Problem]:
    """Every field that holds something else than its type says, by its path."""
    for path, what in _wrong(workflow, "", 0):
        yield "runs.E043", f"{path} {what}", "Give it what the definition's field is annotated with."


def _wrong(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) of every field under a dataclass."""
    if depth > DEEPEST:
        yield path or "it", f"stands more than {DEEPEST} definitions deep: does something contain itself?"
        return
    hints = _hints(type(value))  # type: ignore[arg-type]  # typeshed: a class is hashable
    for field in dataclasses.fields(value):
        if (type(value).__name__, field.name) in _ELSEWHERE:
            yield from _inside(getattr(value, field.name), f"{path}{field.name}", depth)
            continue
        yield from _field(getattr(value, field.name), hints[field.name], f"{path}{field.name}", depth)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Read once: every worker checks every definition when it starts, and reading them was nine tenths of its start."""
    return typing.get_type_hints(kind, globalns=_SPACE)


def _field(value: Any, hint: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if typing.get_origin(hint) is tuple and isinstance(value, tuple):
        for place, one in enumerate(value):
            yield from _field(one, typing.get_args(hint)[0], f"{path}[{place}]", depth)
        return
    if not _is(value, hint):
        yield path, f"is {_shown(value)}, and should be {_said(hint)}{_advice(value, hint)}"
        return
    yield from _inside(value, path, depth)


def _inside(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, tuple):
        for place, one in enumerate(value):
            yield from _inside(one, f"{path}[{place}]", depth)
    elif _is_ours(value):
        yield from _wrong(value, f"{path}.", depth + 1)


def _is_ours(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and type(value).__name__ in _SPACE


def _is(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is(one, inner[0]) for one in value)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is collections.abc.Mapping:
        return isinstance(value, collections.abc.Mapping)
    if not isinstance(hint, type) or origin is not None:
        return True  # contracts and what is Any have checks of their own, or none
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _said(hint: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_said(one) for one in inner))
    if origin is tuple:
        return f"a tuple, each of it {_said(inner[0])}"
    if origin is collections.abc.Callable:
        return "a function"
    if origin is collections.abc.Mapping:
        return "a mapping"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return f"one of {', '.join(str(one) for one in hint.__members__)} of {hint.__name__}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _advice(value: Any, hint: Any) -> str:
    """The slip that is behind most of them."""
    wants_tuple = typing.get_origin(hint) is tuple
    if wants_tuple and isinstance(value, (list, set, collections.abc.Iterator)):
        return "; write (…) instead"
    if wants_tuple and not isinstance(value, tuple) and value is not None:
        return "; a tuple of one ends with a comma: (x,)"
    return ""


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception:
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= 80 else f"{shown[:79]}…"
