"""What people are asked when a run or a step cannot go on as its definition says. Values only; asks nobody."""

from __future__ import annotations

from typing import Any

from runs.canonical import told
from runs.engine.questions import Asking
from runs.errors import ContractBroken
from runs.models import QuestionKind, Run, Step

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
    )


def missing(run: Run, reason: str) -> Asking:
    """The definition that the run started with is not there, or not as it was (law L10)."""
    return Asking(
        kind=QuestionKind.MISSING,
        title=f"{run.workflow} v{run.version} is not installed as the run knows it",
        reason=reason,
        action={"workflow": run.workflow, "version": run.version},
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
