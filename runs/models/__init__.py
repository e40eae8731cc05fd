"""State the engine must obey. What a person did about it lives in `escalations`."""

from runs.models.burn import Burn, BurnMark
from runs.models.control import Control, ControlKind, ControlReceipt, ScopeKind
from runs.models.definition import Definition
from runs.models.limit import Limit, LimitEdition
from runs.models.question import Question, QuestionKind, QuestionState, Verb
from runs.models.record import Body, Event
from runs.models.rehearsed import RehearsedPolicy
from runs.models.run import Hold, Run, RunState, Team
from runs.models.spend import (
    Account,
    Breaker,
    BreakerChange,
    BreakerState,
    Chunk,
    Purse,
    RateEntry,
    TopUp,
    Wait,
)
from runs.models.step import Attempt, AttemptState, Call, CallKind, CallState, Step, StepState
from runs.models.trigger import Trigger
from runs.models.worker import Worker, WorkerKind

__all__ = [
    "Account",
    "Attempt",
    "AttemptState",
    "Body",
    "Breaker",
    "BreakerChange",
    "BreakerState",
    "Burn",
    "BurnMark",
    "Call",
    "CallKind",
    "CallState",
    "Chunk",
    "Control",
    "ControlKind",
    "ControlReceipt",
    "Definition",
    "Event",
    "Hold",
    "Limit",
    "LimitEdition",
    "Purse",
    "Question",
    "QuestionKind",
    "QuestionState",
    "RateEntry",
    "RehearsedPolicy",
    "Run",
    "RunState",
    "ScopeKind",
    "Step",
    "StepState",
    "Team",
    "TopUp",
    "Trigger",
    "Verb",
    "Wait",
    "Worker",
    "WorkerKind",
]
