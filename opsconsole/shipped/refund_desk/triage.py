"""What a message wants, by rules: all that the simulated triager knows. Decides nothing that counts.

It reads only what stands there: a number, an amount and a passage are copied, never made up. What it makes of them is
checked by the node's `accept`, and everything that is paid is reckoned from the orders and the terms.
"""

import re
from collections.abc import Mapping
from typing import Any

from opsconsole.shipped.refund_desk import words
from opsconsole.shipped.refund_desk.contracts import CustomerMessage, Triaged
from runs.errors import ReasoningError

_ORDER = re.compile(
    r"(?:\bMP[- ]?|#|\b(?:order|bestellung|commande)(?: no\.?| number)? (?:MP[- ]?)?)(\d{5})\b", re.IGNORECASE
)
_AMOUNT = re.compile(
    r"(?P<before>[€£$])\s?(?P<figure>\d{1,3}(?:,\d{3})*\.\d{2}|\d+\.\d{2})"
    r"|(?P<figure2>\d+[.,]\d{2})\s?(?P<after>€|£|EUR|GBP|USD)\b",
)
_MOST_ORDERS = 6
_SIGNS = {"€": "EUR", "£": "GBP", "$": "USD"}
_PIECES = re.compile(rf"\b({'|'.join(words.NUMBERS)}|\d{{1,2}}) (?:of|von|des|sur)\b", re.IGNORECASE)


def triaged(message: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `contracts.Triaged` for a message as JSON data."""
    subject, body = str(message["subject"]), str(message["body"])
    text = f"{subject}\n{body}"
    cause, passage = _cause(text)
    orders = numbers(text)
    wants = _wants(text, cause)
    return {
        "language": language(body),
        "wants": wants,
        "cause": cause,
        "topic": _topic(text) if wants == "question" else "none",
        "orders": orders[:_MOST_ORDERS],
        "items": [item for item, names in words.ITEMS.items() if _complained(names, text)][:12],
        "pieces": _pieces(text),
        "asked": _asked(text),
        "passage": passage or body[:200],
    }


def accept(given: CustomerMessage, triaged: Triaged) -> None:
    """That the triager made nothing up and left nothing out that costs or saves money. Raises ReasoningError.

    Its cause must stand in its passage in words we know: what is only not wanted is not refunded as damaged.
    """
    stand = numbers(given.text)
    for order in triaged.orders:
        if order.removeprefix("MP-") not in given.text:
            raise ReasoningError(f"Order {order} does not stand in the message.", where="orders")
    if left_out := set(stand[:_MOST_ORDERS]) - set(triaged.orders):
        raise ReasoningError(f"The message names {min(left_out)}, and the triager does not.", where="orders")
    if triaged.asked and not _stands(triaged.asked.amount, given.text):
        raise ReasoningError(f"{triaged.asked.amount} does not stand in the message.", where="asked")
    if triaged.passage not in given.text:
        raise ReasoningError("The passage does not stand in the message.", where="passage")
    if triaged.cause != "none" and not words.found(words.CAUSES[triaged.cause], triaged.passage):
        raise ReasoningError(f"Nothing in the passage says {triaged.cause}.", where="cause")
    if triaged.wants != "refund" and stand and words.found(words.REFUND, given.text):
        raise ReasoningError(f"The message asks for money of {stand[0]} back.", where="wants")


def numbers(text: str) -> list[str]:
    """The order numbers in a text, each once, in order."""
    return list(dict.fromkeys(f"MP-{digits}" for digits in _ORDER.findall(text)))


def language(text: str) -> str:
    """The language with the most of its common words; English when in doubt."""
    counted = {name: words.count(pattern, text) for name, pattern in words.LANGUAGES.items()}
    return max(("en", "de", "fr"), key=lambda name: counted[name])


def _stands(amount: object, text: str) -> bool:
    figure = str(amount)
    return any(form in text for form in (figure, figure.replace(".", ","), f"{amount:,.2f}"))


def _cause(text: str) -> tuple[str, str]:
    """The cause and the sentence that names it."""
    for cause, pattern in words.CAUSES.items():
        if match := words.found(pattern, text):
            return cause, _sentence(text, match.start())
    return "none", ""


def _sentence(text: str, at: int) -> str:
    begin = max(text.rfind(mark, 0, at) for mark in (". ", "! ", "? ", "\n\n", ".\n", "!\n")) + 1
    ends = [place for mark in (". ", "! ", "? ", "\n\n", ".\n") if (place := text.find(mark, at)) != -1]
    return text[begin : min([*ends, len(text)]) + 1].strip()[:400]


def _wants(text: str, cause: str) -> str:
    if words.found(words.REFUND, text) and cause != "none":
        return "refund"
    if cause in ("damaged", "not_arrived", "wrong_item", "charged_twice"):
        return "refund"
    if "?" in text:
        return "question"
    if words.found(words.REFUND, text):
        return "refund"
    return "thanks" if words.found(words.THANKS, text) else "unclear"


def _topic(text: str) -> str:
    return next((topic for topic, pattern in words.TOPICS.items() if words.found(pattern, text)), "none")


def _complained(names: str, text: str) -> bool:
    """Whether an item is named, and not only to say that it is fine."""
    for sentence in re.split(r"[.!?;:]\s|\n\n|, (?:the|die|der|das|les?) ", text):
        if words.found(names, sentence) and not words.found(r"fine|in ordnung|other(?:s)?|keep", sentence):
            return True
    return False


def _pieces(text: str) -> int | None:
    match = _PIECES.search(text)
    if match is None:
        return None
    word = match.group(1).lower()
    return words.NUMBERS.get(word) or int(word)


def _asked(text: str) -> dict[str, str] | None:
    """The first amount that stands there with its currency."""
    match = _AMOUNT.search(text)
    if match is None:
        return None
    figure = (match["figure"] or match["figure2"]).replace(",", "." if match["figure2"] else "")
    sign = match["before"] or match["after"]
    return {"amount": figure, "currency": _SIGNS.get(sign, sign)}
