"""Numbers as invoices write them (1.204,50 / 1,204.50 / 1 204,50) read into decimals.

Never guesses: what can be read two ways, or is no number at all, is given back as it stood, so that the
contract refuses it and a person looks at it. Knows nothing of invoices.
"""

import re
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")

_GAPS = " \u00a0\u2009\u202f'\u2019"
# Named, not "any three capitals": 1.2OOO would lose its letters and become an amount.
CURRENCIES = "EUR|SEK|GBP|USD|CHF|NOK|DKK|PLN|CZK"
_SIGNS = rf"(?:{CURRENCIES}|[€£$]|kr\.?|Fr\.)"
_CURRENCY = re.compile(rf"^{_SIGNS}\s*|\s*{_SIGNS}$")
_GAPPED = re.compile(rf"\d{{1,3}}(?:[{_GAPS}]\d{{3}})+(?:[.,]\d+)?")
_BARE = re.compile(r"\d[\d.,]*")
_DATE = re.compile(r"\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{4}-\d{2}-\d{2}\b")
_MARKED = re.compile(r"(?<![\d.,])\d[\d.,]*([.,])\d{2}(?![\d.,]|\w)")


def to_cents(value: Decimal) -> Decimal:
    """Round to two places, halves away from zero (what commercial rounding means on an invoice)."""
    return value.quantize(CENT, rounding=ROUND_HALF_UP)


def decimal_mark(text: str) -> str | None:
    """The decimal mark ("," or ".") that the amounts of a whole document agree on; None when they do not."""
    marks = {match.group(1) for match in _MARKED.finditer(_DATE.sub(" ", text))}
    return marks.pop() if len(marks) == 1 else None


def read_number(text: str, *, mark: str | None = None) -> Decimal | None:
    """The number in `text`, or None when it is none or can be read two ways.

    `mark` is the decimal mark of the document; it decides only what is ambiguous without it (1.204).
    """
    body, negative = _unsigned(_CURRENCY.sub("", text.strip()).strip())
    digits = _ungapped(body)
    if digits is None:
        return None
    plain = _plain(digits, mark)
    if plain is None:
        return None
    return -Decimal(plain) if negative else Decimal(plain)


def as_amount(text: str, *, mark: str | None = None) -> str:
    """`text` as an amount with two places ("1204.50"), or unchanged when it is not exactly such an amount."""
    return _with_places(text, mark, least=2, most=2)


def as_price(text: str, *, mark: str | None = None) -> str:
    """Like `as_amount`, with two to four places: unit prices may be finer than a cent."""
    return _with_places(text, mark, least=2, most=4)


def as_quantity(text: str, *, mark: str | None = None) -> str:
    """Like `as_amount`, with at most three places and none that are empty ("12", "1.5")."""
    return _with_places(text, mark, least=0, most=3)


def as_rate(text: str, *, mark: str | None = None) -> str:
    """A percentage ("19 %", "5,5") as a bare number with at most two places, or unchanged."""
    return _with_places(text.replace("%", "").strip(), mark, least=0, most=2) if text else text


def written(value: Decimal) -> str:
    """An amount as people read it: 18,420.00."""
    return f"{value:,.2f}"


def _unsigned(text: str) -> tuple[str, bool]:
    if text.startswith("(") and text.endswith(")"):
        return text[1:-1].strip(), True
    if text.startswith(("-", "\u2212")):
        return text[1:].strip(), True
    if text.endswith("-"):
        return text[:-1].strip(), True
    return text, False


def _ungapped(body: str) -> str | None:
    if not body.isascii() and any(ord(char) > 127 and char not in _GAPS for char in body):
        return None  # \d would accept the digits of other scripts, which look like others than they are
    if _BARE.fullmatch(body):
        return body
    if _GAPPED.fullmatch(body):
        # A point or comma after gapped groups can only be the decimal mark, so it is made unmistakable.
        whole = re.sub(rf"[{_GAPS}]", "", body).replace(",", ".")
        return whole if "." in whole else f"{whole}.0"
    return None


def _plain(digits: str, mark: str | None) -> str | None:
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return _two_marks(digits)
    if points + commas == 0:
        return digits
    sign = "." if points else ","
    if points + commas > 1:
        return digits.replace(sign, "") if _grouped(digits, sign) else None
    return _one_mark(digits, sign, mark)


def _two_marks(digits: str) -> str | None:
    last = max(digits.rfind("."), digits.rfind(","))
    whole, fraction = digits[:last], digits[last + 1 :]
    group = "," if digits[last] == "." else "."
    if not fraction or digits.count(digits[last]) > 1 or not _grouped(whole, group):
        return None
    return f"{whole.replace(group, '')}.{fraction}"


def _one_mark(digits: str, sign: str, mark: str | None) -> str | None:
    whole, fraction = digits.split(sign)
    if not fraction:
        return None
    if len(fraction) != 3 or len(whole) > 3 or whole.startswith("0"):
        return f"{whole}.{fraction}"
    if mark is None:
        return None  # 1.204 is twelve hundred in Berlin and a little over one in London
    return f"{whole}.{fraction}" if sign == mark else whole + fraction


def _grouped(whole: str, sign: str) -> bool:
    first, *rest = whole.split(sign)
    return 1 <= len(first) <= 3 and bool(rest) and all(len(part) == 3 for part in rest)


def _with_places(text: str, mark: str | None, *, least: int, most: int) -> str:
    number = read_number(text, mark=mark)
    if number is None or number != round(number, most):
        return text.strip()
    whole, _, fraction = f"{number:.{most}f}".partition(".")
    fraction = fraction.rstrip("0").ljust(least, "0")
    return f"{whole}.{fraction}" if fraction else whole
