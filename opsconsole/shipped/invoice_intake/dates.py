"""Dates as invoices write them, read into ISO form. Gives back unchanged what can be read two ways."""

import re
from datetime import date

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january januar janvier januari januarij jan",
            "february februar février februari feb",
            "march märz mars maart mar",
            "april avril apr",
            "may mai maj mei",
            "june juni juin jun",
            "july juli juillet jul",
            "august août augusti augustus aug",
            "september septembre sep sept",
            "october oktober octobre okt oct",
            "november novembre nov",
            "december dezember décembre dec dez",
        ),
        start=1,
    )
    for name in names.split()
}
_WORDS = re.compile(r"(\d{1,2})(?:\.|er|st|nd|rd|th)?\s+([^\W\d_]+)\.?,?\s+(\d{4})")
_MONTH_FIRST = re.compile(r"([^\W\d_]+)\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})")


def as_iso(text: str, *, day_first: bool = False) -> str:
    """`text` as YYYY-MM-DD, or unchanged when it is no date or leaves day and month open (03/04/2026).

    `day_first` says that the document's language leaves nothing open: only English writes both orders.
    """
    text = text.strip()
    found = _numeric(text, day_first) or _in_words(text)
    return found.isoformat() if found else text


def _numeric(text: str, day_first: bool) -> date | None:
    if match := re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", text):
        return _date(*match.groups())
    if match := re.fullmatch(r"(\d{1,2})[.](\d{1,2})[.](\d{4})", text):
        day, month, year = match.groups()
        return _date(year, month, day)
    if match := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", text):
        day, month, year = match.groups()
        return _date(year, month, day) if day_first else _slashed(day, month, year)
    return None


def _slashed(first: str, second: str, year: str) -> date | None:
    day_first, month_first = _date(year, second, first), _date(year, first, second)
    if day_first and month_first and day_first != month_first:
        return None
    return day_first or month_first


def _in_words(text: str) -> date | None:
    if match := _WORDS.fullmatch(text):
        day, name, year = match.groups()
        return _date(year, str(_MONTHS.get(name.casefold(), 0)), day)
    if match := _MONTH_FIRST.fullmatch(text):
        name, day, year = match.groups()
        return _date(year, str(_MONTHS.get(name.casefold(), 0)), day)
    return None


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
