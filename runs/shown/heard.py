"""What the console's own runs said and called, as the guards are fed with it for a rehearsal. Reads only.

A step's calls are fed in their order, over all its attempts: the last attempt had replayed what those before it had on
record. Circles over several visits of a node are not looked for. Of injected arguments it is told what the guard said
then: without the workflow's own words about what is trusted nobody can say it anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from runs.definitions import Effect
from runs.guards.findings import Finding
from runs.guards.loops import Loops
from runs.limits.kinds import LimitKind
from runs.rehearsal.guarded import limits_of
from runs.rehearsal.history import PastFinding, PastRun

LONGEST = 200_000  # characters of one answer; a longer one is left out

# In the order of a run's calls, as `runs.shown.past` reads them.
_CALLS = f"""
    SELECT call.run_id, step.seq, call.kind, call.name, attempt.agent, call.effect, call.permitted_at,
        CASE WHEN call.kind = 'tool' AND request.size < {LONGEST} THEN request.content END,
        CASE WHEN response.size < {LONGEST} THEN response.content END, call.error
    FROM runs_call call JOIN runs_step step ON step.id = call.step_id
    JOIN runs_attempt attempt ON attempt.id = call.attempt_id
    LEFT JOIN runs_body request ON request.digest = call.request_id
    LEFT JOIN runs_body response ON response.digest = call.response_id
    WHERE call.run_id = ANY(%s) AND call.kind IN ('model', 'tool') AND call.state <> 'refused'
    ORDER BY call.permitted_at, call.id
"""
_TAINTED = """
    SELECT event.run_id, coalesce(step.seq, 0), event.at, event.data ->> 'says',
        coalesce(event.data ->> 'about', event.id::text)
    FROM runs_event event LEFT JOIN runs_step step ON step.id = event.step_id
    WHERE event.run_id = ANY(%s) AND event.kind = 'guard' AND event.data ->> 'guard' = 'taint'
    ORDER BY event.run_id, event.seq
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One call with what was said in it."""

    step: int
    is_model: bool
    name: str
    agent: str
    acts: bool
    at: datetime
    arguments: Any
    answer: str


def with_guards(runs: list[PastRun], kind: LimitKind) -> list[PastRun]:
    """The same runs, fit to be fed to the guards that go by that kind of limit. One query."""
    ids = [run.number for run in runs if run.number is not None]
    if kind is LimitKind.TAINTED_CALLS:
        return [_tainted(run, rows) for run, rows in _by_run(runs, _TAINTED, ids)]
    return [_looping(run, [_heard(row) for row in rows]) for run, rows in _by_run(runs, _CALLS, ids)]


def _by_run(runs: list[PastRun], sql: str, ids: list[int]) -> Iterator[tuple[PastRun, list[tuple[Any, ...]]]]:
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(sql, [ids])
        for row in cursor.fetchall():
            found[row[0]].append(row)
    for run in runs:
        yield run, found[run.number or 0]


def _heard(row: tuple[Any, ...]) -> Heard:
    _, step, kind, name, agent, effect, at, request, response, error = row
    is_model = kind == "model"
    return Heard(
        step=step,
        is_model=is_model,
        name=name,
        agent=name if is_model else agent,
        acts=effect != Effect.NONE,
        at=at,
        arguments=_part(request, "arguments"),
        answer=str(_part(response, "text") or "") if is_model else response or error,
    )


def _part(content: str | None, name: str) -> Any:
    try:
        body = json.loads(content or "null")
    except ValueError:
        return None
    return body.get(name) if isinstance(body, dict) else None


def _looping(run: PastRun, calls: list[Heard]) -> PastRun:
    def watched(kind: LimitKind, value: int) -> Iterator[PastFinding]:
        limits = limits_of(kind, value)
        loops: dict[int, Loops] = defaultdict(lambda: Loops(limits=limits))
        for place, call in enumerate(calls):
            for finding, position in _fed(loops[call.step], call, place):
                if finding is not None:
                    yield PastFinding(
                        call=place,
                        position=position,
                        step=call.step,
                        value=finding.value or 0,
                        says=finding.says,
                        at=call.at,
                    )

    return replace(run, watched=watched)


def _fed(loops: Loops, call: Heard, place: int) -> Iterator[tuple[Finding | None, int]]:
    """What the detector says of a call, and before which call the run would have stopped."""
    if call.is_model:
        yield loops.said(call.step, call.agent, call.answer), place + 1
        return
    if call.acts:
        yield loops.before(call.step, call.name, call.arguments), place
    yield loops.called(call.step, call.agent, call.name, call.arguments, call.answer), place + 1


def _tainted(run: PastRun, rows: list[tuple[Any, ...]]) -> PastRun:
    first: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        first.setdefault(row[4], row)

    def watched(_kind: LimitKind, _value: int) -> Iterator[PastFinding]:
        for count, (_, step, at, says, _about) in enumerate(first.values(), start=1):
            position = run.position_at(at)
            if not run.calls:
                return
            call = min(position, len(run.calls) - 1)
            yield PastFinding(call=call, position=position, step=step, value=count, says=says or "", at=at)

    return replace(run, watched=watched)
