"""Values of limits between people and the database: every value is a whole number of the smallest unit. Pure.

What `shown` says, `read` takes back to the same number; `about` is for reading only.
"""

from __future__ import annotations

import enum
import re
from decimal import Decimal, InvalidOperation

from runs import moments

_DOLLAR = 1_000_000
MOST = 10**15  # a billion dollars in millionths, thirty thousand years in milliseconds


class Unit(enum.StrEnum):
    COUNT = "count"
    TOKENS = "tokens"
    MONEY = "money"  # millionths of a US dollar
    DURATION = "duration"  # milliseconds


class WrongValue(ValueError):
    """A text that is no value of the unit; the message says what is one."""


_SPANS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))
_SPAN_OF = dict(_SPANS) | {
    "m": 60_000,
    "sec": 1000,
    "hours": 3_600_000,
    "hour": 3_600_000,
    "days": 86_400_000,
}
_SPAN_OF |= {"day": 86_400_000, "minutes": 60_000, "minute": 60_000, "seconds": 1000, "second": 1000}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([a-z]+)\s*", re.ASCII)
_NUMBER = re.compile(r"(\d{1,16}(?:\.\d{1,9})?)\s*([kmb]?)", re.ASCII | re.IGNORECASE)
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_TIMES = {"": 1, "k": 1000, "m": 1_000_000, "b": 1_000_000_000}
EXAMPLES = {
    Unit.COUNT: "a whole number, such as 12 or 1,500",
    Unit.TOKENS: "a number of tokens, such as 16,000, 250k or 2M",
    Unit.MONEY: "an amount in US dollars, such as 0.05, $40 or 6,000.00",
    Unit.DURATION: "a time with its unit, such as 500 ms, 90 s, 10 min or 1 h 30 min",
}


def shown(unit: Unit, value: int) -> str:
    """The value as people read it, exact to its last unit."""
    if unit is Unit.MONEY:
        return _dollars(value)
    if unit is Unit.DURATION:
        return _span(value)
    return f"{value:,}"


def about(unit: Unit, value: int) -> str:
    """The value as it is told of what was used: money to the digits that matter, a time in two units. Not to be typed
    back: what a call lacks, or a limit is, says `shown`."""
    if unit is Unit.MONEY:
        digits = 4 if value >= _DOLLAR else 3 if value >= _DOLLAR // 100 else 1
        return _dollars(round(value, -digits))
    return moments.span(value / 1000) if unit is Unit.DURATION else shown(unit, value)


def read(unit: Unit, text: str) -> int:
    """The value that somebody wrote. Raises WrongValue with a sentence that says what is one."""
    given = text.strip()
    found = _read_span(given) if unit is Unit.DURATION else _read_number(unit, given)
    if found is None:
        raise WrongValue(f"Write {EXAMPLES[unit]}.")
    if found > MOST:
        raise WrongValue(f"That is more than can be kept: at most {shown(unit, MOST)}.")
    return found


def _dollars(micros: int) -> str:
    whole, rest = divmod(micros, 1_000_000)
    cents = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{cents}"


def _span(milliseconds: int) -> str:
    parts, left = [], milliseconds
    for name, length in _SPANS:
        number, left = divmod(left, length)
        if number:
            parts.append(f"{number:,} {name}" if name == "d" else f"{number} {name}")
    return " ".join(parts) or "0 ms"


def _read_number(unit: Unit, given: str) -> int | None:
    if unit is Unit.MONEY:
        given = given.removeprefix("$").removesuffix("USD").strip()
    head = given.rstrip("kKmMbB ")
    if "," in head:
        if not _GROUPED.fullmatch(head):
            return None
        given = given.replace(",", "")
    found = _NUMBER.fullmatch(given)
    if not found or (unit is Unit.COUNT and found[2].lower() == "b"):
        return None
    return _exactly(found[1], _TIMES[found[2].lower()] * (1_000_000 if unit is Unit.MONEY else 1))


def _read_span(given: str) -> int | None:
    """Parts after each other, each with its unit; a number alone could be anything."""
    text, at, total = given.replace(",", "").lower(), 0, 0
    while at < len(text):
        part = _PART.match(text, at)
        length = _SPAN_OF.get(part[2]) if part else None
        value = _exactly(part[1], length) if part and length else None
        if part is None or value is None:
            return None
        total, at = total + value, part.end()
    return total if given else None


def _exactly(number: str, times: int) -> int | None:
    """The product, if it is whole: nothing is rounded for people."""
    try:
        product = Decimal(number) * times
    except InvalidOperation:
        return None
    return int(product) if product == product.to_integral_value() else None
