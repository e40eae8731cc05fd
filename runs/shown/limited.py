"""A run against its limits and its clock: what binds it, where its time went, what stands out. Reads limits only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs import registry
from runs.engine import limits
from runs.limits import fixed
from runs.limits.rows import Row, Where
from runs.models import RunState
from runs.shown import binding, chain, marks
from runs.shown.binding import Binding, Place
from runs.shown.chain import Chain
from runs.shown.history import History
from runs.shown.marks import Marks
from runs.shown.visited import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """Three views of one run at one moment."""

    binding: Binding
    chain: Chain
    marks: Marks


def limited(past: History, now: datetime) -> Limited:
    """No query while no limit has changed since this process last read them, else one."""
    run, spans = past.run, past.spans
    book = limits.current(past.edition)
    where = Where(team=run.team.name, workflow=run.workflow, run=run.pk)
    end = run.finished_at or now
    drawn = chain.chain(spans, spans.path(end))
    caps: dict[frozenset[str], tuple[Row, ...]] = {}

    def latency(agents: frozenset[str]) -> tuple[Row, ...]:
        if agents not in caps:
            caps[agents] = binding.latency_caps(book, where, agents, now)
        return caps[agents]

    workflow = registry.workflow(run.workflow, run.version)
    bounds = fixed.of_workflow(workflow) if workflow else ()
    return Limited(
        binding=binding.binding(book, bounds, _place(past, where, end, now)),
        chain=drawn,
        marks=marks.marks(spans, past.tries, on_path=drawn.on_path, caps=latency, now=end),
    )


def _place(past: History, where: Where, end: datetime, now: datetime) -> Place:
    run = past.run
    free = not run.final and not run.hold
    return Place(
        where=where,
        used=past.used,
        clock=max(0, (end - run.created_at - _held(past.holds, end)) // timedelta(milliseconds=1)),
        ticks=free,
        going=free and run.state != RunState.WAITING,
        now=now,
        ends=run.deadline_at,
    )


def _held(holds: Iterable[Held], end: datetime) -> timedelta:
    return sum(((one.end or end) - one.begin for one in holds), timedelta())
