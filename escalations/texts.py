"""What people write in acts: trimmed, storable, not endless. Knows no act and no database."""

from __future__ import annotations

from escalations.expected import Invalid
from runs.canonical import plain

LONGEST = 2000  # characters of a reason or of words to a run


def given_text(name: str, given: str, *, required: str = "") -> str:
    """The text as it is kept. Raises Invalid when it is too long, or empty although `required` says why not."""
    text: str = plain(given.strip())
    if required and not text:
        raise Invalid([(name, required)])
    if len(text) > LONGEST:
        raise Invalid([(name, f"At most {LONGEST:,} characters; this has {len(text):,}.")])
    return text


def cut_text(given: str) -> str:
    """The same for an act that must not fail because of its words: what is too long is cut."""
    text: str = plain(given.strip())
    return text[:LONGEST]
