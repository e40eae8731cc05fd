"""Our terms: Markdown files with numbered clauses, kept by others. Reads only; the figures in them are reckoned with.

The setting REFUND_TERMS names another folder with `*.md` files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from opsconsole.shipped.refund_desk.contracts import Clause
from opsconsole.shipped.refund_desk.messages import SAMPLES
from runs.errors import DataError

_CLAUSE = re.compile(
    r"^\*\*(?P<number>[A-Z]-\d\.\d)\*\*[ \t]+(?P<text>.+?)(?=\n[ \t]*\n|\Z)", re.MULTILINE | re.DOTALL
)
_DAYS = re.compile(r"(\d+) days")
_MONEY = re.compile(r"(\d+\.\d{2})(?!\d)")
_COUNT = re.compile(r"(\d+) refunds")


class TermsIncomplete(DataError):
    """A clause or a figure that the desk reckons with is not in the terms; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The clauses by number."""

    clauses: Mapping[str, Clause]

    def clause(self, number: str) -> Clause:
        """That clause, word for word. Raises TermsIncomplete."""
        found = self.clauses.get(number)
        if found is None:
            raise TermsIncomplete(f"The terms have no clause {number}; the refund desk needs it.")
        return found

    def days(self, number: str) -> int:
        """The first number of days that a clause names. Raises TermsIncomplete."""
        return int(self._figure(number, _DAYS, "a number of days"))

    def money(self, number: str) -> Decimal:
        """The first amount that a clause names. Raises TermsIncomplete."""
        return Decimal(self._figure(number, _MONEY, "an amount"))

    def count(self, number: str) -> int:
        """The first number of refunds that a clause names. Raises TermsIncomplete."""
        return int(self._figure(number, _COUNT, "a number of refunds"))

    def _figure(self, number: str, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.search(self.clause(number).text)
        if found is None:
            raise TermsIncomplete(f"Clause {number} names {what} no more; the refund desk needs it.")
        return found.group(1)


def current() -> Terms:
    """The terms as their files are now. Raises OSError, TermsIncomplete when a number stands twice."""
    folder = Path(getattr(settings, "REFUND_TERMS", SAMPLES / "policy"))
    files = tuple(sorted(folder.glob("*.md")))
    return _load(files, tuple(file.stat().st_mtime_ns for file in files))


@lru_cache(maxsize=4)
def _load(files: tuple[Path, ...], _changed: tuple[int, ...]) -> Terms:
    return parse("\n\n".join(file.read_text(encoding="utf-8") for file in files))


def parse(text: str) -> Terms:
    """The clauses of a Markdown text. Raises TermsIncomplete when a number stands twice."""
    found: dict[str, Clause] = {}
    for match in _CLAUSE.finditer(text):
        number = match["number"]
        if number in found:
            raise TermsIncomplete(f"Clause {number} stands twice in the terms.")
        found[number] = Clause(number=number, text=" ".join(match["text"].split()))
    return Terms(clauses=found)
