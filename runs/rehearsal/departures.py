"""Where a run would have left its record under another policy, and what many of them add up to. Pure; integers.

A limit's draft has `comparing` and `totals`; a policy has no row, window or figure, only what it says at a place.
What a run would have done after it left its record is on none, and counts for nothing.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from runs.rehearsal.comparing import OtherDecision, Spent, decision_json, spent, spent_json
from runs.rehearsal.history import How, PastCall, PastRun
from runs.rehearsal.totals import NO_SUCCESS


class What(enum.StrEnum):
    """What would have happened instead."""

    ASKED = "asked"  # a person is asked, and the run stands still
    ENDED = "ended"  # the run ends there, or its task alone
    TRIED = "tried"  # nobody is asked and nothing ends there: it is tried again, or goes on
    OTHERWISE = "otherwise"  # tried again as then, by somebody else
    WAITS = "waits"  # calls wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The first place where a run would have left its record: at which step, before which call (counted from 0), when.

    `lost`: whether a success would have been; None: nobody knows. `cards`: how many more cards people would have had.
    `waiting` counts calls, `failing` those of them that failed then; `waited` and `longest` are in milliseconds.
    """

    run: PastRun
    what: What
    step: int
    position: int
    at: datetime | None
    says: str
    not_made: tuple[PastCall, ...] = ()
    lost: bool | None = False
    cards: int = 0
    decisions: tuple[OtherDecision, ...] = ()
    waiting: int = 0
    failing: int = 0
    waited: int = 0
    longest: int = 0
    untold: str = ""

    def as_json(self) -> dict[str, Any]:
        """One line for one run."""
        run = self.run
        line: dict[str, Any] = {
            "run": run.key,
            "number": run.number,
            "workflow": run.workflow,
            "team": run.team,
            self.what.value: {
                "step": self.step,
                "call": self.position,
                "at": self.at.isoformat() if self.at else None,
            },
            "saved": spent_json(spent(self.not_made)),
            "success_lost": self.lost,
            "extra_escalations": self.cards,
        }
        if self.waiting:
            line["waits"] = {
                "calls": self.waiting,
                "failed": self.failing,
                "ms": self.waited,
                "longest_ms": self.longest,
            }
        if self.decisions:
            line["decisions_differ"] = [decision_json(other) for other in self.decisions]
        return line | {"says": self.says}


def lost(run: PastRun) -> bool | None:
    """Whether a run that stands still or ends would have been a success."""
    return None if run.how in (How.UNKNOWN, How.UNDER_WAY) else run.how is How.SUCCEEDED


@dataclass(slots=True, kw_only=True)
class Sums:
    """`beside`: runs that the policy says nothing of. An operator-hour is an hour of the clock in which somebody
    answered something, of whatever run."""

    runs: int = 0
    beside: int = 0
    what: Counter[str] = field(default_factory=Counter)
    successes: int = 0
    successes_lost: int = 0
    success_unknown: int = 0
    saved: Spent = field(default_factory=Spent)
    cards: int = 0
    answered: int = 0
    decisions_differ: int = 0
    hours: set[tuple[str, str]] = field(default_factory=set)
    waiting: int = 0
    failing: int = 0
    waited: int = 0
    longest: int = 0
    untold: Counter[str] = field(default_factory=Counter)

    def look(self, run: PastRun, *, ours: bool) -> None:
        """A run that was looked at, whether it differs or not."""
        for question in run.questions:
            if question.answered is not None and question.by:
                self.answered += ours
                self.hours.add((question.by, question.answered.astimezone(UTC).strftime("%Y-%m-%d %H")))
        self.beside += not ours
        self.runs += ours
        self.successes += ours and run.how is How.SUCCEEDED

    def differs(self, one: Departure) -> None:
        self.what[one.what.value] += 1
        self.saved += spent(one.not_made)
        self.cards += one.cards
        self.successes_lost += one.lost is True
        self.success_unknown += one.lost is None
        self.decisions_differ += len(one.decisions)
        self.waiting += one.waiting
        self.failing += one.failing
        self.waited += one.waited
        self.longest = max(self.longest, one.longest)
        if one.lost is None:
            self.untold[NO_SUCCESS] += 1
        if one.untold:
            self.untold[one.untold] += 1

    @property
    def per_operator_hour(self) -> Fraction | None:
        return Fraction(self.cards, len(self.hours)) if self.hours else None

    def as_json(self) -> dict[str, Any]:
        rate = self.per_operator_hour
        return {
            "runs": self.runs,
            "beside": self.beside,
            "differ": self.what.total(),
            **{what.value: self.what[what.value] for what in What},
            "successes": self.successes,
            "successes_lost": self.successes_lost,
            "success_unknown": self.success_unknown,
            "saved": spent_json(self.saved),
            "calls_waiting": {
                "calls": self.waiting,
                "failed": self.failing,
                "ms": self.waited,
                "longest_ms": self.longest,
            },
            "extra_escalations": self.cards,
            "operator_hours": len(self.hours),
            "extra_escalations_per_operator_hour": None if rate is None else round(float(rate), 3),
            "answered": self.answered,
            "decisions_differ": self.decisions_differ,
            "not_told": [{"why": why, "runs": runs} for why, runs in sorted(self.untold.items())],
        }
