"""The same failing call is not sent a third time without a person: data and reasoning errors do not mend themselves.

Asks before anything is sent; recoverable errors are the retry policy's business.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Max, Q

from runs import bodies
from runs.agents.door import ModelRequest, request_data
from runs.definitions import Supervised
from runs.engine.claimed import Claimed
from runs.engine.found import Found, tell
from runs.errors import ErrorClass, ReasoningError
from runs.models import Call, CallKind, CallState, Question, QuestionKind, QuestionState, Verb

MOST = 2  # times that the same call may fail
WHERE = "again"
_ASKED = (QuestionKind.ERROR, QuestionKind.CONTRACT)


@dataclass(slots=True, kw_only=True)
class Again:
    """What has failed in this run since a person let it be tried again: the step that met it, or this one. Fetched
    once an attempt, when it may matter."""

    claimed: Claimed
    _failed: Counter[tuple[str, str, str]] | None = field(default=None, init=False)

    def tool(self, name: str, digest: str) -> None:
        """Raise ReasoningError, to a person, when this very call has failed twice."""
        count = self._counts()[(CallKind.TOOL, name, digest)]
        if count >= MOST:
            raise self._refused(f"tool {name}", f"{name} failed {count} times with the same arguments", count)

    def model(self, request: ModelRequest) -> None:
        """The same for a request to a model: no reply to it could be used, or the provider refused it as it is."""
        counts = self._counts()
        if not any(kind == CallKind.MODEL and name == request.agent for kind, name, _ in counts):
            return
        digest = bodies.of(request_data(request)).digest
        count = counts[(CallKind.MODEL, request.agent, digest)]
        if count >= MOST:
            says = f"{request.agent} was asked the same {count} times and nothing came of it"
            raise self._refused(f"agent {request.agent}", says, count)

    def _refused(self, scope: str, why: str, count: int) -> ReasoningError:
        """An event of the run, and what is to be raised."""
        says = f"{why}: it is not sent for time {count + 1} without a person."
        attempt = str(self.claimed.attempt.number)  # of another one it is told again
        tell(
            self.claimed,
            Found(guard=WHERE, scope=scope, says=says, cap=MOST, value=count + 1, about=attempt),
        )
        return ReasoningError(says, where=WHERE, ask=True)

    def _counts(self) -> Counter[tuple[str, str, str]]:
        if self._failed is None:
            self._failed = _failed(self.claimed) if self._may_have() else Counter()
        return self._failed

    def _may_have(self) -> bool:
        claimed = self.claimed
        return (
            claimed.attempt.number > 1
            or claimed.run.retries > 0
            or isinstance(claimed.workflow.pattern, Supervised)
        )


def _failed(claimed: Claimed) -> Counter[tuple[str, str, str]]:
    classes = [ErrorClass.DATA, ErrorClass.REASONING]
    wrong = Q(state=CallState.FAILED, error_class__in=classes)
    useless = Q(kind=CallKind.MODEL, state=CallState.DONE, replayable=False, attempt__error_class__in=classes)
    calls = Call.objects.filter(wrong | useless, run_id=claimed.run.pk)
    rows = list(calls.values_list("kind", "name", "digest", "request_id", "step_id", "permitted_at"))
    let = _let_again(claimed) if rows else {}
    here = let.get(claimed.step.pk)
    return Counter(
        (kind, name, digest if kind == CallKind.TOOL else request)
        for kind, name, digest, request, step_id, at in rows
        if all(since is None or at > since for since in (here, let.get(step_id)))
    )


def _let_again(claimed: Claimed) -> dict[int | None, datetime]:
    """When a person last let each step of the run try again. Who was asked about one has said nothing of the others,
    and whoever said no has let nothing be sent again."""
    asked = Question.objects.filter(
        run_id=claimed.run.pk, kind__in=_ASKED, state=QuestionState.ANSWERED, answered_at__isnull=False
    ).exclude(verb=Verb.REJECT)
    return dict(asked.values_list("step_id").annotate(last=Max("answered_at")))
