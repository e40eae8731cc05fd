"""The machine: rules that do the same to the real engine, on a real database, and to the reference, and compare.

One process and no worker: everything is done one by one, but for two answers at once. Nothing here says what is right:
`reference` does, the `laws` of calls, and the checker of the fault tests.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from runs.engine import sweep
from tests.faults import history
from tests.model import flows
from tests.model.sides import A_MOMENT, HOURS
from tests.model.working import Working


class Machine(Working):
    made: ClassVar[int] = 0  # examples that were gone through to their end, and their record found right

    def __init__(self) -> None:
        super().__init__()
        self.heals = False

    @initialize(
        heals=st.sampled_from((*[False] * 7, True)),
        first=st.sampled_from(tuple(flows.WIDTH)),
        second=st.sampled_from(("", "", *flows.WIDTH)),
        asks=st.booleans(),
        deep=st.integers(0, 2),
    )
    def begin(self, heals: bool, first: str, second: str, asks: bool, deep: int) -> None:
        """A run or two, with so many of their first steps done and the next ones under way."""
        self.heals = heals
        for flow in filter(None, (first, second)):
            self.start(flow, asks)
            self._turn(self.model.runs[-1], 0, (0,) * deep)

    @rule()
    def sweep(self) -> None:
        assert (sweep.mark_controls(), sweep.lift_pauses()) == (0, 0)
        for control in self.model.controls:
            if not control.released:
                self.model.mark(control)
        self.model.let_go()
        expired = sum(self.model.answer(question) for question in self._open())
        assert sweep.expire_questions() == expired
        due = {
            run.pk
            for run in self.model.runs
            if run.due is not None and run.due <= self.model.now and not run.hold
        }
        assert set(sweep.due()) == due
        self.passes(A_MOMENT)

    @invariant()
    def as_expected(self) -> None:
        """The rows say what the reference says."""
        self._compare()

    def _check(self) -> None:
        wrong = list(history.faults())
        assert not wrong, "\n".join(wrong)

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return  # what went wrong is said by whoever met it
        if self.heals:
            self._heal()
        self._check()
        Machine.made += 1

    def _heal(self) -> None:
        """Whatever happened: when nothing is held and everybody answers, every run comes to its end."""
        for who in (0, 1):
            self._crash(who)
        for control in self.model.controls:
            self._release(control)
        for run in self.model.runs:
            self._resume(run)
        self.passes(A_MOMENT)
        for _ in range(40):
            for question in self._open():
                self._answer(question, "reject")
            if not any(run.due is not None and run.due <= self.model.now for run in self._going()):
                self.passes(HOURS)
            for run in self._going():
                self._turn(run, 0, (0,) * 5)
            if not self._going():
                return
        raise AssertionError(f"{[run.state for run in self._going()]}: these runs never end")
