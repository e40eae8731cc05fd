"""What must be true of every run's record, whatever was killed: one checker for every fault test.

Two tables written by triggers (`watch`) keep what the product's own rows cannot show afterwards: every fence a run
had, and every outcome a step ever got. What was acknowledged to somebody is told to `acknowledged` after it was: that
may never be missing. All times compared are PostgreSQL's, and statements', not transactions'; a sink's are the
kernel's, of the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from django.db import connection
from django.db.models import F

from escalations import decisions
from escalations.roles import Act
from runs.models import Attempt, Call, Control, Event, Run
from tests.faults import acknowledged

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
    acknowledged.forget()
    _execute(_WATCH)


def unwatch() -> None:
    _execute(_UNWATCH)


def check(arrivals: Sequence[Mapping[str, Any]] = ()) -> None:
    """Fails with every sentence that is wrong about any run. `arrivals` is what reached a sink."""
    wrong = list(faults(arrivals))
    assert not wrong, "\n".join(wrong)


def faults(arrivals: Sequence[Mapping[str, Any]] = ()) -> Iterator[str]:
    """One sentence for each thing that can never be."""
    yield from acknowledged.lost()
    yield from _human_acts()
    for run in Run.objects.order_by("pk"):
        yield from _events(run)
        yield from _claims_while_held(run)
        yield from _final(run)
    yield from _outcomes()
    yield from _after_the_end()
    yield from _fences()
    yield from _calls()
    yield from _under_controls()
    yield from _arrived_under_controls(arrivals)


# Whatever answers a question: what the product knows as an answer, and a top-up that a second person agreed to.
ANSWERS = tuple(str(act) for act in (*decisions.ACTS.values(), Act.AGREE_TOP_UP))
# What makes somebody the holder of an escalation, and what makes nobody.
HOLDS = (*ANSWERS, str(Act.EDIT), str(Act.TAKE), str(Act.TAKE_OVER))

# What a person did through the product's own door; the engine's tests engage and answer without one.
_PEOPLE = """
    WITH person AS (
        SELECT username AS name FROM auth_user UNION SELECT first_name || ' ' || last_name FROM auth_user
    ), done AS (
        SELECT *, body::jsonb -> 'details' AS details FROM escalations_journalentry
        WHERE outcome = 'done' AND actor_name IN (SELECT name FROM person)
    )
"""
_HUMAN = f"""
    {_PEOPLE}
    SELECT 'the answer to E-' || it.id, it.made, count(done.seq) FROM (
        SELECT e.id, (SELECT count(*) FROM escalations_decision d WHERE d.escalation_id = e.id) AS made
        FROM escalations_escalation e JOIN runs_question q ON q.id = e.question_id
        WHERE q.state = 'answered' AND q.answered_by IN (SELECT name FROM person)
           OR EXISTS (SELECT FROM escalations_decision d WHERE d.escalation_id = e.id)
    ) it LEFT JOIN done ON done.escalation_id = it.id AND done.act = ANY(%s)
    GROUP BY it.id, it.made
    UNION ALL
    SELECT 'the engagement of control ' || c.id, 1, count(done.seq) FROM runs_control c
    LEFT JOIN done ON done.act = 'engage ' || c.kind AND done.details ->> 'control' = c.id::text
         AND NOT done.details ? 'already_engaged'
    WHERE c.engaged_by IN (SELECT name FROM person) GROUP BY c.id
    UNION ALL
    SELECT 'the release of control ' || c.id, 1, count(done.seq) FROM runs_control c
    LEFT JOIN done ON done.act = 'release ' || c.kind AND done.details ->> 'control' = c.id::text
    WHERE c.released_by IN (SELECT name FROM person) GROUP BY c.id
    UNION ALL
    SELECT 'the start of run ' || r.id, 1, count(done.seq) FROM runs_run r
    LEFT JOIN done ON done.act = 'start run' AND done.run_id = r.id AND NOT done.details ? 'already_started'
    WHERE r.started_by IN (SELECT name FROM person) GROUP BY r.id
"""
# Each edit makes one version more.
_EDITS = f"""
    {_PEOPLE}
    SELECT e.id, e.version - 1, count(done.seq) FROM escalations_escalation e
    LEFT JOIN done ON done.escalation_id = e.id AND done.act = %s
    GROUP BY e.id HAVING count(done.seq) <> e.version - 1
"""
# What a stop had held goes on by a person's act alone. The engine's own tests resume without one what nobody of the
# product stopped: so many entries may be missing.
_RESUMPTIONS = f"""
    {_PEOPLE}
    SELECT coalesce(went.run_id, told.run_id), coalesce(went.by_people, 0), coalesce(went.times, 0),
        coalesce(told.entries, 0)
    FROM (
        SELECT run_id, count(*) AS times, count(*) FILTER (WHERE by IN (SELECT name FROM person)) AS by_people FROM (
            SELECT run_id, kind, lag(data ->> 'hold') OVER each AS hold, lag(data ->> 'by') OVER each AS by
            FROM runs_event WHERE kind IN ('held', 'resumed') WINDOW each AS (PARTITION BY run_id ORDER BY seq)
        ) e WHERE kind = 'resumed' AND hold = 'stop' GROUP BY run_id
    ) went FULL JOIN (
        SELECT resumed::bigint AS run_id, count(*) AS entries
        FROM done, jsonb_array_elements_text(done.details -> 'runs') resumed WHERE done.act = %s GROUP BY 1
    ) told ON told.run_id = went.run_id
"""
_HOLDERS = """
    SELECT e.id, holder.username, entry.act, entry.actor_name, entry.body::jsonb -> 'details' ->> 'from',
        actor.username
    FROM escalations_escalation e LEFT JOIN auth_user holder ON holder.id = e.taken_by_id
    LEFT JOIN escalations_journalentry entry ON entry.escalation_id = e.id AND entry.outcome = 'done'
        AND entry.act = ANY(%s)
    LEFT JOIN auth_user actor ON actor.id = entry.actor_id
    ORDER BY e.id, entry.seq
"""


def _human_acts() -> Iterator[str]:
    for what, made, entries in _rows(_HUMAN, list(ANSWERS)):
        if made != 1 or entries != 1:
            yield f"{what}: {made} times on record, with {entries} entries of the journal"
    for escalation, made, entries in _rows(_EDITS, str(Act.EDIT)):
        yield f"the edits of E-{escalation}: {made} versions on record, with {entries} entries of the journal"
    for run_id, least, most, entries in _rows(_RESUMPTIONS, str(Act.RESUME)):
        if not least <= entries <= most:
            yield f"the resumptions of run {run_id}: {most} on record, with {entries} entries of the journal"
    for escalation, rows in groupby(_rows(_HOLDERS, [*HOLDS, str(Act.GIVE_BACK)]), key=itemgetter(0)):
        yield from _held(escalation, list(rows))


def _held(escalation: int, rows: list[tuple[Any, ...]]) -> Iterator[str]:
    """Each entry about who holds it says who held it before: one that is missing or doubled breaks the row."""
    holder = name = None
    for _, _, act, by, before, username in rows:
        if act in (Act.TAKE, Act.TAKE_OVER, Act.GIVE_BACK) and before != name:
            yield f"E-{escalation}: {act!r} is said to be of what {before} held, and by the entries {name} did"
        if act is not None:
            holder, name = (None, None) if act == Act.GIVE_BACK else (username, by)
    if (now_ := rows[0][1]) != holder:
        yield f"E-{escalation}: held by {now_}, and by the entries of the journal by {holder}"


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
    # Each table is read once: of fast runs there are thousands of steps, and events are not found by their step.
    for run_id, seq, events, attempts in _rows("""
        SELECT step.run_id, step.seq, coalesce(e.times, 0), coalesce(a.times, 0) FROM runs_step step
        LEFT JOIN (SELECT step_id, count(*) AS times FROM runs_event WHERE kind = 'step done' GROUP BY step_id) e
          ON e.step_id = step.id
        LEFT JOIN (SELECT step_id, count(*) AS times FROM runs_attempt WHERE state = 'done' GROUP BY step_id) a
          ON a.step_id = step.id
        WHERE e.times > 1 OR a.times > 1
    """):
        yield f"run {run_id}, step {seq}: {events} events of its outcome, {attempts} attempts done"
    for run_id, seq in _rows("""
        SELECT step.run_id, step.seq FROM runs_step step
        WHERE (step.state = 'done') <> (step.id IN
              (SELECT step_id FROM runs_event WHERE kind = 'step done' AND step_id IS NOT NULL))
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
    for run_id, key in _rows("""
        SELECT call.run_id, call.key FROM runs_call call JOIN runs_step step ON step.id = call.step_id
        WHERE step.finished_at IS NOT NULL AND call.kind = 'tool' AND call.state = 'permitted'
          AND (call.effect <> 'none' OR call.egress)
    """):
        yield f"run {run_id}: its step is over, and nobody says how the effect {key} ended"


def _under_controls() -> Iterator[str]:
    """Law L3. Exact without a margin: each of these times was taken while the gate was held."""
    for control in Control.objects.all():
        yield from _began_under(control)


def _began_under(control: Control) -> Iterator[str]:
    covered = _covered(control)
    for column in ("permitted_at", "handed_at"):
        # What a person denied was never permitted: its row only says so, whenever the attempt comes to it.
        sent = Call.objects.exclude(state="refused", handed_at__isnull=True)
        for call in sent.filter(**covered, **_within(control, column)):
            at = f"{call.state}, {column} {getattr(call, column)}"
            yield f"{call} of run {call.run_id}: {at} is under the {control}"
    for event in Event.objects.filter(**covered, **_within(control, "at"), kind__in=CLAIMS):
        yield f"{event}: claimed at {event.at}, under the {control} of {control.engaged_at}"


def _arrived_under_controls(arrivals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The same, as the world saw it: a request leaves and arrives while its sender holds the gate."""
    for control in Control.objects.all():
        keys = set(Call.objects.filter(**_covered(control)).values_list("key", flat=True))
        for arrival in arrivals:
            at = datetime.fromtimestamp(arrival["arrived_ns"] / 1e9, UTC)
            if arrival["key"] in keys and _covers(control, at):
                yield f"{arrival['key']} arrived at {at}, under the {control} of {control.engaged_at}"


def _covers(control: Control, at: datetime) -> bool:
    return at > control.engaged_at and (control.released_at is None or at < control.released_at)


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


def _rows(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return list(cursor.fetchall())


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
