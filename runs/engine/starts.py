"""Starting a run: checked at the door, with a key that makes repeating harmless and a limit on the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, transaction
from pydantic import BaseModel, ValidationError

from runs import bodies, registry
from runs.canonical import canonical
from runs.definitions import Workflow
from runs.engine import gate, holds, intake, versions
from runs.engine.record import announce_run, event, now, wake_run
from runs.errors import wrong_values
from runs.models import Control, ControlKind, Run, RunState, Team

_START = """
    SELECT run_id, team_id, moment
    FROM runs_start(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class NotStarted(Exception):
    """A run was not started; `sentence` says why and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UnknownWorkflow(NotStarted):
    """No workflow has this name."""


class BadInput(NotStarted):
    """The input does not meet the contract; `errors` has (path, message) for each wrong value."""

    def __init__(self, workflow: str, errors: list[tuple[str, str]]) -> None:
        first = f"{errors[0][0] or 'input'}: {errors[0][1]}"
        super().__init__(f"The input of {workflow} is wrong: {first}")
        self.errors = errors


class IntakeFull(NotStarted):
    """The queue is full; come back in `retry_after_seconds`."""

    def __init__(self, waiting: int, limit: int, seconds: int) -> None:
        super().__init__(
            f"{waiting} runs are queued and the limit is {limit}: nothing was started. Try again in {seconds} s."
        )
        self.retry_after_seconds = seconds


class Changed(NotStarted):
    """The version has been used, and is not what it was then; or the files have changed since they were loaded."""


class Held(NotStarted):
    """A stop covers the workflow."""

    def __init__(self, control: Control) -> None:
        super().__init__(
            f"Nothing was started: {control.scope_name} is stopped by {control.engaged_by}. Release the stop first."
        )
        self.control = control


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """`created` is False when the start key had started this run before."""

    run: Run
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A start that may be so plain that one statement does it. `run` is fresh: without its number and its moments."""

    run: Run
    deadline: timedelta
    limit: int | None  # against which the queue is counted, if it is
    data: str  # of the run's first event

    @property
    def values(self) -> list[Any]:
        """What the SQL function runs_start is given, in its order."""
        run = self.run
        return [
            run.workflow,
            run.version,
            run.definition,
            run.team.name,
            run.goal,
            run.start_key,
            run.started_by,
            run.simulated,
            run.input.digest,
            run.input.content,
            run.input.size,
            self.deadline,
            self.limit,
            self.data,
        ]


def start(
    name: str,
    raw_input: Mapping[str, Any],
    *,
    start_key: str,
    by: str,
    because: Mapping[str, Any] | None = None,
) -> Started:
    """Start a run of the newest version. The first thing in its transaction (it passes the gate).

    `because` goes into the run's first event: what started it, when no person did.

    Raises UnknownWorkflow, BadInput, IntakeFull, Held, Changed; nothing is half-done then.
    """
    workflow, checked = _at_the_door(name, raw_input, start_key)
    plain = _plain(workflow, checked, start_key, by, because or {})
    row = _started(plain) if plain else None
    if plain and row:
        return Started(run=on_record(plain, *row), created=True)
    gate.shared()
    known_run = Run.objects.filter(workflow=name, start_key=start_key).first()
    if known_run:
        return Started(run=known_run, created=False)
    return _create(workflow, checked, start_key, by, because or {})


def plainly(name: str, raw_input: Mapping[str, Any], *, start_key: str, by: str) -> Plain | None:
    """What one statement may start, for whoever adds to that statement; None where only `start` can. Writes nothing.

    Whoever has had runs_start say yes gives what it said to `on_record`. Raises UnknownWorkflow, BadInput.
    """
    workflow, checked = _at_the_door(name, raw_input, start_key)
    return _plain(workflow, checked, start_key, by, {})


def on_record(plain: Plain, run_id: int, team_id: int, moment: datetime) -> Run:
    """The run as runs_start has put it on record; workers and screens hear of it after the commit."""
    run, team = plain.run, plain.run.team
    run.pk, team.pk = run_id, team_id
    run.team = team  # again: it had no number when it was set
    run.created_at, run.due_at, run.deadline_at = moment, moment, moment + plain.deadline
    run.event_seq = 1
    for one in (run, run.team, run.input):
        one._state.adding, one._state.db = False, DEFAULT_DB_ALIAS
    announce_run(run)
    wake_run(run)
    return run


def _at_the_door(name: str, raw_input: Mapping[str, Any], start_key: str) -> tuple[Workflow, BaseModel]:
    workflow = registry.newest(name)
    if workflow is None:
        known = ", ".join(one.name for one in registry.all_newest()) or "none"
        raise UnknownWorkflow(
            f"There is no workflow {name!r}. Known: {known}. Apps of your own are named in OPSCONSOLE_APPS."
        )
    checked = check_input(workflow, raw_input)
    if not start_key or len(start_key) > 200 or not start_key.isprintable():
        raise BadInput(name, [("start_key", "give a key of 1 to 200 characters that can be seen")])
    return workflow, checked


def _plain(
    workflow: Workflow, checked: BaseModel, start_key: str, by: str, because: Mapping[str, Any]
) -> Plain | None:
    content = versions.plain(workflow)
    if content is None:
        return None
    run = _made(workflow, checked, start_key, by, content.digest, content.simulated)
    run.team = Team(name=workflow.team)
    data = canonical({"by": by, "version": workflow.version, **because})
    deadline = timedelta(seconds=workflow.deadline_seconds)
    return Plain(run=run, deadline=deadline, limit=intake.limit_to_count(), data=data)


def _started(plain: Plain) -> tuple[int, int, datetime] | None:
    """The run, started by one statement, which passes the gate; None, and nothing is done, when it is not so plain."""
    with connection.cursor() as cursor:
        cursor.execute(_START, plain.values)
        row: tuple[int, int, datetime] | None = cursor.fetchone()
    return row


def check_input(workflow: Workflow, raw_input: Mapping[str, Any]) -> BaseModel:
    """The input as its contract. Raises BadInput with every wrong value."""
    try:
        return workflow.takes.model_validate_json(canonical(raw_input))
    except ValidationError as error:
        raise BadInput(workflow.name, wrong_values(error)) from error
    except ValueError as error:
        raise BadInput(workflow.name, [("", str(error))]) from error


def begin(
    workflow: Workflow, checked: BaseModel, *, start_key: str, by: str, because: Mapping[str, Any]
) -> Started:
    """Start a run of exactly this definition, with an input that has been checked. The caller has passed the gate.

    Raises IntakeFull, Held, Changed.
    """
    return _create(workflow, checked, start_key, by, because)


def _create(
    workflow: Workflow, checked: BaseModel, start_key: str, by: str, because: Mapping[str, Any]
) -> Started:
    controls = holds.covering(run_id=0, workflow=workflow.name)
    if controls and controls[0].kind == ControlKind.STOP:
        raise Held(controls[0])
    _refuse_when_full()
    definition = _used(workflow)
    run = _made(workflow, checked, start_key, by, definition, workflow.simulated)
    moment = run.due_at = now()
    run.deadline_at = moment + timedelta(seconds=workflow.deadline_seconds)
    run.team, _ = Team.objects.get_or_create(name=workflow.team)
    bodies.keep(run.input)
    try:
        with transaction.atomic():
            run.save()
    except IntegrityError:  # the same key at the same moment
        return Started(run=Run.objects.get(workflow=workflow.name, start_key=start_key), created=False)
    event(run, "started", by=by, version=workflow.version, **because)
    if controls:
        holds.hold(run, controls)
    run.save()
    announce_run(run)
    wake_run(run)
    return Started(run=run, created=True)


def _made(
    workflow: Workflow, checked: BaseModel, start_key: str, by: str, definition: str, simulated: bool
) -> Run:
    """A fresh run, not saved, without its team and its moments."""
    return Run(
        workflow=workflow.name,
        version=workflow.version,
        goal=workflow.goal(checked)[:300],
        start_key=start_key,
        started_by=by,
        simulated=simulated,
        recorded=workflow.recorded,
        definition=definition,
        input=bodies.of(checked),
    )


def _used(workflow: Workflow) -> str:
    try:
        return versions.used(workflow)
    except versions.Frozen as why:
        raise Changed(f"Nothing was started: {why}") from why


def _refuse_when_full() -> None:
    limit = int(settings.RUNS_INTAKE_LIMIT)
    going = Run.objects.filter(state__in=[RunState.READY, RunState.RUNNING, RunState.SLEEPING])
    waiting = going.count()
    if waiting < limit:
        return
    finished = Run.objects.filter(finished_at__gte=now() - timedelta(minutes=1)).count()
    seconds = 60 if not finished else min(600, max(5, 60 * (waiting - limit + 1) // finished))
    raise IntakeFull(waiting, limit, seconds)
