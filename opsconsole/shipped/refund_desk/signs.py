"""What a message holds besides its matter: orders to whoever works on it, threats, a loud voice. Finds, never removes.

A message without findings is not thereby safe; nothing downstream relies on that.
"""

import re

_STEERING = (
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:instructions?|previous|above|rules?|polic\w+)",
    r"\byou are (?:now )?(?:an?|the)\b.{0,30}\b(?:agent|assistant|model|administrator|system)\b",
    r"\b(?:do not|don't|never)\b.{0,20}\b(?:ask|escalate|flag|check|verify)\b",
    r"\b(?:pre-?approved|approved already|no (?:check|approval)(?: is)? needed|without approval)\b",
    r"\b(?:send|pay|transfer|wire)\b.{0,40}\b(?:instead|another account|this account|iban)\b",
    r"\bset the refund\b.{0,60}",
    r"<\s*/?\s*(?:system|instructions?|assistant)\b|\[\s*/?\s*(?:system|inst)\s*\]|^[ \t]*system[ \t]*:",
    r"\b(?:ignorier|vergiss)\w*\b.{0,60}\b(?:anweisung|regel|richtlinie)",
    r"\b(?:ignorez|oubliez)\b.{0,60}\b(?:instruction|règle|consigne)",
)
_THREATS = (
    r"\b(?:lawyers?|solicitors?|attorneys?|court|sue you|anwalt|avocat)\b",
    r"\b(?:newspapers?|the press|journalists?)\b",
    r"\bI know where\b.{0,60}|\byou will be sorry\b|\bburn(?:s|t)?\b.{0,20}|\bwatch your back\b",
)
_STEER = re.compile("|".join(f"(?:{one})" for one in _STEERING), re.IGNORECASE | re.MULTILINE | re.DOTALL)
_THREAT = re.compile("|".join(f"(?:{one})" for one in _THREATS), re.IGNORECASE | re.DOTALL)
_TOLD_AMOUNT = re.compile(r"(\d{3,6}\.\d{2})")


def steering(text: str) -> tuple[str, ...]:
    """Passages that read like an order to our staff or programs, at most five, each at most 120 characters."""
    return _passages(_STEER, text)


def threats(text: str) -> tuple[str, ...]:
    """Passages that threaten, at most five."""
    return _passages(_THREAT, text)


def loud(text: str) -> bool:
    """Whether most letters are capitals, or exclamation marks stand in rows."""
    letters = [char for char in text if char.isalpha()]
    capitals = sum(char.isupper() for char in letters)
    return len(letters) > 40 and capitals > len(letters) * 0.6


def told_amount(text: str) -> str | None:
    """The amount that a steering message orders to pay: what a gullible agent obeys."""
    match = _STEER.search(text)
    found = _TOLD_AMOUNT.search(text, match.start()) if match else None
    return found.group(1) if found else None


def _passages(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = (" ".join(match.group(0).split())[:120] for match in pattern.finditer(text))
    return tuple(passage for passage, _ in zip(found, range(5), strict=False))
