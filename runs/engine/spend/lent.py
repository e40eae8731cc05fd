"""What this process was lent of the purses of the runs that it performs: so a call that fits asks nothing else.

Nothing of it is true by itself: a permit says which purse it was lent and what it takes of it, and the database refuses
when that is not the run's purse any more (migration 0036). What is lost here is read off the calls again. Threads that
perform one run side by side share what it was lent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

MOST_RUNS = 1000  # kept in mind at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What one call takes of a purse, by the purse's places; None where it takes nothing."""

    edition: int
    kinds: Sequence[str]
    amounts: Sequence[int | None]

    def overrun(self, *, cost: int, tokens: int) -> bool:
        """Whether the call used more of anything (millionths of a dollar, tokens) than it took."""
        pairs = zip(self.kinds, self.amounts, strict=False)
        return any(
            amount is not None and _used(kind, amount, cost, tokens) > amount for kind, amount in pairs
        )


@dataclass(slots=True, kw_only=True)
class Part:
    """What is left of one account. `epoch`: of the limits under which it was lent."""

    at: int
    left: int
    epoch: int | None


@dataclass(slots=True, kw_only=True)
class Lent:
    """A purse as it was lent: its edition, the fence of whom it was lent to, and its parts by key."""

    edition: int
    fence: int
    kinds: Sequence[str]
    parts: dict[str, Part]


_lock = Lock()
_lent: OrderedDict[int, Lent] = OrderedDict()


def draw(
    run_id: int, fence: int, keys: Sequence[str], amounts: Sequence[int], *, epoch: int, first: bool
) -> Drawn | None:
    """Take what a call needs; None when the purse does not have all of it. What was sent before is no new turn."""
    with _lock:
        lent = _lent.get(run_id)
        if lent is None or lent.fence != fence:
            return None
        found = []
        for key, amount in zip(keys, amounts, strict=True):
            if not first and key.startswith("turns|"):
                continue
            part = lent.parts.get(key)
            if part is None or part.epoch != epoch or part.left < amount:
                return None
            found.append((part, amount))
        taken: list[int | None] = [None] * len(lent.kinds)
        for part, amount in found:
            part.left -= amount
            taken[part.at] = amount
        return Drawn(edition=lent.edition, kinds=lent.kinds, amounts=taken)


def keep(run_id: int, fence: int, said: Mapping[str, Any], keys: Sequence[str], *, epoch: int) -> None:
    """Remember a purse as a permit has just lent it; these keys were asked for under the limits of now."""
    with _lock:
        before = _lent.pop(run_id, None)
        known = before.parts if before is not None and before.fence == fence else {}
        asked = set(keys)
        parts = {
            key: Part(at=at, left=left, epoch=epoch if key in asked else _epoch(known.get(key)))
            for at, (key, left) in enumerate(zip(said["keys"], said["left"], strict=True))
            if key
        }
        _lent[run_id] = Lent(edition=said["edition"], fence=fence, kinds=said["kinds"], parts=parts)
        while len(_lent) > MOST_RUNS:
            _lent.popitem(last=False)


def _epoch(part: Part | None) -> int | None:
    return part.epoch if part else None


def forget(run_id: int) -> None:
    """Ask the database for everything again."""
    with _lock:
        _lent.pop(run_id, None)


def ended(run_id: int, fence: int, drawn: Drawn, *, cost: int, tokens: int) -> None:
    """A call has ended; what it did not use (millionths of a dollar, tokens) may be taken again."""
    with _lock:
        lent = _lent.get(run_id)
        if lent is None or lent.fence != fence or lent.edition != drawn.edition:
            return
        for part in lent.parts.values():
            amount = drawn.amounts[part.at] if part.at < len(drawn.amounts) else None
            if amount is not None:
                part.left += amount - _used(drawn.kinds[part.at], amount, cost, tokens)


def _used(kind: str, amount: int, cost: int, tokens: int) -> int:
    match kind:
        case "cost":
            return cost
        case "tokens":
            return tokens
        case "concurrency":
            return 0
    return amount
