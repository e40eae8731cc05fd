"""A contract as people read it: a table of fields, from its JSON Schema. Pure; checks no value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

from pydantic import BaseModel

MOST_FIELDS = 200  # of one contract with everything nested in it
MOST_CHOICES = 12
WHOLE = "(the whole)"
_DEEPEST = 4  # models in models

Schema = Mapping[str, Any]

_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "null": "none",
    "object": "map",
    "array": "list",
}
_FORMATS = {"date": "date", "date-time": "date and time", "time": "time", "duration": "duration"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `kind` is its type in words, `limits` what a value must keep to, `default` as JSON, "" for none."""

    name: str
    kind: str
    required: bool
    limits: str = ""
    default: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The fields of one model. `closed`: a field that is not named is refused."""

    name: str
    says: str
    fields: tuple[Field, ...]
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A model and everything nested in it, each once. `problem` says why there is nothing to show."""

    name: str
    tables: tuple[Table, ...] = ()
    left_out: int = 0
    problem: str = ""

    @property
    def count(self) -> int:
        """The fields of the model itself."""
        return len(self.tables[0].fields) if self.tables else 0


@lru_cache(maxsize=1024)
def contract(model: type[BaseModel]) -> Contract:
    """The contract as tables. A model that has no JSON Schema is said to have none."""
    name = getattr(model, "__name__", str(model))
    try:
        schema = model.model_json_schema()
    except (
        Exception
    ) as error:  # authors' types may have hooks of their own; a page is no place to fail over them
        return Contract(name=name, problem=f"It has no JSON Schema: {str(error).splitlines()[0][:200]}")
    tables = tuple(_tables(name, schema))
    shown, left_out = _bounded(tables)
    return Contract(name=name, tables=shown, left_out=left_out)


def _bounded(tables: tuple[Table, ...]) -> tuple[tuple[Table, ...], int]:
    left, found, out = MOST_FIELDS, [], 0
    for table in tables:
        kept = table.fields[:left]
        left -= len(kept)
        out += len(table.fields) - len(kept)
        if kept or not table.fields:
            found.append(Table(name=table.name, says=table.says, fields=kept, closed=table.closed))
    return tuple(found), out


def _tables(name: str, schema: Schema) -> Iterator[Table]:
    """The model itself, then what it refers to in the order it is first named."""
    root = _resolved(schema, schema)
    yield _table(name, root, schema)
    seen, waiting = {_own_name(schema)}, list(_references(root))
    while waiting:
        reference = waiting.pop(0)
        if reference in seen:
            continue
        seen.add(reference)
        found = schema.get("$defs", {}).get(reference, {})
        if "properties" in found:
            yield _table(str(found.get("title", reference)), found, schema)
        waiting += _references(found)


def _own_name(schema: Schema) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rpartition("/")[2]
        for key, value in part.items():
            if key not in ("$defs", "default", "const", "enum", "examples"):
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _table(name: str, part: Schema, schema: Schema) -> Table:
    says = str(part.get("description", ""))
    if "properties" not in part and part.get("type") != "object":
        whole = Field(name=WHOLE, kind=_kind(part, schema), required=True, limits=_limits(part, schema))
        return Table(name=name, says=says, fields=(whole,))
    required = set(part.get("required", ()))
    fields = tuple(
        _field(str(field), spec, field in required, schema)
        for field, spec in part.get("properties", {}).items()
        if isinstance(spec, Mapping)
    )
    return Table(name=name, says=says, fields=fields, closed=part.get("additionalProperties") is False)


@lru_cache(maxsize=1024)
def paths(model: type[BaseModel]) -> Mapping[str, tuple[Field, bool]]:
    """Every field of a model and of what is nested in it, by its path (`claims[].text`), each with whether the place it
    stands in refuses fields that it does not name. Empty for a model without a JSON Schema."""
    try:
        schema = model.model_json_schema()
    except Exception:  # as above
        return {}
    return dict(islice(_paths(_resolved(schema, schema), schema, "", 0), MOST_FIELDS))


def _paths(part: Schema, schema: Schema, before: str, depth: int) -> Iterator[tuple[str, tuple[Field, bool]]]:
    required, closed = set(part.get("required", ())), part.get("additionalProperties") is False
    for name, spec in part.get("properties", {}).items():
        if not isinstance(spec, Mapping):
            continue
        path = f"{before}{name}"
        yield path, (_field(str(name), spec, name in required, schema), closed)
        if depth < _DEEPEST:
            for sign, inner in _nested(spec, schema):
                yield from _paths(inner, schema, f"{path}{sign}.", depth + 1)


def _nested(spec: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The models inside a field: its own, one of its choices, or what its list holds."""
    for one in (spec, *_options(spec)):
        found = _resolved(one, schema)
        if "properties" in found:
            yield "", found
        items = found.get("items")
        if isinstance(items, Mapping) and "properties" in (inner := _resolved(items, schema)):
            yield "[]", inner


def _field(name: str, spec: Schema, required: bool, schema: Schema) -> Field:
    return Field(
        name=name,
        kind=_kind(spec, schema),
        required=required,
        limits=_limits(spec, schema),
        default=json.dumps(spec["default"], ensure_ascii=False)[:120] if "default" in spec else "",
        says=str(spec.get("description", "")),
    )


def _resolved(part: Schema, schema: Schema) -> Schema:
    """What a reference refers to, with what stands beside it."""
    found = part
    for _ in range(8):
        if "$ref" not in found:
            return found
        target = schema.get("$defs", {}).get(str(found["$ref"]).rpartition("/")[2], {})
        found = {**target, **{key: value for key, value in found.items() if key != "$ref"}}
    return found


def _options(part: Schema) -> list[Schema]:
    return [
        one for key in ("anyOf", "oneOf", "allOf") for one in part.get(key, ()) if isinstance(one, Mapping)
    ]


def _kind(part: Schema, schema: Schema) -> str:
    """The type in words."""
    if "$ref" in part:
        found = _resolved(part, schema)
        return str(found.get("title", _own_name(part))) if "properties" in found else _kind(found, schema)
    if "const" in part:
        return "always " + _value(part["const"])
    if "enum" in part:
        return "one of"
    if options := _options(part):
        return " or ".join(dict.fromkeys(_kind(one, schema) for one in options))
    kind = part.get("type")
    if isinstance(kind, list):
        return " or ".join(_WORDS.get(str(one), str(one)) for one in kind)
    if kind == "array":
        return _list_kind(part, schema)
    if kind == "object":
        return _map_kind(part, schema)
    if kind == "string" and part.get("format"):
        return _FORMATS.get(str(part["format"]), f"text ({part['format']})")
    return _WORDS.get(str(kind), "anything")


def _list_kind(part: Schema, schema: Schema) -> str:
    if isinstance(places := part.get("prefixItems"), list):
        return "list of exactly " + ", ".join(_kind(one, schema) for one in places)
    items = part.get("items")
    word = "set" if part.get("uniqueItems") else "list"
    return f"{word} of {_kind(items, schema)}" if isinstance(items, Mapping) and items else word


def _map_kind(part: Schema, schema: Schema) -> str:
    values = part.get("additionalProperties")
    return f"map of text to {_kind(values, schema)}" if isinstance(values, Mapping) and values else "map"


def _limits(part: Schema, schema: Schema) -> str:
    """What a value must keep to, of the value itself and of what is inside a list."""
    found = list(_own_limits(_resolved(part, schema)))
    for option in _options(part):
        found += _own_limits(_resolved(option, schema))
        found += [f"each {one}" for one in _item_limits(option, schema)]
    found += [f"each {one}" for one in _item_limits(part, schema)]
    return ", ".join(dict.fromkeys(found))


def _item_limits(part: Schema, schema: Schema) -> list[str]:
    items = part.get("items")
    return list(_own_limits(_resolved(items, schema))) if isinstance(items, Mapping) else []


def _own_limits(part: Schema) -> Iterator[str]:
    if "enum" in part:
        yield _choices(part["enum"])
    yield from _between(part.get("minLength"), part.get("maxLength"), "characters")
    yield from _between(part.get("minItems"), part.get("maxItems"), "items")
    yield from _range(part)
    if "multipleOf" in part:
        yield f"a multiple of {part['multipleOf']}"
    if "pattern" in part:
        yield f"like {part['pattern']}"


def _choices(values: list[Any]) -> str:
    shown = ", ".join(_value(one) for one in values[:MOST_CHOICES])
    more = len(values) - MOST_CHOICES
    return f"{shown} and {more} more" if more > 0 else shown


def _value(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _between(least: Any, most: Any, what: str) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"exactly {least} {_one(what, least)}" if least == most else f"{least} to {most} {what}"
    elif least is not None and least:
        yield f"at least {least} {_one(what, least)}"
    elif most is not None:
        yield f"at most {most} {_one(what, most)}"


def _one(what: str, number: Any) -> str:
    return what.removesuffix("s") if number == 1 else what


def _range(part: Schema) -> Iterator[str]:
    least, most = part.get("minimum"), part.get("maximum")
    if least is not None and most is not None:
        yield f"{least} to {most}"
    elif least is not None:
        yield f"at least {least}"
    elif most is not None:
        yield f"at most {most}"
    if "exclusiveMinimum" in part:
        yield f"above {part['exclusiveMinimum']}"
    if "exclusiveMaximum" in part:
        yield f"below {part['exclusiveMaximum']}"
