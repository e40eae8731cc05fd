"""For authors of workflows: run one in a test, on the real engine and a real database, without a worker.

    trial = run_workflow(LETTERS, {"text": "Dear reader"}, agents={"writer": [says({"words": 2})]})
    assert trial.state == "done"

docs/workflows.md shows all of it. Nothing here is imported by the console itself.
"""

from runs.agents.misbehaviour import Misbehaviour
from runs.engine.starts import BadInput
from runs.testing.faults import (
    AnswerLeftOver,
    CannotAnswer,
    CannotWork,
    NeverSettled,
    NoTransactions,
    NotScripted,
    ScriptRanDry,
    TrialFault,
)
from runs.testing.replies import Reply, calls, fails, says
from runs.testing.running import run_workflow
from runs.testing.said import Answer, approve, confirm, drop, edit, expire, look, reject, respond
from runs.testing.trial import Trial, TrialCall, TrialEscalation, TrialEvent, TrialStep

__all__ = [
    "Answer",
    "AnswerLeftOver",
    "BadInput",
    "CannotAnswer",
    "CannotWork",
    "Misbehaviour",
    "NeverSettled",
    "NoTransactions",
    "NotScripted",
    "Reply",
    "ScriptRanDry",
    "Trial",
    "TrialCall",
    "TrialEscalation",
    "TrialEvent",
    "TrialFault",
    "TrialStep",
    "approve",
    "calls",
    "confirm",
    "drop",
    "edit",
    "expire",
    "fails",
    "look",
    "reject",
    "respond",
    "run_workflow",
    "says",
]
