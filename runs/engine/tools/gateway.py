"""The gateway of effects: one action permitted, handed over while the gate is held, and its outcome recorded.

What only this process knows is recorded whatever happens. What is done about an earlier sending without an outcome is
`doubted`'s business.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from runs.canonical import told
from runs.engine import answers, askings, failpoints, gate
from runs.engine.claimed import Claimed
from runs.engine.found import Found, tell
from runs.engine.outcomes import Park, Refused, Unapproved
from runs.engine.record import now
from runs.engine.spend import permits
from runs.engine.spend.wanted import Result
from runs.engine.tools import looking
from runs.engine.tools.actions import Action, as_sent, fit_to_keep, wanted
from runs.engine.tools.looking import DidNot, Happened
from runs.errors import DataError, ErrorClass, RecoverableError, classify
from runs.limits.kinds import Mode
from runs.models import Call, CallState, Question, QuestionKind, QuestionState

GATE = "gate"
LOOKED = "it did not happen, says the tool's own look"
SAID_LATE = "the worker that had sent it has said how it ended"
OVER = "the run's deadline has passed"
LATE_MS = 1000  # a worker is not given up sooner, so nobody can have been asked
RECORD_AGAIN_SECONDS = (0.0, 0.2, 0.5, 1.0)  # between tries to record what only this process knows


def in_time(claimed: Claimed) -> None:
    """Raise Refused when nothing is left of the run's deadline: nothing is sent any more, and nobody is asked."""
    if claimed.left() <= 0:
        raise Refused(OVER)


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The EffectGate a tool gets. One hand-over an action; see runs.definitions.EffectGate."""

    claimed: Claimed
    action: Action
    began: float
    call: Call | None = None
    handed: bool = False
    handed_at: datetime | None = None

    @property
    def key(self) -> str:
        return self.action.key

    @property
    def seconds_left(self) -> float:
        return self.claimed.left_for_a_call()

    def hand_over(self, send: Any) -> Any:
        """Permit and send while the gate is held by the session. Raises Refused; then nothing was sent."""
        if self.call is not None:
            raise DataError(f"{self.action.tool.name} handed over twice: one effect a call.")
        hold = int(settings.RUNS_GATE_HOLD_MS) / 1000
        with gate.held_by_session() as passage:
            taken = time.monotonic()
            self.call = permits.permit(self.claimed, wanted(self.action))
            in_time(self.claimed)
            if not gate.is_held():  # a stop could be engaged at this moment
                raise Refused("the connection that holds the gate is gone; aborted unsent")
            failpoints.hit("before_effect")
            # The last look: whoever stood still before it wakes when others may have sent this.
            left = hold - (time.monotonic() - taken)
            if left <= 0:
                raise Refused(f"the permit took longer than {hold * 1000:.0f} ms; aborted unsent")
            self.handed = True
            answer = send(left)
        if passage.left_at is None:
            self._left_late()
        self.handed_at = passage.left_at or now()
        return answer

    def _left_late(self) -> None:
        """The gate was gone when the request had left: nobody can say that no stop came before it."""
        name = self.action.tool.name
        says = (
            f"The request of {name} took so long to leave that it may have left after a stop: its hold of the gate was "
            "ended meanwhile."
        )
        with contextlib.suppress(OperationalError, InterfaceError):  # the outcome itself must not be lost
            tell(
                self.claimed,
                Found(guard=GATE, scope=f"tool {name}", says=says, mode=Mode.WARN, about=self.key),
            )


def perform(claimed: Claimed, action: Action) -> Mapping[str, Any]:
    """Do it, and what the tool answered. Raises Refused when nothing was sent, Park when nobody knows whether it
    happened, RecoverableError when it may be tried again, and what the tool raised before anything left."""
    began = time.monotonic()
    gateway = Gateway(claimed=claimed, action=action, began=began)
    if not action.tool.acts:
        gateway.call = permits.permit(claimed, wanted(action))
    connection.close()
    try:
        answer = fit_to_keep(action.tool.perform(action.arguments, gateway))
    except Refused as refused:
        _abort(claimed, gateway, refused)
        raise
    except BaseException as error:  # SystemExit too: the effect may have happened
        return _went_wrong(claimed, gateway, error)
    if gateway.call is None:
        raise DataError(
            f"{action.tool.name} acts but never handed over: its author must call gate.hand_over."
        )
    failpoints.hit("after_effect_before_record")
    _record(claimed, gateway, CallState.DONE, response=answer)
    return answer


def _abort(claimed: Claimed, gateway: Gateway, refused: Refused) -> None:
    if gateway.call is None or gateway.handed:
        return
    call = _record(claimed, gateway, CallState.REFUSED, error=refused.why)
    if call.state == CallState.UNKNOWN:  # others have given up waiting, and need not doubt any more
        _record(claimed, gateway, CallState.FAILED, error=refused.why)


def _went_wrong(claimed: Claimed, gateway: Gateway, error: BaseException) -> Mapping[str, Any]:
    """An error before the hand-over, or a DataError of the other side, means: it did not happen. Else: unknown."""
    if gateway.call is None:
        if isinstance(error, Unapproved):
            _tell_unapproved(claimed, gateway.action)
        raise error
    action = gateway.action
    certain = not action.tool.acts or not gateway.handed or isinstance(error, DataError)
    text = told(error)
    if certain:
        _record(claimed, gateway, CallState.FAILED, error=text, error_class=classify(error))
        raise error
    call = _record(claimed, gateway, CallState.UNKNOWN, error=text, error_class=classify(error))
    sent = as_sent(action, call)
    saw = looking.look(claimed, sent.tool, sent.arguments, call)
    if isinstance(saw, Happened):
        return happened(claimed, call, saw)
    if isinstance(saw, DidNot):
        permits.record(claimed, call, Result(state=CallState.FAILED, error=f"{text}; {LOOKED}"))
    elif not action.tool.repeatable and not looking.worth_retrying(claimed, saw):
        raise Park(askings.unknown(sent.data, sent.tool, call, saw, words=""))
    # by the policy for recoverable errors, with its back-off and its end
    raise RecoverableError(f"{action.tool.name}: {text}") from error


def _tell_unapproved(claimed: Claimed, action: Action) -> None:
    says = f"{action.tool.name} was not sent: no approval covers exactly this action."
    about = str(claimed.attempt.number)
    tell(claimed, Found(guard="approval", scope=f"tool {action.tool.name}", says=says, about=about))


def _record(
    claimed: Claimed,
    gateway: Gateway,
    state: CallState,
    *,
    response: Any = None,
    error: str = "",
    error_class: ErrorClass | None = None,
) -> Call:
    if gateway.call is None:
        raise LookupError("no call to record")
    latency = round((time.monotonic() - gateway.began) * 1000)
    result = Result(
        state=state,
        response=response,
        error=error,
        error_class=error_class,
        latency_ms=latency,
        handed_at=gateway.handed_at,
    )
    call = _recorded(claimed, gateway.call, result)
    if latency >= LATE_MS and call.state in (CallState.DONE, CallState.FAILED):
        _end_doubt(call)
    return call


def _end_doubt(call: Call) -> None:
    """A person may have been asked meanwhile what this process knew all the time."""
    asked = Question.objects.filter(
        step_id=call.step_id, call_key=call.key, kind=QuestionKind.UNKNOWN, state=QuestionState.OPEN
    )
    for question_id in asked.values_list("pk", flat=True):
        answers.withdraw(question_id, SAID_LATE)


def _recorded(claimed: Claimed, call: Call, result: Result) -> Call:
    """What only this process knows is not given up because a connection broke: it is said again on a fresh one."""
    for seconds in RECORD_AGAIN_SECONDS:
        try:
            return permits.record(claimed, call, result)
        except (InterfaceError, OperationalError):
            connection.close()
            time.sleep(seconds)
    return permits.record(claimed, call, result)


def happened(claimed: Claimed, call: Call, saw: Happened) -> Mapping[str, Any]:
    """It was seen to have happened: that is its outcome."""
    permits.record(claimed, call, Result(state=CallState.DONE, response=saw.answer))
    return saw.answer
