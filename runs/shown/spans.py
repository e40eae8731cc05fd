"""The times of a run's steps, attempts, calls and questions, made small, for its critical path. Reads only.

Of a run of more than MOST_STEPS begun steps the newest ones: what came before is one stretch of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from runs.models import CallKind, Run, RunState, StepState
from runs.shown.course import NOT_NEEDED
from runs.shown.critical import Cause, Critical, Spell, Worked, critical
from runs.shown.guarded import Guarded
from runs.shown.visited import Held

MOST_STEPS = 1500
MOST_CALLS = 6000  # of them; the newest
_MS = "(extract(epoch FROM {0} - %(zero)s::timestamptz) * 1000)::bigint"
RECENT = f"""
recent AS MATERIALIZED (
    SELECT id, seq, node, place, parent_id, started_at, finished_at, CASE WHEN id IN (
        SELECT step_id FROM runs_event WHERE run_id = %(run)s AND kind = 'dropped'
    ) THEN '{NOT_NEEDED}' ELSE state END AS state FROM runs_step
    WHERE run_id = %(run)s AND state <> 'ready' ORDER BY seq DESC LIMIT {MOST_STEPS + 1}
)"""
SPANS = f"""
SELECT 'spans', json_build_object(
    'steps', (SELECT json_agg(json_build_array(id, seq, node, place, parent_id, state,
        {_MS.format("started_at")}, {_MS.format("finished_at")}) ORDER BY seq) FROM recent),
    'tries', (SELECT json_agg(json_build_array(step_id, {_MS.format("started_at")}, {_MS.format("finished_at")},
        agent) ORDER BY step_id, number) FROM runs_attempt WHERE step_id IN (SELECT id FROM recent)),
    'calls', (SELECT json_agg(json_build_array(step_id, kind, {_MS.format("permitted_at")},
        {_MS.format("finished_at")}) ORDER BY id) FROM (
            SELECT id, step_id, kind, permitted_at, finished_at FROM called
            WHERE step_id IN (SELECT id FROM recent) AND state <> 'refused' ORDER BY id DESC LIMIT {MOST_CALLS}
        ) AS newest),
    'asked', (SELECT json_agg(json_build_array(step_id, {_MS.format("asked_at")}, {_MS.format("answered_at")}))
        FROM runs_question WHERE run_id = %(run)s AND (step_id IS NULL OR step_id IN (SELECT id FROM recent)))
)::text
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A step as its page names it."""

    number: int
    node: str
    place: int
    task: bool

    @property
    def label(self) -> str:
        return f"{self.node}, task {self.place + 1}" if self.task else self.node


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The begun steps of a run, or the newest of them when `cut`; `loose` is what held up or asked about all of it.
    `agents`: who tried each step, functions left out."""

    zero: datetime
    worked: tuple[Worked, ...] = ()
    names: Mapping[int, Named] = field(default_factory=dict)
    agents: Mapping[int, frozenset[str]] = field(default_factory=dict)
    loose: tuple[Spell, ...] = ()
    cut: bool = False

    def ms(self, moment: datetime) -> int:
        """A moment as whole milliseconds since the run began."""
        return _ms(moment, self.zero)

    def path(self, end: datetime) -> Critical:
        """The critical path up to the run's end, or to now."""
        begin = min((one.begin for one in self.worked), default=0) if self.cut else 0
        return critical(self.worked, begin=begin, end=max(begin, self.ms(end)), loose=self.loose)


def _ms(moment: datetime, zero: datetime) -> int:
    return round((moment - zero) / timedelta(milliseconds=1))


def _spell(cause: Cause, begin: datetime, end: datetime | None, zero: datetime) -> Spell:
    return Spell(cause=cause, begin=_ms(begin, zero), end=_ms(end, zero) if end else None)


def spans(run: Run, given: Mapping[str, Any], *, holds: Sequence[Held], guarded: Guarded) -> Spans:
    """From the row of SPANS."""
    rows = given.get("steps") or []
    cut = len(rows) > MOST_STEPS
    rows = rows[1:] if cut else rows
    spells: dict[int | None, list[Spell]] = {row[0]: [] for row in rows}
    loose = spells[None] = [_spell(Cause.HELD, one.begin, one.end, run.created_at) for one in holds]
    states = {row[0]: row[5] for row in rows}
    begun, agents = _tried([one for one in given.get("tries") or [] if one[0] in states], states, spells)
    _called((one for one in given.get("calls") or [] if one[0] in states), spells)
    for step, asked, answered in given.get("asked") or []:
        if step in spells:
            spells[step].append(Spell(cause=Cause.PEOPLE, begin=asked, end=answered))
    for wait in guarded.waits:
        if wait.step in spells:
            spells[wait.step].append(_spell(Cause.GUARDS, wait.at, wait.over, run.created_at))
    cut_short = (
        _ms(run.finished_at, run.created_at) if run.finished_at and run.state != RunState.DONE else None
    )
    return Spans(
        zero=run.created_at,
        worked=tuple(
            Worked(
                id=row[0],
                number=row[1],
                parent=row[4],
                begin=begun.get(row[0], row[6]),
                end=row[7],
                needed=row[5] != NOT_NEEDED or row[7] == cut_short,  # under way when the run was ended
                spells=tuple(spells[row[0]]),
            )
            for row in rows
        ),
        names={
            row[0]: Named(number=row[1], node=row[2], place=row[3], task=row[4] is not None) for row in rows
        },
        agents=agents,
        loose=tuple(loose),
        cut=cut,
    )


def _tried(
    rows: Sequence[Sequence[Any]], states: Mapping[int, str], spells: Mapping[int | None, list[Spell]]
) -> tuple[dict[int, int], dict[int, frozenset[str]]]:
    """When each step was first tried, and by whom; what functions took and the time between tries become spells."""
    begun: dict[int, int] = {}
    agents: dict[int, frozenset[str]] = {}
    ended: dict[int, int | None] = {}
    for step, begin, end, agent in rows:
        if step in begun:
            last = ended[step]
            if last is not None and last < begin:
                spells[step].append(Spell(cause=Cause.BACK_OFF, begin=last, end=begin))
        begun.setdefault(step, begin)
        ended[step] = end
        if agent:
            agents[step] = agents.get(step, frozenset()) | {agent}
        else:
            spells[step].append(Spell(cause=Cause.FUNCTIONS, begin=begin, end=end))
    for step, last in ended.items():
        if last is not None and states[step] == StepState.SLEEPING:
            spells[step].append(Spell(cause=Cause.BACK_OFF, begin=last, end=None))
    return begun, agents


def _called(rows: Iterable[Sequence[Any]], spells: Mapping[int | None, list[Spell]]) -> None:
    """Calls become spells. One whose end nobody recorded ends for us where the next of its step begins."""
    open_: dict[int, tuple[Cause, int]] = {}
    for step, kind, begin, end in rows:
        cause = Cause.MODELS if kind == CallKind.MODEL else Cause.TOOLS
        before = open_.pop(step, None)
        if before is not None:
            spells[step].append(Spell(cause=before[0], begin=before[1], end=max(before[1], begin)))
        if end is None:
            open_[step] = (cause, begin)
        else:
            spells[step].append(Spell(cause=cause, begin=begin, end=end))
    for step, (cause, begin) in open_.items():
        spells[step].append(Spell(cause=cause, begin=begin, end=None))
