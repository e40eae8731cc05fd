"""Limits as they stand in the database, for whoever asks often. Decides nothing and writes nothing.

A process keeps the book it has read and asks for the edition alone, one row by its key; it reads anew when that has
changed. What must hold exactly is checked again by whoever reserves, in its own transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from runs.limits.applying import Book
from runs.models import Limit

_book: Book | None = None
# Whoever changes limits holds this row until its transaction is over.
_LOCK = """
    INSERT INTO runs_limitedition AS edition (id, number) VALUES (1, 0)
    ON CONFLICT (id) DO UPDATE SET number = edition.number RETURNING number
"""


def lock() -> int:
    """Wait until nobody else changes limits; the edition. In the one lock order it stands where budgets stand."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def edition() -> int:
    """The number of the last change of any limit; 0 before the first. One query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM runs_limitedition WHERE id = 1")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def current(number: int | None = None) -> Book:
    """Every limit that holds or will hold, as this process last read them or as they are now. One query while nothing
    has changed, else two; one less for who has read the edition already."""
    global _book
    number, known = edition() if number is None else number, _book
    if known is None or known.edition != number:
        _book = known = book(number)
    return known


def known() -> Book:
    """As this process last read them; read now if it never did. Whoever reserves compares the edition."""
    return _book or current()


def book(number: int = 0) -> Book:
    """Every limit that holds or will hold, read now. One query."""
    return Book((limit.row for limit in open_rows()), edition=number)


def open_rows(at: datetime | None = None) -> list[Limit]:
    """The rows that hold or will hold at that moment, or now, in order of lines and time. One query."""
    return by_line(opened(at))


def opened(at: datetime | None = None) -> QuerySet[Limit]:
    """The same rows, not read yet."""
    moment = Now() if at is None else at
    later = Q(valid_until__gt=F("valid_from")) & Q(valid_until__gt=moment)
    return Limit.objects.filter(Q(valid_until__isnull=True) | later)


def by_line(rows: Iterable[Limit]) -> list[Limit]:
    """In order of lines and time."""
    return sorted(rows, key=lambda limit: (limit.line, limit.valid_from))


def in_force(at: datetime) -> Book:
    """What held at that moment, past or present, as people had set it then. One query."""
    rows = Limit.objects.filter(Q(valid_until__isnull=True) | Q(valid_until__gt=at), valid_from__lte=at)
    return Book(limit.row for limit in rows)
