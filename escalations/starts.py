"""Starting a run: the act, for the form and for the command line. What is checked is `runs.engine.starts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from escalations import plain_starts
from escalations.audit.record import Subject, about_run, append
from escalations.audit.refused import Given, Named, recorded
from escalations.expected import IllegalMove, IntakeFull, Invalid, NotThere, Refusal
from escalations.roles import Act, Actor, name_of, require
from runs.engine import recordings, starts
from runs.engine.starts import Started
from runs.recorded import family
from runs.recorded.toolsets import Toolsets
from runs.recorded.trace import Trace


def _on_workflow(given: Given) -> Named:
    workflow = str(given["workflow"])[:80]
    return Act.START, Subject(target=f"workflow {workflow}", workflow=workflow)


@recorded(_on_workflow)
def start_run(*, actor: Actor, workflow: str, raw_input: Mapping[str, Any], start_key: str) -> Started:
    """Start a run, or find the one that this key has started before.

    Raises NotAllowed, NotThere (no such workflow), Invalid (with every wrong value), IntakeFull (with the time to
    come back), IllegalMove (a stop covers it).
    """
    run = plain_starts.start(actor, workflow, raw_input, start_key)
    if run is not None:
        return Started(run=run, created=True)
    require(actor, Act.START)
    try:
        return _start(actor, workflow, raw_input, start_key)
    except starts.NotStarted as why:
        raise _refusal(why) from why


@transaction.atomic(durable=True)
def _start(actor: Actor, workflow: str, raw_input: Mapping[str, Any], start_key: str) -> Started:
    started = starts.start(workflow, raw_input, start_key=start_key, by=name_of(actor))
    details = plain_starts.details(started.run)
    if not started.created:
        details["already_started"] = True
    append(actor=actor, act=Act.START, subject=about_run(started.run), details=details)
    return started


def _refusal(why: starts.NotStarted) -> Refusal:
    match why:
        case starts.UnknownWorkflow():
            return NotThere(why.sentence)
        case starts.BadInput():
            return Invalid(why.errors)
        case starts.IntakeFull():
            return IntakeFull(why.sentence, retry_after_seconds=why.retry_after_seconds)
        case _:
            return IllegalMove(why.sentence)


def _on_recording(given: Given) -> Named:
    trace: Trace = given["trace"]
    workflow = family.name_of(trace.workflow)
    return Act.START, Subject(target=f"workflow {workflow}", workflow=workflow)


@recorded(_on_recording)
def take_in_recording(*, actor: Actor, trace: Trace, toolsets: Toolsets, speed: float) -> Started:
    """Make a recorded run a live one, or find the one that it became before; finding is no act.

    Raises NotAllowed, Invalid (on record with other content), IllegalMove (a stop covers it), and the engine's own
    IntakeFull: whoever feeds a file waits for room, and that is no refusal to keep.
    """
    require(actor, Act.START)
    try:
        return _take_in(actor, trace, toolsets, speed)
    except starts.IntakeFull:
        raise
    except recordings.OtherContent as why:
        raise Invalid([("run_id", why.sentence)]) from why
    except starts.NotStarted as why:
        raise _refusal(why) from why


@transaction.atomic(durable=True)
def _take_in(actor: Actor, trace: Trace, toolsets: Toolsets, speed: float) -> Started:
    started = recordings.take_in(trace, toolsets, speed=speed, by=name_of(actor))
    if started.created:
        details = {
            "run": started.run.pk,
            "start_key": trace.run_id,
            "goal": started.run.goal,
            "recorded": True,
        }
        append(actor=actor, act=Act.START, subject=about_run(started.run), details=details)
    return started
