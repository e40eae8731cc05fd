"""What a rehearsal came to, in a few lines for a terminal. Pure: from the figures as they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runs.limits.units import Unit, shown


def sentences(says: str, totals: Mapping[str, Any]) -> Iterator[str]:
    """A line a figure; `says` is the draft in one clause, `totals` as `Totals.as_json` gives them."""
    yield f"{says}."
    yield from of_totals(totals)


def of_totals(found: Mapping[str, Any]) -> Iterator[str]:
    """The same without the draft."""
    saved, waits = found["saved"], found["waits"]
    rate = found["extra_escalations_per_operator_hour"]
    yield (
        f"{found['runs']:,} runs looked at: {found['stopped']:,} stopped, {found['freed']:,} not stopped any more, "
        f"{found['warned']:,} warned of, {found['noted']:,} noted."
    )
    yield (
        f"Successes lost: {found['successes_lost']:,} of {found['successes']:,}; "
        f"of {found['success_unknown']:,} stopped runs nobody knows."
    )
    yield (
        f"Saved: {shown(Unit.MONEY, saved['cost_micros'])} and {saved['tokens_in'] + saved['tokens_out']:,} tokens "
        f"in {saved['calls']:,} calls."
    )
    yield f"{waits['calls']:,} more calls wait, {waits['ms']:,} ms in all."
    yield f"Extra escalations: {found['extra_escalations']:,}" + (
        f", {rate:.3f} an operator-hour." if rate is not None else "; nobody was at work in that time."
    )
    yield f"Decisions that would differ: {found['decisions_differ']:,} of {found['answered']:,}."
    if found["beside"]:
        yield f"{found['beside']:,} other runs are not covered by it."
    marks = found["reached"].get("said")
    if marks:
        yield (
            f"They came to at most {marks['p50']} (half), {marks['p90']} (90 %), {marks['p99']} (99 %), "
            f"{marks['most']}."
        )
    for one in found["not_told"]:
        yield f"{one['runs']:,} runs: {one['why']}"
    for one in found.get("imported", ()):
        tokens = one["saved"]["tokens_in"] + one["saved"]["tokens_out"]
        yield (
            f"Imported {one['name']}: {one['stopped']:,} of {one['runs']:,} runs stopped, {one['successes_lost']:,} of "
            f"{one['successes']:,} successes lost, {tokens:,} tokens saved."
        )
