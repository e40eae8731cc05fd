"""Changes one value of a JSON answer, so that it breaks its schema or so that it keeps it. Pure; knows no agents.

Works from JSON Schemas as pydantic writes them. What a schema does not describe is left as it is.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(.*)", re.DOTALL)
_AMOUNT = re.compile(r"-?\d{1,15}(\.\d{1,6})?")
_NAMES = ("Harwich", "Ottoline Brandt", "north", "lamp", "Ely", "Perrin & Sons", "desk", "A. Marsh", "x")
_SENTENCES = (
    "The matter was settled by telephone last week, and nothing more is owed.",
    "The delivery came in time and was complete.",
    "It is about the blue lamp that was ordered in March.",
    "Nothing of the kind was agreed.",
)
_LONGEST_NAME = 40
_WORDY = ("text", "reason", "note", "summary", "comment", "message", "description", "body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One value that holds no other, and what its schema says of it."""

    path: Path
    schema: Schema
    value: Any

    @property
    def name(self) -> str:
        """The field it stands in."""
        return next((str(part) for part in reversed(self.path) if isinstance(part, str)), "")


def leaves(schema: Schema, value: Any) -> list[Leaf]:
    """Every value that holds no other, in the order of the answer."""
    return list(_walk(schema, schema, value, ()))


def _walk(whole: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Leaf]:
    found = _chosen(whole, schema, value)
    if isinstance(value, Mapping):
        properties = found.get("properties", {})
        for key in value:
            yield from _walk(whole, properties.get(key, {}), value[key], (*path, key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for place, item in enumerate(value):
            yield from _walk(whole, found.get("items", {}), item, (*path, place))
    else:
        yield Leaf(path=path, schema=found, value=value)


def _chosen(whole: Schema, schema: Schema, value: Any) -> Schema:
    """The schema behind a reference, and of several the first that is for this kind of value."""
    for _ in range(8):  # references may point at references; a circle of them describes nothing
        if "$ref" in schema:
            schema = whole.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
            continue
        options = schema.get("anyOf") or schema.get("oneOf")
        if not options:
            return schema
        number = next((one for one in options if one.get("type") == "number"), None)
        if isinstance(value, str) and number is not None:  # how pydantic describes a Decimal
            schema = {**number, "type": "string", "format": "decimal"}
            continue
        fitting = [one for one in options if "$ref" in one or one.get("type") == _kind(value)]
        schema = fitting[0] if fitting else {}
    return {}


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
    return "array"


def put(value: Any, path: Path, new: Any) -> Any:
    """A copy of the value with another one at this place."""
    if not path:
        return new
    changed = copy.deepcopy(value)
    inner = changed
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = new
    return changed


def plausible(schema: Schema, value: Any, dice: random.Random) -> Any | None:
    """The value with one amount, choice, date or yes/no changed, where it has none of these one text; still as the
    schema wants it. None without any."""
    by_kind: dict[str, list[tuple[Leaf, Any]]] = {}
    found = leaves(schema, value)
    for leaf in found:
        kind, new = _other(leaf, dice)
        if new is not None and new != leaf.value:
            by_kind.setdefault(kind, []).append((leaf, new))
    if by_kind:
        leaf, new = dice.choice(by_kind[dice.choice(sorted(by_kind))])
        return put(value, leaf.path, new)
    told = [(leaf, other_words(leaf, dice)) for leaf in found]
    changed = [(leaf, new) for leaf, new in told if new is not None]
    if not changed:
        return None
    leaf, new = dice.choice(changed)
    return put(value, leaf.path, new)


def _other(leaf: Leaf, dice: random.Random) -> tuple[str, Any]:
    value, schema = leaf.value, leaf.schema
    if "enum" in schema:
        others = [one for one in schema["enum"] if one != value]
        return "choice", dice.choice(others) if others else None
    if "const" in schema:
        return "choice", None
    if isinstance(value, bool):
        return "yes or no", not value
    if isinstance(value, (int, float)):
        return "amount", _other_number(value, schema, dice)
    if isinstance(value, str):
        return _other_text(value, schema, dice)
    return "", None


def _other_number(value: int | float, schema: Schema, dice: random.Random) -> int | float | None:
    if schema.get("type") not in ("integer", "number"):
        return None
    tries = [value * 10, value + 1, value - 1, value * 2, value + 100]
    dice.shuffle(tries)
    return next((one for one in tries if one != value and _within(one, schema)), None)


def _within(value: int | float, schema: Schema) -> bool:
    step = schema.get("multipleOf")
    return (
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and value > schema.get("exclusiveMinimum", value - 1)
        and value < schema.get("exclusiveMaximum", value + 1)
        and (step is None or not value % step)
    )


def _other_text(value: str, schema: Schema, dice: random.Random) -> tuple[str, str | None]:
    dated = _DATE.fullmatch(value)
    if schema.get("format") in ("date", "date-time") and dated:
        return "date", _other_date(dated[1], dice) + dated[2]
    if _AMOUNT.fullmatch(value) and ("pattern" in schema or schema.get("format") == "decimal"):
        return "amount", _other_amount(value, schema, dice)
    return "", None


def other_words(leaf: Leaf, dice: random.Random) -> str | None:
    """Another text that might stand there: another digit, another name, another sentence; None when none may."""
    value, schema = leaf.value, leaf.schema
    if not isinstance(value, str) or schema.get("type") != "string" or not value.strip():
        return None
    if {"enum", "const", "format"} & set(schema):
        return None
    digits = [place for place, letter in enumerate(value) if letter in "0123456789"]
    if digits and ("pattern" in schema or len(value) <= _LONGEST_NAME):
        tries = [_other_digit(value, place, dice) for place in digits]
    else:
        tries = list(_NAMES if len(value) <= _LONGEST_NAME else _SENTENCES)
    dice.shuffle(tries)
    return next((one for one in tries if one != value and _fits(one, schema)), None)


def _other_digit(value: str, place: int, dice: random.Random) -> str:
    other = dice.choice([one for one in "0123456789" if one != value[place]])
    return value[:place] + other + value[place + 1 :]


def _fits(text: str, schema: Schema) -> bool:
    try:
        meets = re.search(schema.get("pattern", ""), text) is not None
    except re.error:  # a pattern of another dialect
        meets = False
    return meets and schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text))


def _other_date(text: str, dice: random.Random) -> str:
    days = dice.choice((-30, -7, -1, 1, 7, 30))
    return (date.fromisoformat(text) + timedelta(days=days)).isoformat()


def _other_amount(text: str, schema: Schema, dice: random.Random) -> str | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    places = Decimal(1).scaleb(-len(text.partition(".")[2]))
    tries = [str((value * by).quantize(places)) for by in (Decimal(10), Decimal(2), Decimal("0.1"))]
    tries.append(str(value + places))
    dice.shuffle(tries)
    pattern = schema.get("pattern", "")
    fitting = [one for one in tries if re.search(pattern, one) and _within(float(one), schema)]
    return next((one for one in fitting if one != text), None)


def broken(schema: Schema, value: Any, dice: random.Random) -> Any:
    """The value so that it breaks the schema: a field gone, one of another kind, or the text cut in the middle."""
    ways: list[Any] = [_cut(value)]
    if isinstance(value, Mapping):
        required = [key for key in _chosen(schema, schema, value).get("required", ()) if key in value]
        if required:
            gone = dice.choice(required)
            ways.append({key: item for key, item in value.items() if key != gone})
        found = [leaf for leaf in leaves(schema, value) if _has_kind(leaf)]
        if found:
            leaf = dice.choice(found)
            ways.append(put(value, leaf.path, {"unsure": leaf.value}))
    return dice.choice(ways)


def _has_kind(leaf: Leaf) -> bool:
    return leaf.schema.get("type") in ("string", "integer", "number", "boolean") or "enum" in leaf.schema


def _cut(value: Any) -> str:
    """As an answer ends that was cut off: the first half of its text."""
    text = repr(value)
    return text[: max(1, len(text) // 2)]


def broken_arguments(schema: Schema, value: Mapping[str, Any], dice: random.Random) -> dict[str, Any]:
    """Arguments that a closed schema refuses: broken as an answer would be, or with a field nobody asked for."""
    if dice.random() < 0.5:
        return {**value, "confirmed_by": "the manager"}
    changed = broken(schema, value, dice)
    return dict(changed) if isinstance(changed, Mapping) else {"arguments": changed}


def prose(schema: Schema, value: Any) -> Leaf | None:
    """The field of an answer that holds free text: by its name, else the longest; None when there is none."""
    free = [leaf for leaf in leaves(schema, value) if _is_free(leaf)]
    named = [leaf for leaf in free if leaf.name in _WORDY]
    return max(named or free, key=lambda leaf: len(leaf.value), default=None)


def _is_free(leaf: Leaf) -> bool:
    if leaf.schema.get("type") != "string" or not isinstance(leaf.value, str):
        return False
    return not {"enum", "const", "format", "pattern"} & set(leaf.schema)


def with_prose(schema: Schema, value: Any, more: str) -> Any:
    """The value with more text in its free text, as much as the schema allows; unchanged when it has none."""
    leaf = prose(schema, value)
    if leaf is None:
        return value
    most = int(leaf.schema.get("maxLength", 10**7))
    text = f"{leaf.value} {more}".strip()
    return value if len(text) > most and len(more) < 500 else put(value, leaf.path, text[:most])


def with_claim(schema: Schema, value: Any, fact: str) -> Any:
    """The value with one claim more, quoted from a source that another claim names; unchanged when it holds none."""
    claims = value.get("claims") if isinstance(value, Mapping) else None
    if not isinstance(claims, list) or "claims" not in _chosen(schema, schema, value).get("properties", {}):
        return value
    quotes = [quote for claim in claims for quote in claim.get("quotes", ())]
    source = quotes[0]["source"] if quotes else "input"
    like = claims[0] if claims else {}
    return {
        **value,
        "claims": [*claims, {**like, "text": fact, "quotes": [{"source": source, "text": fact}]}],
    }
