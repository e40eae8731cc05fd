"""What workers do, one after the other and in any order: claim, perform, settle, beat, die."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from escalations import starts
from runs.engine.claim import claim
from runs.engine.claimed import Next
from runs.engine.outcomes import Asked, Cut, Failed, Later, Lost, Outcome, Output
from runs.engine.perform import perform
from runs.engine.settle import settle
from runs.engine.worker import heart
from runs.engine.worker.runtime import Runtime
from runs.errors import ErrorClass
from tests.model import AFTER_CUT, LEASE, SUSPECT, flows, laws
from tests.model.deciding import Deciding
from tests.model.flows import SCRIPT
from tests.model.reference import OVER
from tests.model.sides import HOURS, Flying, few

MOST_RUNS = 3
CRASHES = {"dies permitted": "after_permit", "dies unrecorded": "after_effect_before_record"}
BY_A_FUNCTION = ("again", "astray", "recoverable", "data", "broken", "reasoning", "unforeseen", "astray")
BY_AN_AGENT = (
    *("recoverable", "data", "broken", "reasoning", "unforeseen", "cut", "given up", "not sent"),
    *("refused there", "doubt", "doubt", "doubt"),
    *("dies permitted", "dies unrecorded", "dies permitted", "dies unrecorded"),
)

says = st.sampled_from([0] * 16 + list(range(1, 17)))  # 0: well; else one of what goes wrong at such a step


def order(step: Any, says: int) -> str:
    """What an attempt of this step is told."""
    orders = BY_AN_AGENT if step.node == "act" else BY_A_FUNCTION
    return orders[says % len(orders)] if says else "well"


@cache
def runtime() -> Runtime:
    """Where model calls are waited for; its heart does not beat."""
    return Runtime("model", "agents")


class Working(Deciding):
    @precondition(lambda self: len(self.model.runs) < MOST_RUNS)
    @rule(flow=st.sampled_from(tuple(flows.WIDTH)), asks=st.booleans())
    def start(self, flow: str, asks: bool) -> None:
        new = self.model.start(flow)
        started = self._accepted(
            lambda: starts.start_run(
                actor=self.people[0],
                workflow=f"model_{flow}",
                raw_input={"asks": asks},
                start_key=uuid.uuid4().hex,
            )
        )
        assert bool(started) == bool(new), started
        for run in new:
            run.pk, run.asks = started.run.pk, asks

    @precondition(lambda self: self.model.runs)
    @rule(which=few, who=st.integers(0, 1))
    def claim(self, which: int, who: int) -> None:
        self._claim(self._of(self.model.runs, which), self.workers[who])

    def _claim(self, run: Any, worker: str) -> None:
        if self._must_wait(run, worker):
            return
        self._claimed(claim(run.pk, worker=worker), self.model.claim(run, worker))

    def _must_wait(self, run: Any, worker: str) -> bool:
        """A worker performs one suspect of all runs at a time: tested where workers really die."""
        others = [one for one in self.model.runs if one is not run and one.owner == worker]
        suspects = [step for one in others for step in one.performed if step.losses >= SUSPECT]
        return any(suspects) and any(step.losses >= SUSPECT - 1 for step in run.performed)

    def _claimed(self, found: Next, expected: Sequence[Any]) -> None:
        claims = found if isinstance(found, tuple) else ()
        seqs = [one.run.steps.index(one.step) + 1 for one in expected]
        assert [one.step.seq for one in claims] == seqs, f"claimed {found}, expected steps {seqs}"
        self.flying += [Flying(*pair) for pair in zip(claims, expected, strict=True)]

    @precondition(lambda self: self._to_perform())
    @rule(which=few, says=says, meanwhile=st.sampled_from(("", "overtaken", "stopped", "stopping")))
    def perform(self, which: int, says: int, meanwhile: str) -> None:
        """In the middle of its first call another worker may claim, or a person stop the run: or just before it, when
        no run is marked yet."""
        amid = meanwhile in ("overtaken", "stopped")
        flying = self._of((amid and self._with_effects()) or self._to_perform(), which)
        run = flying.expected.run
        if meanwhile == "stopping":
            control = self._engaged("stop", "workflow", run.flow, marks=False)
            self._engages(control, "stop", run.flow, marks=False)
        self._perform(flying, says, meanwhile)
        if meanwhile == "stopping" and flying in self.flying:
            self._settle(flying)

    @precondition(lambda self: self._to_settle())
    @rule(which=few, twice=st.booleans())
    def settle(self, which: int, twice: bool) -> None:
        self._settle(self._of(self._to_settle(), which), twice)

    @precondition(lambda self: self.flying)
    @rule(which=few, says=says, performs=st.booleans())
    def comes_late(self, which: int, says: int, performs: bool) -> None:
        """A worker that is slow, not dead: another one claims before it settles, or before it even performs."""
        flying = self._of(self._with_effects() or self.flying, which)
        if flying.outcome is None and performs:
            self._perform(flying, says)
        self.passes(HOURS)
        other = next(one for one in self.workers if one != flying.claimed.worker)
        self._claim(flying.expected.run, other)
        if flying in self.flying:
            self._work(flying, says)

    @precondition(lambda self: self._with_effects())
    @rule(which=few, how=st.sampled_from(("doubt", *CRASHES)), who=st.integers(0, 1))
    def in_doubt(self, which: int, how: str, who: int) -> None:
        """Nobody knows how an effect ended, and somebody goes on."""
        flying = self._of(self._with_effects(), which)
        run = flying.expected.run
        self._perform(flying, BY_AN_AGENT.index(how))
        if flying in self.flying:
            self._settle(flying)
        self.passes(HOURS)
        self._turn(run, who, (0,))

    def _with_effects(self) -> list[Flying]:
        return [one for one in self._to_perform() if one.expected.step.node == "act"]

    @precondition(lambda self: self.flying)
    @rule(which=few, says=says)
    def work(self, which: int, says: int) -> None:
        """Perform and settle at once, as a worker does that nothing disturbs."""
        self._work(self._of(self.flying, which), says)

    @precondition(lambda self: self._going())
    @rule(which=few, who=st.integers(0, 1), says=says)
    def turn(self, which: int, who: int, says: int) -> None:
        """A worker looks at a run, and one of its steps ends as ordered."""
        self._turn(self._of(self._going(), which), who, (says,))

    @precondition(lambda self: self._going())
    @rule(which=few, who=st.integers(0, 1), says=says, then=says)
    def turns(self, which: int, who: int, says: int, then: int) -> None:
        self._turn(self._of(self._going(), which), who, (0, says, then))

    @precondition(lambda self: self._going())
    @rule(which=few, says=says)
    def more_turns(self, which: int, says: int) -> None:
        self._turn(self._of(self._going(), which), 0, (0, 0, 0, says))

    def _turn(self, run: Any, who: int, orders: Sequence[int]) -> None:
        self._claim(run, self.workers[who])
        for says in orders:
            mine = [one for one in self.flying if one.expected.run is run]
            if mine:
                self._work(mine[-1], says)
                self._compare()

    def _work(self, flying: Flying, says: int) -> None:
        if flying.outcome is None:
            self._perform(flying, says)
        if flying in self.flying:
            self._settle(flying)

    def _settle(self, flying: Flying, twice: bool = False) -> None:
        assert flying.outcome is not None
        self.flying.remove(flying)
        for _ in range(1 + (twice and isinstance(flying.outcome, Output))):
            expected = self.model.settle(flying.expected, *_told(flying.outcome))
            self._claimed(settle(flying.claimed, flying.outcome), expected)

    @precondition(lambda self: self._going())
    @rule(which=few, who=st.integers(0, 1), times=st.integers(1, 3))
    def takes_down_workers(self, which: int, who: int, times: int) -> None:
        """A step during which one worker after the other dies."""
        run = self._of(self._going(), which)
        for _ in range(times):
            self._claim(run, self.workers[who])
            self._crash(who)
            self.passes(HOURS)
            self._compare()

    @rule(who=st.integers(0, 1), beats=st.booleans())
    def worker(self, who: int, beats: bool) -> None:
        """A heart beats without having noticed anything, or the worker is no more."""
        if beats:
            self._beat(self.workers[who])
        else:
            self._crash(who)

    def _crash(self, who: int) -> None:
        """Who comes in its place has another name."""
        dead = self.workers[who]
        self.flying = [one for one in self.flying if one.claimed.worker != dead]
        self.workers[who] = f"{dead[0]}{int(dead[1:]) + 1}"

    def _beat(self, worker: str) -> None:
        fences: dict[int, int] = {}
        for one in [one.claimed for one in self.flying if one.claimed.worker == worker]:
            fences[one.run.pk] = max(one.fence, fences.get(one.run.pk, 0))
        kept = heart.extend_leases(worker, fences)
        assert kept == {run.pk for run in self.model.runs if fences.get(run.pk) == run.fence}
        for run in self.model.runs:
            if run.pk in kept and run.state == "running" and run.owner == worker:
                run.lease = run.due = self.model.now + LEASE

    def _to_perform(self) -> list[Flying]:
        return [one for one in self.flying if one.outcome is None]

    def _to_settle(self) -> list[Flying]:
        return [one for one in self.flying if one.outcome is not None]

    def _perform(self, flying: Flying, number: int, meanwhile: str = "") -> None:
        claimed, run, step = flying.claimed, flying.expected.run, flying.expected.step
        says = order(step, number)
        ways: dict[str, Callable[[Any, str], Callable[[], None]]]
        ways = {"overtaken": self._overtakes, "stopped": self._stops}
        happens = ways.get(meanwhile)
        then: list[Callable[[], None]] = []
        SCRIPT.says, SCRIPT.crash = says, CRASHES.get(says, "")
        SCRIPT.meanwhile = (lambda: then.append(happens(run, claimed.worker))) if happens else None
        barred, before = self._barred(flying.expected), laws.calls(claimed.step)
        with runtime().fly(run.pk, claimed.run.workflow, claimed.fence) as flight:
            if says in ("cut", "given up"):
                flight.cut(says, lost=says == "given up")
            flying.outcome = perform(claimed, flight)
        died = says in CRASHES and not SCRIPT.crash
        wrong = laws.Performed(
            run=run,
            step=step,
            says=says,
            barred=barred,
            happened=meanwhile if then else "",
            died=died,
            outcome=flying.outcome,
            before=before,
            after=laws.calls(claimed.step),
        )
        assert not list(wrong.broken_laws()), "\n".join(wrong.broken_laws())
        step.spoiled = step.spoiled or says == "broken"
        if died:
            self.flying.remove(flying)
        for follow in then:
            follow()

    def _overtakes(self, run: Any, worker: str) -> Callable[[], None]:
        """The lease runs out in the middle of a call, and the other worker claims."""
        other = next(one for one in self.workers if one != worker)
        passed = self._passed(HOURS)
        found = claim(run.pk, worker=other)

        def follow() -> None:
            self.model.now += passed
            self._claimed(found, self.model.claim(run, other))

        return follow

    def _stops(self, run: Any, worker: str) -> Callable[[], None]:
        """A person stops the run in the middle of a call."""
        control = self._engaged("stop", "run", run, marks=True)
        return lambda: self._engages(control, "stop", run, marks=True)

    def _barred(self, claim: Any) -> str:
        """Whether a permit must be refused now, and how the attempt ends then."""
        run, step = claim.run, claim.step
        owned = run.state == "running" and (run.fence, run.owner) == (claim.what[0], claim.by)
        if not owned or run.lease <= self.model.now or step.state in OVER:
            return "lost"
        return "cut" if run.hold or self.model.covering(run) else ""


def _told(outcome: Outcome) -> tuple[str, str, float]:
    """An outcome as the reference knows it: how, what, and how long to wait."""
    match outcome:
        case Output(value=value):
            return "done", getattr(value, "verdict", ""), 0.0
        case Later(refusal=refusal):
            raise AssertionError(f"nothing guards here: {refusal.says}")
        case Asked(asking=asking):
            return "asked", asking.kind, 0.0
        case Failed(failure=failure, rejected=rejected):
            if failure.error_class == ErrorClass.DATA:
                return "broken", "data" if rejected is None else "contract", 0.0
            return "failed", failure.error_class, failure.retry_after or 0.0
        case Cut():
            return "cut", "", AFTER_CUT
        case Lost():
            return "lost", "", 0.0
