"""A JSON value as people read it: what fits stands on one line, the rest is indented. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 120  # characters of a line, its indent counted


def laid_out(value: Any, width: int = WIDTH) -> str:
    """The JSON of a value, its order kept, in lines of about `width` characters where its texts allow it."""
    return _laid_out(value, "", width)


def _laid_out(value: Any, indent: str, room: int) -> str:
    line = json.dumps(value, ensure_ascii=False, default=str)
    if len(line) <= room or not value or not isinstance(value, (Mapping, list, tuple)):
        return line
    inner = f"{indent} "
    if isinstance(value, Mapping):
        items = [
            f"{inner}{(name := json.dumps(str(key), ensure_ascii=False))}: "
            f"{_laid_out(item, inner, room - len(name) - 3)}"
            for key, item in value.items()
        ]
        return _block("{", items, indent, "}")
    return _block("[", [f"{inner}{_laid_out(item, inner, room - 2)}" for item in value], indent, "]")


def _block(begin: str, items: Sequence[str], indent: str, end: str) -> str:
    rows = ",\n".join(items)
    return f"{begin}\n{rows}\n{indent}{end}"
