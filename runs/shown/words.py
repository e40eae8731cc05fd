"""What happened, in the words of pages: how an attempt ended, and what a task is about. Pure."""

from __future__ import annotations

import json
import re

from runs.models import Attempt, AttemptState

HEAD = 240  # characters of a task's input that are enough to name it
LONGEST = 60
# Of an input's fields the one that names it best; else the first text, else the first number.
_TELLING = ("title", "name", "subject", "question", "topic", "goal", "file", "package", "path", "url", "text")
_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)":("(?:[^"\\]|\\.)*(?:"|$)|-?\d[\d.eE+-]*)', re.DOTALL)
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?$")


def of_attempt(attempt: Attempt) -> str:
    """An attempt's state in words. "broken" is also the state of plain data errors, where no output was refused."""
    if attempt.state == AttemptState.BROKEN and attempt.rejected_output_id is None:
        return "data error"
    if attempt.state == AttemptState.FAILED and attempt.error_class:
        return f"{attempt.error_class} error"
    return str(AttemptState(attempt.state).label)


def of_task(given: str) -> str:
    """A few words of a task's input that tell it from the others; `given` is its JSON or the beginning of that.

    Empty when it holds neither text nor number.
    """
    found = [(name, _plain(value)) for name, value in _PAIR.findall(given)]
    named = {name: value for name, value in reversed(found) if value}
    texts = [_plain(value) for _, value in _PAIR.findall(given) if value.startswith('"')]
    telling = next((named[name] for name in _TELLING if name in named), "")
    words = telling or next(filter(None, texts), "") or next((value for _, value in found if value), "")
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1].rstrip()}…"


def _plain(value: str) -> str:
    """A JSON scalar as a line of text; a text may be cut anywhere."""
    if not value.startswith('"'):
        return value
    inner = value[1:-1] if len(value) > 1 and value.endswith('"') else _CUT_ESCAPE.sub("", value[1:])
    try:
        return " ".join(str(json.loads(f'"{inner}"', strict=False)).split())
    except ValueError:
        return ""
