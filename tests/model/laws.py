"""The laws of calls: what must be true of an attempt and of its effect, whatever it was told to do. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runs.engine.outcomes import Asked, Cut, Failed, Lost, Outcome, Output
from runs.models import Call
from tests.model import flows

_ERRORS = {**{name: name for name in flows.ERRORS}, "broken": "data"}
_ERRORS_OF_CALLS = {**_ERRORS, "not sent": "recoverable", "refused there": "data", "doubt": "recoverable"}


def calls(step: Any) -> list[Call]:
    """The calls of an attempt's step, oldest first; a function makes none."""
    return list(Call.objects.filter(step_id=step.pk).order_by("pk")) if step.node == "act" else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """An attempt: what it was told, how a permit it was barred from would end it, and what came of it."""

    run: Any
    step: Any
    says: str
    barred: str
    happened: str  # in the middle of its first call
    died: bool
    outcome: Outcome
    before: list[Call]
    after: list[Call]

    def broken_laws(self) -> Iterator[str]:
        if self.step.node != "act":
            yield from self._by_a_function()
            return
        yield from self._ends()
        yield from self._permits()
        yield from self._effect()

    def _by_a_function(self) -> Iterator[str]:
        expected = _ERRORS.get(self.says, "")
        found = self.outcome.failure.error_class if isinstance(self.outcome, Failed) else ""
        if found != expected or not isinstance(self.outcome, (Output, Failed)):
            yield f"told {self.says!r}, a function ends as {self.outcome}"

    def _ends(self) -> Iterator[str]:
        match self.outcome:
            case Failed(failure=failure):
                told = {_ERRORS_OF_CALLS.get(self.says), "data" if self.step.spoiled else None}
                told |= {"reasoning"} if self._failed_twice() else set()  # it is not sent a third time
                if not self.died and failure.error_class not in told:
                    yield f"told {self.says!r}, it failed: {failure}"
            case Cut() | Lost():
                ends = "cut" if isinstance(self.outcome, Cut) else "lost"
                why = {self.barred, {"cut": "cut", "given up": "lost"}.get(self.says)}
                why |= {"overtaken": {"lost"}, "stopped": {"cut"}}.get(self.happened, set())
                if ends not in why:
                    yield f"told {self.says!r}, it was {ends}: {self.outcome.why}"
            case Asked(asking=asking):
                yield from self._asks(asking.kind)
            case Output():
                if not self._tools() or self._tools()[-1].state not in ("done", "refused"):
                    yield f"it is done, and its effect is {self._tools()}"

    def _failed_twice(self) -> bool:
        """Also when the attempt was overtaken and its outcome counts nothing: it was sent all the same."""
        failed = [one for one in self.before if one.kind == "tool" and one.state == "failed"]
        return sum(one.error_class in ("data", "reasoning") for one in failed) >= 2

    def _asks(self, kind: str) -> Iterator[str]:
        if kind == "approval" and (not self.run.asks or self._answers("approval")):
            yield "a person is asked for what needs no person, or was answered"
        if kind == "unknown" and (self.run.flow != "line" or self._tools()[-1].state != "unknown"):
            yield f"a person is asked whether it happened, and it is {self._tools()[-1].state}"
        if kind not in ("approval", "unknown"):
            yield f"an attempt asks {kind}"

    def _permits(self) -> Iterator[str]:
        known = {call.pk for call in self.before}
        sent = [call for call in self.after if call.pk not in known and call.state != "refused"]
        if self.barred and sent:
            yield f"{sent} were permitted, and the claim was {self.barred}"
        acts = [call for call in sent if call.kind != "look"]  # in the middle of a look nothing happens here
        if self.happened and len(acts) != 1:
            yield f"{acts} were permitted, and in the middle of the first one it was {self.happened}"
        for call in acts[:1] if self.happened == "overtaken" and not self.died else ():
            if call.replayable == (call.kind == "model") or call.state == "permitted":
                yield f"a late {call.kind} call is {call.state}, replayable: {call.replayable}"
        left = [call for call in sent if call.state == "permitted"]
        if len(left) != self.died:
            yield f"{left} have no outcome"

    def _effect(self) -> Iterator[str]:
        beginning = f"run-{self.run.pk}-step-{self.run.steps.index(self.step) + 1}-"
        arrived = [(key, amount) for key, amount in flows.ARRIVED if key.startswith(beginning)]
        again = sum(verb == "approve" for verb in self._answers("unknown"))
        most = {"line": 1 + again, "crew": 1, "round": len(arrived)}[self.run.flow]
        if len(arrived) > most or len({key for key, _ in arrived}) > 1:
            yield f"the effect arrived as {arrived}"
        if arrived and self.run.asks and self._answers("approval") != ["approve"]:
            yield f"{arrived} arrived, and people said {self._answers('approval')}"
        edited = any(asked.kind == "approval" and asked.version > 1 for asked in self._questions())
        if any(amount != 1 + edited for _, amount in arrived):
            yield f"{arrived} arrived, and edited is {edited}"
        sends = [call.send for call in self._tools()]
        if sends != list(range(1, len(sends) + 1)):
            yield f"the sendings are numbered {sends}"

    def _tools(self) -> list[Call]:
        return [call for call in self.after if call.kind == "tool"]

    def _questions(self) -> list[Any]:
        return [asked for asked in self.run.questions if asked.step is self.step]

    def _answers(self, kind: str) -> list[str]:
        """What people said to questions of a kind; empty for what the deadline denied."""
        closed = [asked for asked in self._questions() if asked.state in ("answered", "expired")]
        return [asked.verb for asked in closed if asked.kind == kind]
