"""Starting a run: the act, for the form and for the command line. What is checked is `runs.engine.starts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from escalations.audit.record import Subject, about_run, append
from escalations.audit.refused import Given, Named, recorded
from escalations.expected import IllegalMove, IntakeFull, Invalid, NotThere, Refusal
from escalations.roles import Act, Actor, name_of, require
from runs.engine import starts
from runs.engine.starts import Started


def _on_workflow(given: Given) -> Named:
    workflow = str(given["workflow"])[:80]
    return Act.START, Subject(target=f"workflow {workflow}", workflow=workflow)


@recorded(_on_workflow)
def start_run(*, actor: Actor, workflow: str, raw_input: Mapping[str, Any], start_key: str) -> Started:
    """Start a run, or find the one that this key has started before.

    Raises NotAllowed, NotThere (no such workflow), Invalid (with every wrong value), IntakeFull (with the time to
    come back), IllegalMove (a stop covers it).
    """
    require(actor, Act.START)
    try:
        return _start(actor, workflow, raw_input, start_key)
    except starts.NotStarted as why:
        raise _refusal(why) from why


@transaction.atomic(durable=True)
def _start(actor: Actor, workflow: str, raw_input: Mapping[str, Any], start_key: str) -> Started:
    started = starts.start(workflow, raw_input, start_key=start_key, by=name_of(actor))
    details: dict[str, Any] = {"run": started.run.pk, "start_key": start_key, "goal": started.run.goal}
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
