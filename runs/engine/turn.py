"""One turn of choosing, inside one transaction: what has been claimed so far, whether there is room for a step, how one
is taken. Which step that is, is decided in `choose` and `answered`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max

from runs import bodies, routing
from runs.definitions import Agent, Pipeline, Workflow
from runs.engine import planned
from runs.engine.claimed import Claimed
from runs.engine.endings import Closing, drop
from runs.engine.record import event, move_attempt, move_step
from runs.models import Attempt, AttemptState, Run, Step, StepState
from runs.verdicts import StandIn, stand_in_at

POISON_AFTER = 3  # a step that lost its worker so often is not claimed again without a person
SUSPECT_AFTER = 2  # from then on it is performed alone, so that its neighbours are not blamed for it


@dataclass(slots=True, kw_only=True)
class Turn:
    """What has been claimed so far, and what is known of the run; the caller closes."""

    closing: Closing
    workflow: Workflow
    worker: str
    moment: datetime
    deadline: datetime
    claims: list[Claimed] = field(default_factory=list)
    past: tuple[routing.Visited, ...] | None = None  # every step, once it was looked at
    performed: dict[int, int] | None = None  # see `beside`; not known before somebody asked

    @property
    def run(self) -> Run:
        return self.closing.run

    @property
    def over(self) -> bool:
        return self.run.final

    def has_room(self, step: Step) -> bool:
        """Whether the step may be performed beside those that are."""
        beside = self.beside()
        if any(losses >= SUSPECT_AFTER for losses in (step.losses, *beside.values())):
            return not beside
        return len(beside) < self.workflow.width

    def beside(self) -> dict[int, int]:
        """The steps of the run that are performed now, with how often each lost its worker."""
        if self.performed is None:
            mine = Step.objects.filter(run=self.run, state=StepState.RUNNING, fence=self.run.fence)
            self.performed = dict(mine.values_list("pk", "losses")) if self.workflow.width > 1 else {}
        return self.performed | {one.step.pk: one.step.losses for one in self.claims}

    def begin(self, step: Step) -> None:
        """Go on with the attempt that is open, or make a new one."""
        last = step.attempts.order_by("-number").first() if step.state != StepState.READY else None
        if last is None or last.state not in (
            AttemptState.RUNNING,
            AttemptState.ASKED,
            AttemptState.CUT,
        ):
            self._new_attempt(step, note=step.note)
        else:
            self._continue(step, last)

    def begin_anew(self, step: Step, *, by: str = "", note: str) -> None:
        """As a person said: no worker counts as lost any more. `by`: the stand-in, empty for the node's own work."""
        step.losses, step.by = 0, by
        self._new_attempt(step, note=note)

    def _new_attempt(self, step: Step, *, note: str) -> None:
        number = (step.attempts.aggregate(last=Max("number"))["last"] or 0) + 1
        self._take(step)
        self._attempt(step, number, note)

    def _attempt(self, step: Step, number: int, note: str) -> None:
        """Make an attempt of a step that is taken."""
        stand_in_ = stand_in_at(self.workflow.node(step.node), step.by)
        work = stand_in_.work or self.workflow.node(step.node).work
        agent = work.name if isinstance(work, Agent) else ""
        attempt = Attempt.objects.create(
            step=step,
            number=number,
            agent=agent,
            by=step.by,
            fence=self.run.fence,
            worker=self.worker,
            note=note,
        )
        self._claim(step, attempt, stand_in_)
        event(
            self.run, "attempt", step=step, number=number, agent=agent, **({"by": step.by} if step.by else {})
        )

    def _continue(self, step: Step, attempt: Attempt) -> None:
        """The same attempt goes on: after a lost worker, a cut, or an answer. Recorded calls are replayed."""
        move_attempt(attempt, AttemptState.RUNNING)
        attempt.fence, attempt.worker = self.run.fence, self.worker
        attempt.save()
        self._take(step)
        self._claim(step, attempt, stand_in_at(self.workflow.node(step.node), attempt.by))
        event(self.run, "went on", step=step, number=attempt.number)

    def _take(self, step: Step) -> None:
        move_step(step, StepState.RUNNING)
        step.fence, step.due_at = self.run.fence, None
        step.save()

    def _claim(self, step: Step, attempt: Attempt, stand_in_: StandIn) -> None:
        self.claims.append(
            Claimed(
                run=self.run,
                workflow=self.workflow,
                node=self.workflow.node(step.node),
                step=step,
                attempt=attempt,
                fence=self.run.fence,
                worker=self.worker,
                seconds_left=(self.deadline - self.moment).total_seconds(),
                stand_in=stand_in_,
                past=() if isinstance(self.workflow.pattern, Pipeline) else self.past,
            )
        )

    def visit(self, visits: Sequence[routing.Visit]) -> None:
        """Make the steps that come next. Tasks of a plan wait for room, any other is begun at once."""
        last = self.run.steps.aggregate(last=Max("seq"))["last"] or 0
        if any(visit.parent for visit in visits):
            planned.write(self.run, visits, last)
            return
        for seq, visit in enumerate(visits, start=last + 1):
            step = Step.objects.create(
                run=self.run,
                seq=seq,
                node=visit.node,
                state=StepState.RUNNING,
                fence=self.run.fence,
                input=bodies.store(visit.input),
            )
            event(self.run, "step", step=step, node=step.node, seq=step.seq)
            self._attempt(step, 1, "")

    def drop(self, steps: Sequence[int]) -> None:
        """End what is not needed any more, also when this turn has just taken it up."""
        drop(self.closing, steps, self.moment)
        self.claims = [one for one in self.claims if one.step.pk not in steps]
        self.performed = None
