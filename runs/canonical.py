"""Canonical JSON and its digest: what an approval is bound to and what a body is stored under. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_SURROGATE = re.compile("[\ud800-\udfff]")


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces. Raises ValueError for NaN and infinities."""
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON."""
    return text_digest(canonical(value))


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """The value as JSON-able data that PostgreSQL can keep.

    Outside text may hold NUL (PostgreSQL has no place for it) and lone surrogates (UTF-8 has none); they
    become U+2400 and U+FFFD, so that hostile text is stored and shown instead of breaking the run.
    """
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value.replace("\x00", "\u2400"))
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return plain(str(value))
