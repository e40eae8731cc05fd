"""The desk's two books: refunds paid, and replies handed to the post. Each an append-only file, see `shipped.book`.

Decides one thing: an item of an order is refunded once. Stands in for a payment provider and a mail server.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from opsconsole.shipped.book import Book, Entry, HandOver
from opsconsole.shipped.refund_desk.contracts import Mail, Refund
from runs.errors import DataError


class AlreadyRefunded(DataError):
    """An item of this order is in the book of refunds already; it is not refunded twice."""


def refunds() -> Book[Refund]:
    """The book of refunds: setting REFUND_BOOK, else `refunds.jsonl` in the data folder."""
    configured = getattr(settings, "REFUND_BOOK", None)
    path = Path(configured or Path(settings.DATA_DIR) / "refunds.jsonl")
    return Book(path=path, contract=Refund, name="The book of refunds")


def outbox() -> Book[Mail]:
    """The replies: setting REFUND_OUTBOX, else `outbox.jsonl` in the data folder."""
    configured = getattr(settings, "REFUND_OUTBOX", None)
    path = Path(configured or Path(settings.DATA_DIR) / "outbox.jsonl")
    return Book(path=path, contract=Mail, name="The outbox")


def pay(refund: Refund, *, key: str, hand_over: HandOver, seconds: float) -> Entry[Refund]:
    """Enter a refund, once for the key. Raises AlreadyRefunded and what `Book.append` raises."""

    def refuse(known: Sequence[Entry[Refund]]) -> None:
        for entry in known:
            twice = set(entry.content.items) & set(refund.items)
            if entry.content.order == refund.order and twice:
                raise AlreadyRefunded(
                    f"{', '.join(sorted(twice))} of {refund.order} was refunded as entry {entry.number} on "
                    f"{entry.written_at:%Y-%m-%d}; it is not refunded twice."
                )

    return refunds().append(refund, key=key, hand_over=hand_over, refuse=refuse, seconds=seconds)


def send(mail: Mail, *, key: str, hand_over: HandOver, seconds: float) -> Entry[Mail]:
    """Put a reply into the outbox, once for the key. Raises what `Book.append` raises."""
    return outbox().append(mail, key=key, hand_over=hand_over, refuse=lambda known: None, seconds=seconds)


_REHEARSED = itertools.count(900_000_001)  # numbers that no book reaches
_rehearsed: dict[int, Refund | Mail] = {}


def rehearse(content: Refund | Mail) -> int:
    """A number for what a trial did not do. Nothing is written; `refund` and `reply` know it in this process."""
    number = next(_REHEARSED)
    _rehearsed[number] = content
    return number


def refund(number: int) -> Refund | None:
    """The refund that was entered under a number; None without one."""
    found = next((entry.content for entry in refunds().entries() if entry.number == number), None)
    tried = _rehearsed.get(number)
    return found or (tried if isinstance(tried, Refund) else None)


def reply(number: int) -> Mail | None:
    """The reply that was sent under a number; None without one."""
    found = next((entry.content for entry in outbox().entries() if entry.number == number), None)
    tried = _rehearsed.get(number)
    return found or (tried if isinstance(tried, Mail) else None)
