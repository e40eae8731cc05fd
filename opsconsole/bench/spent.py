"""Reads what a sampling profiler and PostgreSQL's log say and adds it up. Starts nothing and knows no benchmark."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LOGGED = re.compile(
    r"^\S+ \S+ \S+ \[\d+\] \w+:  duration: ([0-9.]+) ms  (?:statement|execute [^:]*): (.*)$", re.DOTALL
)
_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_STRING = re.compile(r"'(?:[^']|'')*'(?:::\w+(?:\[\])?)?")
_NUMBER = re.compile(r"(?<![\w$\"])-?\d+(?:\.\d+)?\b")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")
_COLUMNS = re.compile(r'SELECT (?:"\w+"\."\w+"(?:, )?){3,}')
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One kind of statement: how often, and how many milliseconds the server spent on all of them."""

    text: str
    times: int
    ms: float
    example: str


def statements(log: Iterable[str]) -> list[Statement]:
    """Every statement that a log with log_min_duration_statement=0 names, the costliest first."""
    times: Counter[str] = Counter()
    ms: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for entry in _entries(log):
        found = _LOGGED.match(entry)
        if found is None:
            continue
        text = normal(found.group(2))
        times[text] += 1
        ms[text] += float(found.group(1))  # type: ignore[assignment]  # a Counter adds anything
        examples[text] = found.group(2)
    return [
        Statement(text=text, times=times[text], ms=round(spent, 3), example=examples[text])
        for text, spent in ms.most_common()
    ]


def _entries(log: Iterable[str]) -> Iterator[str]:
    """Lines joined to what was logged at once: those that go on begin with a tab, not with a time."""
    entry = ""
    for line in log:
        if _PREFIX.match(line):
            if entry:
                yield entry
            entry = line
        else:
            entry += line
    if entry:
        yield entry


def normal(sql: str) -> str:
    """A statement without its values, so that equal kinds are equal texts."""
    text = _SPACE.sub(" ", _NUMBER.sub("?", _STRING.sub("?", sql))).strip()
    return _COLUMNS.sub("SELECT … ", _LIST.sub("(…)", text))


def by_function(stacks: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """From collapsed stacks ("a;b;c 12"): samples with a function on top, and with it anywhere."""
    on_top: Counter[str] = Counter()
    anywhere: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if not stack or not count.strip().isdigit():
            continue
        names = [_function(frame) for frame in stack.split(";")]
        on_top[names[-1]] += int(count)
        for name in set(names):
            anywhere[name] += int(count)
    return on_top, anywhere


def _function(frame: str) -> str:
    """Without the line: "settle (runs/engine/settle.py:54)" is "settle (runs/engine/settle.py)"."""
    return re.sub(r":\d+\)$", ")", frame.strip())
