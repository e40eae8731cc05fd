"""A plain start as one statement: the actor's role, the run and its journal entry, or nothing of it.

Five messages to the database otherwise, which are two thirds of what a start costs. Whatever is not plain (a refusal, a
key that has been used, a stop, a full queue, an actor without an account) is done and said by `escalations.starts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection

from escalations import live
from escalations.audit.record import Entry, about_run, entry_of, tell
from escalations.roles import TABLE, Act, Actor, account_of, name_of
from runs.engine import lanes, starts
from runs.engine.starts import Plain
from runs.models import Run

_START = """
    SELECT run_id, team_id, moment, entry_seq
    FROM start_and_journal(
        %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::text[], %s, %s, %s, %s, %s, %s)
"""
_MAY = "{" + ",".join(sorted(TABLE[Act.START])) + "}"
# Stands in the entry for the run's number, which the database gives: in its run, its target and its details.
_STAND_IN = 8_070_605_040_302_011
_TIMES = 3


def start(actor: Actor, workflow: str, raw_input: Mapping[str, Any], start_key: str) -> Run | None:
    """The run, started and journalled; None when it is not so plain, and then nothing is done."""
    if account_of(actor) is None or connection.in_atomic_block:
        return None
    try:
        plain = starts.plainly(workflow, raw_input, start_key=start_key, by=name_of(actor))
    except starts.NotStarted:
        return None  # whether this actor may hear why is asked first
    if plain is None:
        return None
    plain.run.pk = _STAND_IN
    entry = entry_of(actor=actor, act=Act.START, subject=about_run(plain.run), details=details(plain.run))
    pieces = entry.body.split(str(_STAND_IN))
    if len(pieces) != _TIMES + 1:  # somebody's goal or key holds the same number
        return None
    row = _started(plain, entry, pieces)
    if row is None:
        return None
    run = starts.on_record(plain, *row[:3])
    about = {**entry.columns, "run_id": run.pk, "target": about_run(run).target}
    tell(live.message(seq=row[3], **about))
    return run


def details(run: Run) -> dict[str, Any]:
    """What the journal says of a start beside what it is about."""
    return {"run": run.pk, "start_key": run.start_key, "goal": run.goal}


def _started(plain: Plain, entry: Entry, pieces: list[str]) -> tuple[Any, ...] | None:
    columns = entry.columns
    values = [*plain.values, columns["actor_id"], _MAY, columns["act"], columns["outcome"], *pieces]
    return lanes.row(_START, values)
