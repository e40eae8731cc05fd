"""Whether a figure goes past what is allowed: one comparison for online, recordings and drafts. Pure.

It decides about contexts, turns of a definition, delegates, limits that only tell, rehearsals and `guard_report`. A
permit compares in SQL, within the transaction that reserves (`runs_reserve`, for turns, calls, tokens and money):
`tests/spend/test_decisions.py` holds that comparison against this one over drawn sequences.
"""

from __future__ import annotations


def over(value: int, cap: int) -> bool:
    """Whether the figure is past the cap; at the cap it is not."""
    return value > cap


def crosses(used: int, need: int, cap: int | None) -> bool:
    """Whether so much more would go past the cap; None: there is none."""
    return cap is not None and over(used + need, cap)


def first_over(before: int, after: int, cap: int) -> bool:
    """Whether a figure that has grown is past the cap now and was not before."""
    return over(after, cap) and not over(before, cap)
