"""What a supplier's note holds besides words for people: hidden characters, and orders to whoever reads it.

Finds, never removes: the note stays what it was, so that a person sees what the agent saw. A note without
findings is not thereby safe; nothing downstream relies on this.
"""

import re
import unicodedata

_ORDERS = (
    r"\b(?:ignore|disregard|forget)\b.{0,40}\b(?:instruction|previous|above|check|rule|polic)",
    r"\b(?:you are|act as|as an?)\b.{0,30}\b(?:agent|assistant|model|system|clerk)\b",
    r"\b(?:do not|don't|never)\b.{0,30}\b(?:ask|escalate|flag|tell|show|verify)\b",
    r"\b(?:pay|transfer|remit|send|wire)\b.{0,60}\b(?:instead|account|iban)\b",
    r"\b(?:approved|pre-approved|no approval|without approval|skip)\b.{0,40}\b(?:approv|check|review|post)",
    r"\b(?:ignorier|vergiss|überweis|freigegeben)\w*\b.{0,60}\b(?:anweisung|prüfung|konto|freigabe|iban)",
    r"\b(?:ignorez|oubliez|virez|payez)\b.{0,60}\b(?:instruction|compte|iban|contrôle)",
    r"<\s*/?\s*(?:system|instructions?|assistant)\b|\[\s*(?:system|inst)\s*\]|^[ \t]*system[ \t]*:",
)
_ORDER = re.compile("|".join(f"(?:{pattern})" for pattern in _ORDERS), re.IGNORECASE | re.MULTILINE)
_ALLOWED_CONTROLS = "\n\r\t"


def is_hidden(char: str) -> bool:
    """Whether the character takes no place on a page, or turns the direction of what follows."""
    return char not in _ALLOWED_CONTROLS and unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"}


def hidden_characters(text: str) -> tuple[str, ...]:
    """Names of the hidden characters in `text`, each once, in order ("U+202E RIGHT-TO-LEFT OVERRIDE")."""
    seen = dict.fromkeys(char for char in text if is_hidden(char))
    return tuple(f"U+{ord(char):04X} {unicodedata.name(char, 'control character')}" for char in seen)


def visible(text: str) -> str:
    """`text` without its hidden characters: roughly what a model makes of it."""
    return "".join(char for char in text if not is_hidden(char))


def orders(text: str) -> tuple[str, ...]:
    """Passages that read like an order to the reader's agent, at most five, each at most 120 characters."""
    found = (match.group(0) for match in _ORDER.finditer(visible(text)))
    return tuple(" ".join(passage.split())[:120] for passage, _ in zip(found, range(5), strict=False))
