"""Bodies: texts stored once by digest. Only stores and loads; retention comes later."""

from __future__ import annotations

import json
from typing import Any

from runs.canonical import canonical, text_digest
from runs.models import Body


def store(value: Any) -> Body:
    """Keep a value; equal values share one row."""
    return keep(of(value))


def keep(body: Body) -> Body:
    """Keep a row that `of` made."""
    Body.objects.bulk_create([body], ignore_conflicts=True)
    return body


def of(value: Any) -> Body:
    """The row of a value, not stored yet."""
    return of_text(canonical(value))


def of_text(text: str) -> Body:
    """The same of a value's canonical JSON."""
    return Body(digest=text_digest(text), content=text, size=len(text.encode()))


def load(body: Body) -> Any:
    return json.loads(body.content)
