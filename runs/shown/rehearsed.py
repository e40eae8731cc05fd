"""Which changed policies of a version were rehearsed: when, by whom, with which result. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runs.models import RehearsedPolicy
from runs.rehearsal.policies import PolicyChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A changed policy, and its newest rehearsal; None: nobody has rehearsed it."""

    change: PolicyChange
    last: RehearsedPolicy | None

    @property
    def says(self) -> str:
        """Whether it was rehearsed, in a sentence."""
        one = self.last
        if one is None:
            return "not rehearsed"
        return (
            f"rehearsed {one.at:%Y-%m-%d %H:%M} UTC by {one.by}, on runs of {one.since:%Y-%m-%d} to "
            f"{one.until:%Y-%m-%d}: {one.result}"
        )


def tried(changes: Sequence[PolicyChange]) -> tuple[Tried, ...]:
    """One query; none without changes."""
    if not changes:
        return ()
    rows = RehearsedPolicy.objects.filter(digest__in=[one.digest for one in changes])
    newest = {row.digest: row for row in rows.order_by("digest", "-at", "-pk").distinct("digest")}
    return tuple(Tried(change=one, last=newest.get(one.digest)) for one in changes)
