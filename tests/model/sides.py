"""What every rule has: the engine's side and the reference's, people, two workers that are names, and a clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.auth.models import User
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from escalations.expected import Refusal
from runs.engine.claimed import Claimed
from runs.engine.outcomes import Outcome
from tests.model import clock, rows
from tests.model.flows import SCRIPT
from tests.model.reference import OVER, Model

# Seconds, so that no two moments meet: a lease (1000), a deadline and so many of these.
A_MOMENT, A_WHILE, HOURS, A_DAY = 403, 607, 4001, 90_000

few = st.integers(0, 7)  # which of some: taken modulo how many there are


class Flying:
    """A claim, as the engine and as the reference have it, and how its attempt ended."""

    def __init__(self, claimed: Claimed, expected: Any) -> None:
        self.claimed, self.expected = claimed, expected
        self.outcome: Outcome | None = None


class Sides(RuleBasedStateMachine):
    people: tuple[User, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        rows.forget()
        SCRIPT.reset()
        self.model = Model()
        self.flying: list[Flying] = []
        self.passed = 0  # how often time has passed
        self.workers = ["a1", "b1"]

    @rule(seconds=st.sampled_from((A_WHILE, A_WHILE, HOURS, HOURS, HOURS, A_DAY)))
    def passes(self, seconds: int) -> None:
        self.model.now += self._passed(seconds)

    def _passed(self, seconds: int) -> float:
        """Let time pass in the database; how much it was. No two times are the same: what a hold has frozen is given
        back, and the moment when it ends would meet the one when just as much has passed again."""
        self.passed += 1
        passed = seconds + random.Random(self.passed).randrange(5_000_000) / 1_000_000
        clock.passes(passed)
        return passed

    def _compare(self) -> None:
        wrong = rows.differences(self.model)
        assert not wrong, "\n".join(wrong)

    def _going(self) -> list[Any]:
        return [run for run in self.model.runs if run.state not in OVER]

    @staticmethod
    def _of(some: Sequence[Any], which: int) -> Any:
        return some[which % len(some)]

    @staticmethod
    def _accepted(act: Callable[[], Any]) -> Any:
        """What an act returned, or None when it was refused."""
        try:
            return act()
        except Refusal:
            return None
