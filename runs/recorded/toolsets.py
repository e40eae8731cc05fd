"""What the owners of recorded tools declare: effect, egress and a JSON Schema of the arguments. Pure but for one file.

Nothing here refuses anything: what a declaration would have refused is said, and the recorded call goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry

from runs.canonical import cut, plain, told
from runs.definitions import Effect


class WrongToolsets(Exception):
    """A file of toolsets that cannot be used; the message is the sentence a person reads."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One tool as its owner declares it. `schema` is None when it declares no usable one."""

    name: str
    effect: Effect
    egress: bool
    schema: Mapping[str, Any] | None

    @cached_property
    def _validator(self) -> Any:
        """With an empty registry: a reference to somewhere else is an error, and never a request."""
        return Draft202012Validator(self.schema or {}, registry=Registry())

    def broken(self, arguments: Any) -> tuple[str, str] | None:
        """Where and how arguments break the declared contract; None when they meet it, or there is none."""
        if self.schema is None:
            return None
        try:
            if self._validator.is_valid(arguments):
                return None
            wrong = best_match(self._validator.iter_errors(arguments))
        except Exception as error:  # a reference that leads nowhere, a pattern that is none, endless nesting
            return "", f"the contract cannot be applied: {told(error)[:200]}"
        if wrong is None:
            return None
        return ".".join(str(plain(str(part))) for part in wrong.absolute_path), cut(wrong.message)[:300]


Tools = Mapping[str, Declared]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolsets:
    """Tools by the name of their set. `complaints` says which declarations could not be used, one sentence each."""

    sets: Mapping[str, Tools] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()

    def of(self, name: str) -> Tools | None:
        """The tools of a set; "bfcl-A+B" is bfcl-A and bfcl-B together. None when any part of it is unknown."""
        parts = [name] if name in self.sets else _parts(name)
        if not name or not all(part in self.sets for part in parts):
            return None
        return {tool: declared for part in parts for tool, declared in self.sets[part].items()}


def _parts(name: str) -> list[str]:
    first, *others = name.split("+")
    family, dash, _ = first.partition("-")
    return [first, *(f"{family}{dash}{other}" for other in others)]


def load(path: Path) -> Toolsets:
    """The toolsets of a file. Raises WrongToolsets when it is none."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as why:
        raise WrongToolsets(f"Cannot read {path}: {why.strerror}.") from why
    except (ValueError, RecursionError) as why:
        raise WrongToolsets(f"{path} is not JSON: {told(why)}.") from why
    if not isinstance(raw, dict):
        raise WrongToolsets(f"{path} is no JSON object of toolsets by name.")
    return parse(raw)


def parse(raw: Mapping[str, Any]) -> Toolsets:
    """Every declaration that can be used."""
    complaints: list[str] = []
    sets = {
        str(name): _tools(str(name), tools if isinstance(tools, list) else [], complaints)
        for name, tools in raw.items()
    }
    return Toolsets(sets=sets, complaints=tuple(complaints))


def _tools(name: str, raw: list[Any], complaints: list[str]) -> Tools:
    found: dict[str, Declared] = {}
    for one in raw:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            complaints.append(f"Toolset {name}: an entry that names no tool is left out.")
            continue
        found[plain(one["name"])] = _declared(name, one, complaints)
    return found


def _declared(toolset: str, raw: Mapping[str, Any], complaints: list[str]) -> Declared:
    """What does not say how far it reaches counts as the worst, as for any tool."""
    effect = raw.get("effect")
    return Declared(
        name=plain(raw["name"]),
        effect=Effect(effect) if effect in list(Effect) else Effect.IRREVERSIBLE,
        egress=raw.get("egress") is not False,
        schema=_schema(f"{toolset}: {raw['name']}", raw.get("parameters"), complaints),
    )


def _schema(tool: str, schema: Any, complaints: list[str]) -> Mapping[str, Any] | None:
    if schema is None:
        return None
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as why:
        words = why.message if isinstance(why, SchemaError) else "it is nested too deep"
        complaints.append(
            f"Toolset {tool}: its parameters are no JSON Schema ({cut(words)[:120]}); not checked."
        )
        return None
    return closed(schema) if isinstance(schema, dict) else None


def closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema for which an argument that it does not name breaks it, unless it says otherwise."""
    if "properties" not in schema or schema.keys() & _OPEN:
        return schema
    return {**schema, "additionalProperties": False}


def closed_within(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same of every object inside it, for contracts of our own; others' say less of what is inside than they mean.

    Where something is put together of parts (`allOf`), no part names all of it, and it stays as it is.
    """
    closed_: Mapping[str, Any] = _within(schema)
    return closed_


def _within(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    found = dict(closed(schema))
    for word in found.keys() & _BY_NAME:
        found[word] = {name: _within(one) for name, one in found[word].items()}
    for word in found.keys() & _INSIDE:
        found[word] = _within(found[word])
    for word in found.keys() & _CHOICES if "properties" not in found else ():
        found[word] = [_within(one) for one in found[word]]
    return found


_BY_NAME = {"properties", "$defs"}
_INSIDE = {"items", "additionalProperties"}
_CHOICES = {"anyOf", "oneOf", "prefixItems"}
_OPEN = {
    "additionalProperties",
    "patternProperties",
    "unevaluatedProperties",
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
}
