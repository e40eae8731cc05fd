"""What a rehearsal adds up to, run by run. Pure; integers, exact to the unit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC
from fractions import Fraction
from typing import Any

from runs.limits.kinds import TABLE, LimitKind
from runs.limits.units import Unit
from runs.rehearsal.comparing import Difference, Spent, spent, spent_json
from runs.rehearsal.crossings import NO_PRICE, concerns, reached, untold
from runs.rehearsal.drafts import Draft
from runs.rehearsal.history import PastRun
from runs.rehearsal.spread import Spread

NO_SUCCESS = "Whether it succeeded is not on record."
NO_MORE = "What it would have done where it was stopped then is not on record."


@dataclass(slots=True, kw_only=True)
class Totals:
    """`freed`: stopped then, and not with the draft. An operator-hour is an hour of the clock in which somebody
    answered something, of whatever run; `handled` are the milliseconds from taking cards to answering them.

    Runs that are none of the draft's business are `beside`, and count for nothing else. `spread`: what the others came
    to, of what the draft counts within a run."""

    runs: int = 0
    differ: int = 0
    stopped: int = 0
    warned: int = 0
    noted: int = 0
    freed: int = 0
    cards: int = 0
    successes: int = 0
    successes_lost: int = 0
    success_unknown: int = 0
    spent: Spent = field(default_factory=Spent)
    saved: Spent = field(default_factory=Spent)
    runs_waiting: int = 0
    calls_waiting: int = 0
    waited: int = 0
    longest: int = 0
    answered: int = 0
    decisions_differ: int = 0
    handled: int = 0
    hours: set[tuple[str, str]] = field(default_factory=set)
    untold: Counter[str] = field(default_factory=Counter)
    beside: int = 0
    spread: Spread = field(default_factory=Spread)
    unit: Unit = Unit.COUNT
    value: int | None = None

    @property
    def extra_escalations(self) -> int:
        """A card for each run that is stopped and was not, less one for each that was stopped and is not."""
        return self.cards

    @property
    def per_operator_hour(self) -> Fraction | None:
        """Extra cards an operator-hour; None when nobody answered anything."""
        return Fraction(self.extra_escalations, len(self.hours)) if self.hours else None

    def look(self, run: PastRun, draft: Draft) -> None:
        """A run that was looked at, whether it differs or not."""
        row = draft.new or draft.old[0]
        ours = concerns(run, row)
        for question in run.questions:
            if question.answered is not None and question.by:
                self.answered += ours
                self.hours.add((question.by, question.answered.astimezone(UTC).strftime("%Y-%m-%d %H")))
                self.handled += int(question.took.total_seconds() * 1000) if question.took else 0
        if not ours:
            self.beside += 1
            return
        self.runs += 1
        self.successes += run.how.value == "succeeded"
        self.spent += spent(run.calls)
        why = untold(run, draft.kind, draft.window)
        if why:
            self.untold[why] += 1
        self.unit, self.value = TABLE[draft.kind].unit, draft.new.value if draft.new else None
        figure = reached(run, row)
        if figure is not None:
            self.spread.add(figure)

    def differs(self, one: Difference, draft: Draft) -> None:
        self.differ += 1
        self.stopped += one.stopped is not None
        self.freed += one.freed is not None
        self.cards += one.cards
        self.warned += one.warned is not None
        self.noted += one.noted is not None
        self.saved += one.saved
        self.successes_lost += one.lost is True
        self.success_unknown += one.lost is None
        self.decisions_differ += len(one.decisions)
        if one.waiting or one.waited:
            self.runs_waiting += 1
            self.calls_waiting += one.waiting
            self.waited += one.waited
            self.longest = max(self.longest, one.longest)
        if (
            one.stopped
            and draft.kind is not LimitKind.COST
            and any(call.cost is None for call in one.not_made)
        ):
            self.untold[NO_PRICE] += 1
        if one.lost is None:
            self.untold[NO_SUCCESS] += 1
        if one.freed:
            self.untold[NO_MORE] += 1

    def as_json(self) -> dict[str, Any]:
        rate = self.per_operator_hour
        return {
            "runs": self.runs,
            "beside": self.beside,
            "reached": self.spread.as_json(self.unit, self.value),
            "differ": self.differ,
            "stopped": self.stopped,
            "freed": self.freed,
            "warned": self.warned,
            "noted": self.noted,
            "successes": self.successes,
            "successes_lost": self.successes_lost,
            "success_unknown": self.success_unknown,
            "spent": spent_json(self.spent),
            "saved": spent_json(self.saved),
            "waits": {
                "runs": self.runs_waiting,
                "calls": self.calls_waiting,
                "ms": self.waited,
                "longest_ms": self.longest,
            },
            "extra_escalations": self.extra_escalations,
            "operator_hours": len(self.hours),
            "operator_minutes": self.handled // 60_000,
            "extra_escalations_per_operator_hour": None if rate is None else round(float(rate), 3),
            "answered": self.answered,
            "decisions_differ": self.decisions_differ,
            "not_told": [{"why": why, "runs": runs} for why, runs in sorted(self.untold.items())],
        }
