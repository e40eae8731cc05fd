"""Going on with another version of a workflow, at the place that a person has chosen. Chooses nothing itself.

Where the run stands, its open steps stay, and each begins an attempt of its own: what is recorded of their effects is
not done again, and approvals given before are asked for again. Anywhere else the open steps end and a new one begins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runs import bodies, registry
from runs.definition_digest import SHORT
from runs.definitions import Supervised, Workflow
from runs.engine import answers, versions
from runs.engine.endings import Closing, drop, withdraw
from runs.engine.places import Past, Place, Target, past_of, places, stands_at
from runs.engine.record import event, move_attempt, move_step, now
from runs.models import (
    Attempt,
    AttemptState,
    Question,
    QuestionKind,
    Run,
    RunState,
    Step,
    StepState,
    Verb,
)
from runs.models.step import SETTLED_STEPS

_OPEN_ATTEMPTS = (AttemptState.RUNNING, AttemptState.ASKED, AttemptState.CUT)


class CannotMigrate(Exception):
    """The run cannot go on there. Nothing was changed; the words say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What a migration changed, for the record of who did it."""

    before: dict[str, Any]
    after: dict[str, Any]


def migrate(question: Question, key: str, *, by: str, reason: str = "") -> Migrated:
    """Let the run of a locked question go on at that place, and record it as the answer. The fence grows, so that
    whoever may still perform the run is too late.

    Raises CannotMigrate and answers.NotOpen; then nothing has changed.
    """
    run = question.run
    if run.state == RunState.RUNNING:
        raise CannotMigrate(f"A worker that has {run.workflow} v{run.version} performs run {run.pk} now.")
    place = next((one for one in places(run) if one.key == key), None)
    if place is None:
        raise CannotMigrate(
            "That place is not there any more, or its version has changed: read the card again."
        )
    if not place.fits:
        raise CannotMigrate(f"v{place.version} at {place.words}: {place.why_not}.")
    return _Migration(question, place).made(by, reason)


@dataclass(slots=True)
class _Migration:
    """One migration, in the caller's transaction, under the run's row lock."""

    question: Question
    place: Place
    closing: Closing = field(init=False)

    def __post_init__(self) -> None:
        self.closing = Closing(self.question.run)

    def made(self, by: str, reason: str) -> Migrated:
        run, place = self.question.run, self.place
        workflow = registry.workflow(run.workflow, place.version)
        if workflow is None:
            raise CannotMigrate(f"{run.workflow} v{place.version} is not installed here.")
        past = past_of(run)
        migrated = Migrated(before=_as_it_is(run), after=_as_it_will_be(place))
        definition = _noted(workflow)
        event(run, "migrated", by=by, at=place.words, **_both(migrated))
        self._go_on(workflow, past)
        run.migrated_seq = _made_before(workflow, place, past)
        run.version, run.definition = workflow.version, definition
        run.simulated = run.simulated or workflow.simulated
        run.fence += 1
        answer = {**migrated.after, "from_version": migrated.before["version"]}
        answers.answer(self.question, verb=Verb.MIGRATE, answer=answer, text=reason, by=by)
        self.closing.close()
        return migrated

    def _go_on(self, workflow: Workflow, past: Past) -> None:
        moment = now()
        if self.place.stays:
            for step in past.open:
                self._afresh(step, moment)
            return
        drop(self.closing, [step.pk for step in past.open], moment)
        node = workflow.node(self.place.node)
        given = Target(workflow, past).value_for(node, self.place.given)
        seq = past.steps[-1].seq + 1 if past.steps else 1
        step = Step.objects.create(
            run=past.run,
            seq=seq,
            node=node.name,
            state=StepState.SLEEPING,
            due_at=moment,
            input=bodies.store(given),
        )
        event(past.run, "step", step=step, node=node.name, seq=seq)

    def _afresh(self, step: Step, moment: Any) -> None:
        """The step stays and begins a new attempt with the other version's work; nobody stands in for it yet."""
        for attempt in Attempt.objects.filter(step=step, state__in=_OPEN_ATTEMPTS):
            move_attempt(attempt, AttemptState.VOIDED)
            attempt.finished_at = moment
            attempt.save()
        withdraw(self.closing, Question.objects.filter(step=step), moment)
        self._set_approvals_aside(step)
        step.by, step.note, step.losses = "", "", 0
        if step.state in (StepState.RUNNING, StepState.WAITING):
            move_step(step, StepState.RUNNING)
            move_step(step, StepState.SLEEPING)
            step.fence, step.due_at = 0, moment
        step.save()

    def _set_approvals_aside(self, step: Step) -> None:
        """A person approved what the other version showed; this one may show something else."""
        before = f"@v{self.question.run.version}"
        for asked in Question.objects.filter(step=step, kind=QuestionKind.APPROVAL).exclude(call_key=""):
            asked.call_key = asked.call_key[: 150 - len(before)] + before
            asked.save(update_fields=["call_key"])


def _noted(workflow: Workflow) -> str:
    try:
        return versions.used(workflow)
    except versions.Frozen as why:
        raise CannotMigrate(str(why)) from why


def _made_before(workflow: Workflow, place: Place, past: Past) -> int:
    """Up to which step the history is another version's. A plan that goes on, or is joined, stays in sight."""
    pattern = workflow.pattern
    if isinstance(pattern, Supervised) and place.node != pattern.supervisor.name:
        return past.run.migrated_seq
    settled = [step.seq for step in past.steps if step.state in SETTLED_STEPS or not place.stays]
    return max(settled, default=past.run.migrated_seq)


def _as_it_is(run: Run) -> dict[str, Any]:
    return {"version": run.version, "definition": run.definition[:SHORT], "at": stands_at(run)}


def _as_it_will_be(place: Place) -> dict[str, Any]:
    after = {"version": place.version, "definition": place.definition[:SHORT], "at": place.words}
    return {**after, "given": place.given} if place.given else after


def _both(migrated: Migrated) -> dict[str, Any]:
    names = ("version", "definition")
    before = {f"from_{name}": migrated.before[name] for name in names}
    return {**before, **{f"to_{name}": migrated.after[name] for name in names}}
