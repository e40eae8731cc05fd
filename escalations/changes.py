"""What differs between two actions, field by field, for the card and the journal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Derived from the rest, or wrapping it: not fields of their own. "open": the claims that do not stand.
_DERIVED = frozenset({"sentence", "open"})
_WRAPPING = ("arguments", "value")
MOST = 200

Change = dict[str, Any]  # field, before, after; a side that has no such field lacks the key


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The fields that differ, by path in the order of the older side; at most MOST."""
    old, new = flat(before), flat(after)
    paths = [*old, *(path for path in new if path not in old)]
    differing = [path for path in paths if path not in old or path not in new or old[path] != new[path]]
    return [_change(path, old, new) for path in differing[:MOST]]


def flat(action: Mapping[str, Any]) -> dict[str, Any]:
    """An action as path -> plain value. `arguments` and `value` are left out of the paths."""
    found: dict[str, Any] = {}
    for name, value in action.items():
        if name in _WRAPPING:
            _walk(value, "" if isinstance(value, Mapping) else name, found)
        elif name not in _DERIVED:
            _walk(value, name, found)
    return found


def _walk(value: Any, path: str, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            _walk(item, f"{path}.{name}" if path else str(name), found)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for number, item in enumerate(value, start=1):
            _walk(item, f"{path}.{number}" if path else str(number), found)
    else:
        found[path] = value


def _change(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    change: Change = {"field": path}
    if path in old:
        change["before"] = old[path]
    if path in new:
        change["after"] = new[path]
    return change
