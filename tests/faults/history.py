"""What must be true of every run's record, whatever was killed: one checker for every fault test.

Two tables written by triggers (`watch`) keep what the product's own rows cannot show afterwards: every fence a run
had, and every outcome a step ever got. All times compared are PostgreSQL's, and statements', not transactions'.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from django.db import connection
from django.db.models import F

from runs.models import Attempt, Call, Control, Event, Run

_WATCH = """
    CREATE TABLE fault_fence (id bigserial, run_id bigint, was bigint, fence bigint);
    CREATE TABLE fault_outcome (id bigserial, step_id bigint, output_id text);
    CREATE FUNCTION fault_saw_run() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO fault_fence (run_id, was, fence) VALUES (NEW.id, OLD.fence, NEW.fence); RETURN NULL; END
    $$;
    CREATE FUNCTION fault_saw_step() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO fault_outcome (step_id, output_id) VALUES (NEW.id, NEW.output_id); RETURN NULL; END
    $$;
    CREATE TRIGGER fault_watch AFTER UPDATE ON runs_run FOR EACH ROW
        WHEN (OLD.fence IS DISTINCT FROM NEW.fence) EXECUTE FUNCTION fault_saw_run();
    CREATE TRIGGER fault_watch AFTER UPDATE ON runs_step FOR EACH ROW
        WHEN (OLD.state IS DISTINCT FROM NEW.state AND 'done' IN (OLD.state, NEW.state)
              OR OLD.output_id IS DISTINCT FROM NEW.output_id) EXECUTE FUNCTION fault_saw_step();
"""
_UNWATCH = """
    DROP TRIGGER fault_watch ON runs_run;
    DROP TRIGGER fault_watch ON runs_step;
    DROP FUNCTION fault_saw_run, fault_saw_step;
    DROP TABLE fault_fence, fault_outcome;
"""


def watch() -> None:
    """Begin to note fences and outcomes, from the inside of the database."""
    _execute(_WATCH)


def unwatch() -> None:
    _execute(_UNWATCH)


def check() -> None:
    """Fails with every sentence that is wrong about any run."""
    wrong = list(faults())
    assert not wrong, "\n".join(wrong)


def faults() -> Iterator[str]:
    """One sentence for each thing that can never be."""
    for run in Run.objects.order_by("pk"):
        yield from _events(run)
        yield from _claims_while_held(run)
        yield from _final(run)
    yield from _outcomes()
    yield from _after_the_end()
    yield from _fences()
    yield from _calls()
    yield from _under_controls()


def _events(run: Run) -> Iterator[str]:
    seqs = list(run.events.order_by("seq").values_list("seq", flat=True))
    if seqs != list(range(1, run.event_seq + 1)):
        yield f"{run}: events are {seqs}, not 1 to {run.event_seq}"


def _claims_while_held(run: Run) -> Iterator[str]:
    held = False
    for event in run.events.order_by("seq"):
        if event.kind == "held":
            held = True
        elif event.kind == "resumed":
            held = False
        elif held and event.kind in CLAIMS:
            yield f"{event}: claimed while the run was held"


CLAIMS = ("step", "attempt", "went on")


def _final(run: Run) -> Iterator[str]:
    if not run.final:
        return
    if run.questions.filter(state="open").exists():
        yield f"{run} is {run.state} and its question is open"
    if run.steps.exclude(state__in=("done", "failed", "ended")).exists():
        yield f"{run} is {run.state} and has steps that are not settled"
    if Attempt.objects.filter(step__run=run, state__in=("running", "asked", "cut")).exists():
        yield f"{run} is {run.state} and has attempts that are not over"
    if run.lease_owner or run.lease_until or run.due_at:
        yield f"{run} is {run.state} and leased by {run.lease_owner!r} until {run.lease_until}"


def _outcomes() -> Iterator[str]:
    for run_id, seq, times in _rows("""
        SELECT step.run_id, step.seq, count(*) FROM fault_outcome saw JOIN runs_step step ON step.id = saw.step_id
        GROUP BY step.id HAVING count(*) > 1
    """):
        yield f"run {run_id}, step {seq}: its outcome was written {times} times"
    for run_id, seq, events, attempts in _rows("""
        SELECT step.run_id, step.seq,
               (SELECT count(*) FROM runs_event e WHERE e.step_id = step.id AND e.kind = 'step done'),
               (SELECT count(*) FROM runs_attempt a WHERE a.step_id = step.id AND a.state = 'done')
        FROM runs_step step
    """):
        if events > 1 or attempts > 1:
            yield f"run {run_id}, step {seq}: {events} events of its outcome, {attempts} attempts done"
    for run_id, seq in _rows("""
        SELECT step.run_id, step.seq FROM runs_step step
        WHERE (step.state = 'done') <> EXISTS
              (SELECT FROM runs_event e WHERE e.step_id = step.id AND e.kind = 'step done')
    """):
        yield f"run {run_id}, step {seq}: its state and its events disagree"


def _after_the_end() -> Iterator[str]:
    """Other steps of the run may go on: nothing is begun for one that is over, nor twice at once for any."""
    for call in Call.objects.filter(permitted_at__gt=F("step__finished_at")):
        yield f"{call} of run {call.run_id}: permitted after its step was over"
    for attempt in Attempt.objects.filter(started_at__gt=F("step__finished_at")):
        yield f"{attempt}: begun after its step was over"
    for step_id, times in _rows("""
        SELECT step_id, count(*) FROM runs_attempt WHERE state IN ('running', 'asked', 'cut')
        GROUP BY step_id HAVING count(*) > 1
    """):
        yield f"step {step_id}: {times} attempts at once"


def _fences() -> Iterator[str]:
    for run_id, was, fence in _rows("SELECT run_id, was, fence FROM fault_fence WHERE fence <= was"):
        yield f"run {run_id}: its fence went from {was} to {fence}"
    for run in Run.objects.all():
        fences = list(run.calls.order_by("pk").values_list("fence", flat=True))
        if any(later < earlier for earlier, later in pairwise(fences)):
            yield f"{run}: its calls were permitted under fences {fences}"


def _calls() -> Iterator[str]:
    for run_id, key, times in _rows("""
        SELECT run_id, key, count(*) FROM runs_call WHERE state = 'done' AND (kind = 'tool' OR replayable)
        GROUP BY run_id, step_id, key HAVING count(*) > 1
    """):
        yield f"run {run_id}: {times} calls with the key {key} are done"


def _under_controls() -> Iterator[str]:
    """Law L3. Exact without a margin: each of these times was taken while the gate was held."""
    for control in Control.objects.all():
        yield from _began_under(control)


def _began_under(control: Control) -> Iterator[str]:
    covered = _covered(control)
    for column in ("permitted_at", "handed_at"):
        for call in Call.objects.filter(**covered, **_within(control, column)):
            yield f"{call} of run {call.run_id}: {column} {getattr(call, column)} is under the {control}"
    for event in Event.objects.filter(**covered, **_within(control, "at"), kind__in=CLAIMS):
        yield f"{event}: claimed at {event.at}, under the {control} of {control.engaged_at}"


def _covered(control: Control) -> dict[str, Any]:
    match control.scope_kind:
        case "workflow":
            return {"run__workflow": control.scope}
        case "run":
            return {"run_id": int(control.scope)}
        case _:
            return {}


def _within(control: Control, column: str) -> dict[str, Any]:
    since = {f"{column}__gt": control.engaged_at}
    return since if control.released_at is None else {**since, f"{column}__lt": control.released_at}


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
