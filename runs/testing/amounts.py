"""Comparing values in which money is written as text: "4.0" and "4.00" are one amount. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

_AMOUNT = re.compile(r"-?\d{1,15}\.\d{1,6}")


def same(wanted: Any, found: Any) -> bool:
    """Whether what was found is what is wanted; a wanted Decimal is compared by its amount with a number or a text."""
    match wanted:
        case Decimal():
            return _amount(found) == wanted
        case Mapping() if isinstance(found, Mapping):
            return wanted.keys() == found.keys() and all(same(wanted[key], found[key]) for key in wanted)
        case list() | tuple() if isinstance(found, type(wanted)):
            return len(wanted) == len(found) and all(map(same, wanted, found))
    return bool(wanted == found)


def _amount(found: Any) -> Decimal | None:
    if isinstance(found, bool) or not isinstance(found, (str, int, float, Decimal)):
        return None
    try:
        return Decimal(str(found))
    except InvalidOperation:
        return None


def leveled(value: Any) -> Any:
    """The value with every amount written in one way, for comparing two values by their texts."""
    if isinstance(value, Mapping):
        return {key: leveled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [leveled(item) for item in value]
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return f"{Decimal(value).normalize():f}"
    return value
