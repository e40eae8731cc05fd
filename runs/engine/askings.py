"""What people are asked when a run or a step cannot go on as its definition says. Values only; asks nobody."""

from __future__ import annotations

from typing import Any

from runs.canonical import told
from runs.definition_digest import SHORT
from runs.definitions import Check, Tool
from runs.engine.found import Found
from runs.engine.places import effects_of, stands_at
from runs.engine.questions import Asking
from runs.engine.record import now
from runs.engine.tools.looking import NotSure
from runs.errors import ContractBroken
from runs.guards.findings import Guard
from runs.models import Call, QuestionKind, Run, Step
from runs.models.question import CAN_LOOK
from runs.routing import NoWay

EDGE = "edge"  # the guard of how often a run may go from one node to another
MISSING_DEADLINE_SECONDS = 7 * 24 * 3600.0


def undecided(run: Run, error: Exception) -> Asking:
    """Nobody can say what comes next of the run."""
    return Asking(
        kind=QuestionKind.ERROR,
        title=f"Run {run.pk} cannot go on: {told(error)}",
        reason="what comes next could not be decided",
        action={"error_class": "unforeseen", "error": told(error), "where": ""},
        group=f"{run.workflow} cannot go on",
        priority=70,
        found=_bounded(run, error),
    )


def _bounded(run: Run, error: Exception) -> tuple[dict[str, Any], ...]:
    """What refused, when it was a bound of the definition or a contract between two nodes."""
    most = error.most if isinstance(error, NoWay) else None
    if most is None and not isinstance(error, ContractBroken):
        return ()
    guard = Guard.SCHEMA if most is None else EDGE
    scope, says = f"workflow {run.workflow}", f"{told(error)}."
    return (Found(guard=guard, scope=scope, says=says, cap=most, value=most).data,)


def missing(run: Run, reason: str) -> Asking:
    """The definition that the run started with is not there, or not as it was (law L10)."""
    return Asking(
        kind=QuestionKind.MISSING,
        title=f"{run.workflow} v{run.version} is not installed as the run knows it",
        reason=reason,
        action={
            "workflow": run.workflow,
            "version": run.version,
            "definition": run.definition[:SHORT],
            "at": stands_at(run),
        },
        evidence=effects_of(run),
        group=f"missing {run.workflow} v{run.version}",
        priority=70,
        deadline_seconds=MISSING_DEADLINE_SECONDS,
    )


def gone(step: Step, error: LookupError) -> Asking:
    """Who should make the step's next attempt is not named any more."""
    return Asking(
        kind=QuestionKind.ERROR,
        title=f"{step.node} cannot go on: {told(error)}",
        reason="its definition has changed under the same version",
        action={"error_class": "unforeseen", "error": told(error), "where": step.node},
        group=f"{step.node} cannot go on",
        priority=70,
    )


def poison(step: Step, losses: int) -> Asking:
    """The step took its worker down again and again."""
    return Asking(
        kind=QuestionKind.ERROR,
        title=f"{step.node} lost its worker {losses} times",
        reason="the step was quarantined, so that it cannot take down another worker",
        action={"error_class": "unforeseen", "error": "worker lost", "where": step.node},
        group=f"worker lost at {step.node}",
        priority=70,
    )


def given_again(step: Step, value: Any, error: ContractBroken) -> Asking:
    """A person's value is not what the contract allows: it is asked for again."""
    return Asking(
        kind=QuestionKind.CONTRACT,
        title=error.message,
        reason=f"the value given for {step.node} is not what its contract allows",
        action={"contract": step.node, "value": value, "where": error.where, "error": error.message},
        contract=step.node,
        group=f"Contract broken: {step.node}",
    )


def unknown(action: dict[str, Any], tool: Tool, call: Call, saw: NotSure, words: str) -> Asking:
    """An effect that may have happened, of a tool that cannot tell by itself."""
    sent = call.permitted_at.strftime("%H:%M:%S")
    return Asking(
        kind=QuestionKind.UNKNOWN,
        title=f"May have happened: {action['sentence']}",
        reason=f"it was sent at {sent} UTC and nobody recorded how it ended",
        action={**action, CAN_LOOK: tool.looks},
        evidence=(
            Check(
                ok=False,
                title="No outcome on record",
                details=(("sent", sent), ("error", call.error or "none")),
            ),
            *_looked(saw),
            Check(ok=True, title="The key that its receiver knows it by", details=(("key", call.key),)),
        ),
        words=words,
        tool=tool.name,
        effect=tool.effect_class,
        call_key=call.key,
        contract=tool.arguments.__name__,
        group=tool.name,
        priority=80,
    )


def _looked(saw: NotSure) -> tuple[Check, ...]:
    """What the tool's look has seen, when it is still not sure."""
    if not saw.seen:
        return ()
    details = (("seen", saw.seen), ("at", f"{now():%H:%M:%S} UTC"))
    return (Check(ok=False, title="Its tool looked and is not sure", details=details),)
