"""Which definition a run goes on by (law L10): what a version was when it was first used, and who has it now.

A run keeps the digest of what it began with. A process that has other content under that version leaves the run to
those that have it; when no worker has, a person is asked. What that person may choose is `runs.engine.migrating`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from runs import bodies, definition_digest, registry
from runs.code_digest import SourceChanged
from runs.definition_digest import SHORT
from runs.definitions import Orchestrated, Workflow
from runs.engine import answers
from runs.engine.claimed import Nothing
from runs.engine.contracts import as_contract
from runs.engine.record import announce_run, event, let_go, move_run, now, wake_run
from runs.errors import ContractBroken
from runs.models import (
    Definition,
    Question,
    QuestionKind,
    QuestionState,
    Run,
    RunState,
    Step,
    StepState,
    Worker,
    WorkerKind,
)
from runs.models.run import ACTIVE
from runs.registry import Content
from runs.signals import question_closed

MOST_NAMED = 4  # parts that differ are named; the others are counted
ONE_SECOND = timedelta(seconds=1)
BACK = "its version is there again"
_log = logging.getLogger("opsconsole.versions")


class Frozen(Exception):
    """A version that runs began with has other content now, or its files do: nothing is started with it."""


def used(workflow: Workflow) -> str:
    """The digest that a new run of this definition keeps; in the caller's transaction, which notes it when it is new.

    Raises Frozen, with a sentence, where versions are frozen (RUNS_FREEZE_VERSIONS) and this one has changed since it
    was first used. Where they are not, as in development, the version is taken as it is now from here on, and runs
    that began with the older content ask a person when they are looked at.
    """
    if workflow.recorded:
        return ""  # the recording says what happens; its definition is the console's own
    content = _content(workflow)
    known = _present(workflow) or _noted(workflow, content)
    if not content.of(workflow, known.digest):
        if settings.RUNS_FREEZE_VERSIONS:
            raise Frozen(_frozen(workflow, known, content))
        _replace(workflow, known, content)
    return content.digest


def plain(workflow: Workflow) -> Content | None:
    """What `used` would take it for where that is on record already; None where only `used` can say."""
    if workflow.recorded:
        return None
    try:
        return registry.content(workflow)
    except SourceChanged:
        return None


def _content(workflow: Workflow) -> Content:
    try:
        return registry.content(workflow)
    except SourceChanged as why:
        raise Frozen(f"{workflow.name} v{workflow.version}: {why}. Restart the console.") from why


def _present(workflow: Workflow) -> Definition | None:
    rows = Definition.objects.filter(workflow=workflow.name, version=workflow.version, replaced_at=None)
    return rows.first()


def _noted(workflow: Workflow, content: Content) -> Definition:
    """Noted now, by us or by somebody who was faster."""
    made = Definition(
        workflow=workflow.name, version=workflow.version, digest=content.digest, parts=dict(content.parts)
    )
    Definition.objects.bulk_create([made], ignore_conflicts=True)
    return _present(workflow) or made


def _replace(workflow: Workflow, known: Definition, content: Content) -> None:
    Definition.objects.filter(pk=known.pk, replaced_at=None).update(replaced_at=Now())
    _noted(workflow, content)
    waiting = Run.objects.filter(
        workflow=workflow.name, version=workflow.version, state__in=ACTIVE, definition=known.digest
    )
    if number := waiting.count():
        _log.warning(
            "%s v%s has changed (%s): %s runs that began before it will ask a person",
            workflow.name,
            workflow.version,
            _named(definition_digest.differing(known.parts, content.parts)),
            number,
        )


def _frozen(workflow: Workflow, known: Definition, content: Content) -> str:
    changed = _named(definition_digest.differing(known.parts, content.parts))
    return (
        f"{workflow.name} v{workflow.version} is not what it was when it was first used ({changed}). Raise its version "
        f"and keep the old one registered until its runs are over; or, where the change only mends an error and runs "
        f'under way may go on with it, give it replaces=("{known.digest[:SHORT]}",).'
    )


def _named(parts: list[str]) -> str:
    more = len(parts) - MOST_NAMED
    return "; ".join(parts[:MOST_NAMED]) + (f"; {more} more" if more > 0 else "")


# who has it


def elsewhere(run: Run) -> bool:
    """Whether a worker that lives, or lived a moment ago, has exactly what the run began with."""
    return bool(run.definition) and _among(_living(), run.definition)


def left_to_others() -> list[str]:
    """Digests that other workers have and this process has not: runs that began with them are theirs."""
    mine = registry.contents()
    return sorted(one for one in _living() if not _among(mine, one))


def _living() -> set[str]:
    """A deploy may leave a version without a worker for a moment: one who has just gone is taken to come back."""
    since = now() - float(settings.RUNS_VERSION_GRACE_SECONDS) * ONE_SECOND
    rows = Worker.objects.filter(kind=WorkerKind.AGENTS, seen_at__gte=since).values_list(
        "definitions", flat=True
    )
    return {digest for digests in rows for digest in digests}


def _among(known: Iterable[str], digest: str) -> bool:
    return any(digest.startswith(one) for one in known)


def leave(run: Run) -> Nothing:
    """Leave a locked run to those that have its definition; its place among the due ones stays. The caller saves it."""
    performed = run.steps.filter(state=StepState.RUNNING, fence=run.fence).exists()
    if run.state == RunState.RUNNING and not performed:
        move_run(run, RunState.READY)
        let_go(run)
    return Nothing(why="elsewhere")


def why_missing(run: Run) -> str:
    """Why this process cannot go on with the run, as a reason for asking."""
    present = registry.workflow(run.workflow, run.version)
    if present is None:
        return "the run keeps the version it started with, and no worker has that version any more"
    changed = changed_since(run, present)
    what = f" ({_named(changed)})" if changed else ""
    return f"what it began with has changed under its version{what}"


def changed_since(run: Run, present: Workflow) -> list[str]:
    """The parts of a definition that are not what the run began with; none where that is not on record."""
    rows = Definition.objects.filter(workflow=run.workflow, version=run.version, digest=run.definition)
    began = rows.first()
    if began is None:
        return []
    try:
        return definition_digest.differing(began.parts, registry.content(present).parts)
    except SourceChanged:
        return []


def come_back() -> int:
    """Withdraw the questions about versions that this process has; their runs go on. Returns how many."""
    rows = Question.objects.filter(kind=QuestionKind.MISSING, state=QuestionState.OPEN, step=None)
    found = rows.values_list("pk", "run__workflow", "run__version", "run__definition")
    here = [pk for pk, name, version, began in found if registry.workflow(name, version, began)]
    return sum(_go_on(question_id) for question_id in here)


@transaction.atomic
def _go_on(question_id: int) -> bool:
    question = answers.lock(question_id)
    run = question.run
    if question.state != QuestionState.OPEN or run.state == RunState.RUNNING or run.final:
        return False
    moment = now()
    question.state, question.answer_text, question.answered_at = QuestionState.WITHDRAWN, BACK, moment
    question.save()
    event(run, "withdrawn", question=question.pk, why=BACK)
    move_run(run, RunState.READY)
    run.due_at = moment
    run.save()
    announce_run(run)
    wake_run(run)
    question_closed.send(sender=Question, question=question)
    return True


# what the present version sees of a run that was migrated to it


def seen(workflow: Workflow, run: Run, steps: QuerySet[Step]) -> list[Step]:
    """The steps that routing may look at: of those that another version made, what this one can read."""
    if not isinstance(workflow.pattern, Orchestrated):
        return list(steps)
    return [step for step in steps if step.seq > run.migrated_seq or readable(workflow, step)]


def own(run: Run) -> QuerySet[Step]:
    """Of a run with plans the steps that routing may look at. A plan of another version is not: its tasks were ended
    when the run was migrated to a plan of its own.
    """
    return Step.objects.filter(run=run, seq__gt=run.migrated_seq)


def readable(workflow: Workflow, step: Step) -> bool:
    """Whether a settled step's output is one that this version's node of that name could have given."""
    if step.output is None or not workflow.has(step.node):
        return False
    try:
        as_contract(workflow.node(step.node).gives, bodies.load(step.output))
    except ContractBroken:
        return False
    return True
