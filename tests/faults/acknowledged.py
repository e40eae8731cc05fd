"""What people and callers were told has happened, and what of it is not on record, with its effect, afterwards.

Whoever was told so tells it here, after it was: the act's row, and what became of it, may never be missing. Who did an
act by the product's own door has an entry of the journal too; acts of the engine's own doors have none (law L10 is
`history`'s business, entry for entry; here one must be there).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

from runs.models import Control, Event, Run

Told = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engaged:
    kind: str
    scope_kind: str
    scope: str


_started: dict[int, str] = {}  # run -> its start key
_answered: dict[int, str] = {}  # question -> the verb
_engaged: dict[int, Engaged] = {}  # control -> what it covers
_released: set[int] = set()  # controls
_resumed: Counter[int] = Counter()  # run -> how often
_taken: Counter[tuple[int, str]] = Counter()  # escalation and who took it -> how often


def forget() -> None:
    for told in (_started, _answered, _engaged, _released, _resumed, _taken):
        told.clear()


def started(run: Run) -> None:
    """Somebody was told that this run is started."""
    _started[run.pk] = run.start_key


def answered(question_id: int, verb: str) -> None:
    """Somebody was told that the answer counts."""
    _answered[question_id] = verb


def engaged(control_id: int, kind: str, scope_kind: str, scope: str) -> None:
    """Somebody was told that this pause or stop is in force."""
    _engaged[control_id] = Engaged(kind=kind, scope_kind=scope_kind, scope=scope)


def released(control_id: int) -> None:
    """Somebody was told that it is in force no more."""
    _released.add(control_id)


def resumed(*run_ids: int) -> None:
    """Somebody was told that these runs, which a stop had held, go on."""
    _resumed.update(run_ids)


def taken(escalation_id: int, username: str) -> None:
    """Somebody was told that the escalation is theirs."""
    _taken[escalation_id, username] += 1


def lost() -> Iterator[str]:
    """What was acknowledged and is not there."""
    yield from _starts()
    yield from _answers()
    yield from _engagements()
    yield from _releases()
    yield from _resumptions()
    yield from _takes()


def _starts() -> Iterator[str]:
    runs = dict(Run.objects.filter(pk__in=_started).values_list("pk", "start_key"))
    begun = set(Event.objects.filter(run__in=_started, kind="started").values_list("run_id", flat=True))
    for run_id, key in _started.items():
        if runs.get(run_id) != key or run_id not in begun:
            yield f"run {run_id}: its start was acknowledged and is lost"


# Of each answer: its verb, how often the run was told of it, and whether its run waits for this answer still.
_ANSWERS = """
    SELECT q.id, q.verb, (SELECT count(*) FROM runs_event e WHERE e.run_id = q.run_id AND e.kind = 'answered'
            AND e.data ->> 'question' = q.id::text),
        run.state = 'waiting' AND NOT EXISTS
            (SELECT FROM runs_question other WHERE other.run_id = q.run_id AND other.state = 'open')
    FROM runs_question q JOIN runs_run run ON run.id = q.run_id WHERE q.id = ANY(%s)
"""


def _answers() -> Iterator[str]:
    found = {row[0]: row[1:] for row in _rows(_ANSWERS, list(_answered))}
    for question_id, verb in _answered.items():
        said, times, waits = found.get(question_id, ("", 0, False))
        if said != verb or times != 1:
            yield f"question {question_id}: the answer {verb!r} was acknowledged and is lost or doubled"
        elif waits:
            yield f"question {question_id}: the answer {verb!r} was acknowledged, and its run waits as if it were not"


def _engagements() -> Iterator[str]:
    controls = {one.pk: one for one in Control.objects.filter(pk__in=_engaged)}
    for control_id, told in _engaged.items():
        one = controls.get(control_id)
        if one is None or (one.kind, one.scope_kind, one.scope) != (told.kind, told.scope_kind, told.scope):
            yield f"control {control_id}: its engagement ({told.kind}) was acknowledged and is lost"
        elif one.released_at is not None and not one.released_by:
            yield f"control {control_id}: its engagement was acknowledged, and nobody released it: it is over"


# A pause that was released holds nobody; what a stop held stays until it is resumed.
_HELD_STILL = """
    SELECT run.held_by_id, count(*) FROM runs_run run
    WHERE run.hold = 'pause' AND run.held_by_id = ANY(%s) AND run.state NOT IN ('done', 'failed', 'ended')
    GROUP BY 1
"""


def _releases() -> Iterator[str]:
    over = set(
        Control.objects.filter(pk__in=_released, released_at__isnull=False).values_list("pk", flat=True)
    )
    for control_id in sorted(_released - over):
        yield f"control {control_id}: its release was acknowledged and is lost"
    for control_id, runs in _rows(_HELD_STILL, list(_released)):
        yield f"control {control_id}: its release was acknowledged, and {runs} runs are paused by it still"


# How often each run went on after a stop had held it. Who holds it is said by the event before.
_WENT_ON = """
    SELECT run_id, count(*) FROM (
        SELECT run_id, kind, lag(data ->> 'hold') OVER (PARTITION BY run_id ORDER BY seq) AS hold
        FROM runs_event WHERE run_id = ANY(%s) AND kind IN ('held', 'resumed')
    ) told WHERE kind = 'resumed' AND hold = 'stop' GROUP BY run_id
"""


def _resumptions() -> Iterator[str]:
    times: dict[int, int] = dict(_rows(_WENT_ON, list(_resumed)))
    for run_id, told in _resumed.items():
        if times.get(run_id, 0) < told:
            yield f"run {run_id}: it was resumed {told} times as acknowledged, and {times.get(run_id, 0)} are on record"


_TAKEN = """
    SELECT entry.escalation_id, actor.username, count(*) FROM escalations_journalentry entry
    JOIN auth_user actor ON actor.id = entry.actor_id
    WHERE entry.outcome = 'done' AND entry.act IN ('take', 'take over') AND entry.escalation_id = ANY(%s)
    GROUP BY 1, 2
"""


def _takes() -> Iterator[str]:
    """Who holds it now, and who did, is checked entry for entry by `history`: so the entry is the effect's witness."""
    entries = {(one, name): times for one, name, times in _rows(_TAKEN, [one for one, _ in _taken])}
    for (escalation_id, username), told in _taken.items():
        if entries.get((escalation_id, username), 0) < told:
            yield f"E-{escalation_id}: that {username} took it was acknowledged and is lost"


def _rows(sql: str, *values: Any) -> list[Told]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
