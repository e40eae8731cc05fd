"""Which benchmarks there are, and which processes each needs. Starts none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NEVER = "3600"  # seconds: nobody polls, so that exactly as many runs are under way as there are threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One benchmark: `module` in this package has `measure(order)`; `agents` workers of `threads` each.

    `web` adds the front and both lanes, `ordinary` beat and the worker that sweeps, `deaf` a model provider that
    never answers. `seconds` bounds all of it. `rounds`: its own number of them.
    """

    name: str
    module: str
    says: str
    agents: int = 2
    threads: int = 4
    web: bool = False
    ordinary: bool = False
    deaf: bool = False
    seconds: float = 600.0
    rounds: int = 3
    peers: bool = False
    by_itself: bool = False  # only when it is named
    env: Mapping[str, str] = field(default_factory=dict)


_NOBODY_POLLS = {"OPSCONSOLE_RUNS_SWEEP_SECONDS": NEVER}

BENCHES = (
    Bench(
        name="steps",
        module="steps",
        says="no-op steps a second, 8 runs at a time, beside the floor",
        env=_NOBODY_POLLS,
    ),
    Bench(
        name="guarded",
        module="guarded",
        says="the same with model and tool calls in every step",
        rounds=60,
        seconds=1800.0,
        env=_NOBODY_POLLS,
    ),
    Bench(name="solo", module="solo", says="ms a step of one run alone", agents=1),
    Bench(
        name="fanout",
        module="fanout",
        says="what a task costs in runs of 10, 50, 250 tasks and of 50 plans of 50",
        agents=1,
        seconds=1800.0,
    ),
    Bench(name="start", module="begun", says="processor time of a start, here and in PostgreSQL", agents=0),
    Bench(
        name="backend",
        module="backend",
        says="processor time of a step on one connection, nobody beside",
        agents=0,
        by_itself=True,
        seconds=1200.0,
    ),
    Bench(name="resume", module="resume", says="decision submitted until the run's code starts again"),
    Bench(
        name="stop",
        module="stops",
        says="stop act called until calls, children and 200 calls at once are cut",
        threads=110,
        ordinary=True,
        deaf=True,
        env={"OPSCONSOLE_DATABASE_POOL": "30"},
    ),
    Bench(
        name="push",
        module="push",
        says="event committed until the last of 1, 100, 500 sockets has it",
        agents=0,
        web=True,
    ),
    Bench(
        name="waiting",
        module="waiting",
        says="what 10, 10,000 and 100,000 waiting runs cost",
        agents=1,
        threads=16,
        seconds=1200.0,
    ),
    Bench(
        name="pages",
        module="pages",
        says="inbox, runs, run and interventions over few and many runs",
        agents=1,
        web=True,
        seconds=5400.0,
    ),
    Bench(
        name="peers",
        module="against_peers",
        says="steps of LangGraph and DBOS on the same PostgreSQL, in turn with ours",
        peers=True,
        by_itself=True,
        seconds=1800.0,
        env=_NOBODY_POLLS,
    ),
    Bench(
        name="profile",
        module="profile",
        says="where the time of one step goes: code, statements, plans",
        agents=1,
        peers=True,
        by_itself=True,
        env=_NOBODY_POLLS,
    ),
)


def named(name: str) -> Bench | None:
    """The benchmark of that name."""
    return next((bench for bench in BENCHES if bench.name == name), None)


def usual() -> list[Bench]:
    """Those that run when none is named."""
    return [bench for bench in BENCHES if not bench.by_itself]
