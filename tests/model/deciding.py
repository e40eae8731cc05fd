"""What people do: answer, edit, engage, release and resume, by the acts of the product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from escalations import controls, decisions
from escalations.expected import Refusal
from escalations.models import Escalation
from runs.engine import holds
from tests import factories
from tests.model import flows
from tests.model.reference import OVER, Thing
from tests.model.sides import A_MOMENT, Sides, few


class Deciding(Sides):
    @precondition(lambda self: self._open())
    @rule(which=few, verb=st.sampled_from(("approve", "approve", "reject", "respond")), edits=st.booleans())
    def answer(self, which: int, verb: str, edits: bool) -> None:
        """Two times in three the thing goes on."""
        question = self._of(self._open(), which)
        if edits:
            self._edit(question)
        self._answer(question, verb)

    @precondition(lambda self: self._open())
    @rule(which=few, verb=st.sampled_from(("approve", "respond")))
    def answer_kindly(self, which: int, verb: str) -> None:
        question = self._of(self._open(), which)
        if (question.kind, verb) == ("contract", "approve"):
            self._edit(question)
        self._answer(question, verb)

    def _answer(self, question: Any, verb: str) -> None:
        taken = self._accepted(self._act(question, verb))
        assert bool(taken) == self._expected(question, verb), taken

    @precondition(lambda self: self._asked())
    @rule(
        which=few,
        verb=st.sampled_from(("approve", "reject", "respond")),
        how=st.sampled_from(("both", "stale")),
    )
    def answer_badly(self, which: int, verb: str, how: str) -> None:
        """Two people at the same moment, of whom one is taken; or somebody who has seen another version."""
        question = self._of(self._asked(), which)
        if how == "stale":
            assert not self._accepted(self._act(question, verb, version=question.version - 1))
            return
        results = factories.at_once(*(self._act(question, verb, who) for who in self.people))
        strange = [one for one in results if isinstance(one, Exception) and not isinstance(one, Refusal)]
        taken = [one for one in results if not isinstance(one, Exception)]
        assert not strange, strange
        assert len(taken) == self._expected(question, verb), results

    def _expected(self, question: Any, verb: str) -> bool:
        """Whether an answer is taken. A broken output is only approved after an edit."""
        unfit = (question.kind, question.version, verb) == ("contract", 1, "approve")
        return not unfit and self.model.answer(question, verb)

    def _edit(self, question: Any) -> None:
        editable = question.kind in ("approval", "contract") and question.version == 1
        in_time = question.run.hold or question.due > self.model.now
        value = {"amount": 2} if question.kind == "approval" else {}
        if question.step and question.step.node == "plan":
            value = flows.plan(question.run.asks)
        else:
            value["asks"] = question.run.asks
        edited = self._accepted(self._act(question, "edit", value=value))
        assert bool(edited) == bool(editable and in_time), edited
        question.version += bool(edited)

    def _act(self, question: Any, verb: str, who: User | None = None, **more: Any) -> Callable[[], Any]:
        asked = Escalation.objects.filter(run_id=question.run.pk).order_by("question_id")
        escalation = asked[question.run.questions.index(question)]
        seen = {"escalation_id": escalation.pk, "version": escalation.version, "digest": escalation.digest}
        words = {"reject": {"reason": "no"}, "respond": {"text": "words"}}.get(verb, {})
        act = getattr(decisions, verb)
        return lambda: act(actor=who or self.people[0], **{**seen, **words, **more})

    def _asked(self) -> list[Any]:
        return [question for run in self.model.runs for question in run.questions]

    def _open(self) -> list[Any]:
        return [question for question in self._asked() if question.state == "open"]

    @precondition(lambda self: self.model.runs)
    @rule(
        which=few,
        kind=st.sampled_from(("pause", "stop")),
        scope_kind=st.sampled_from(("run", "workflow", "everything")),
        marks=st.booleans(),
    )
    def engage(self, which: int, kind: str, scope_kind: str, marks: bool) -> None:
        run = self._of(self.model.runs, which)
        scope = {"run": run, "workflow": run.flow, "everything": ""}[scope_kind]
        self._engages(self._engaged(kind, scope_kind, scope, marks), kind, scope, marks)

    def _engaged(self, kind: str, scope_kind: str, scope: Any, marks: bool) -> int:
        named = f"model_{scope}" if scope_kind == "workflow" else str(getattr(scope, "pk", ""))
        where = {"kind": kind, "scope_kind": scope_kind, "scope": named}
        if marks:
            return controls.engage(actor=self.people[0], **where).pk
        with transaction.atomic():
            return holds.engage(**where, by="Ines")[0].pk

    def _engages(self, pk: int, kind: str, scope: Any, marks: bool) -> None:
        known = [one for one in self.model.controls if one.pk == pk]
        new = Thing(pk=pk, kind=kind, scope=scope, at=self.model.now, released=False)
        control: Any = known[0] if known else new
        assert (control.kind, control.scope, control.released) == (kind, scope, False)
        self.model.controls += [] if known else [control]
        if marks:
            self.model.mark(control)

    @precondition(lambda self: self.model.controls)
    @rule(which=few, run=few, resumes=st.booleans())
    def let_go(self, which: int, run: int, resumes: bool) -> None:
        self._release(self._of(self.model.controls, which))
        if resumes:
            self._resume(self._of(self.model.runs, run))
        self.passes(A_MOMENT)

    def _release(self, control: Any) -> None:
        released = self._accepted(
            lambda: controls.release(actor=self.people[0], control_id=control.pk, reason="fine again")
        )
        assert bool(released) == (not control.released), released
        if released:
            self.model.mark(control)
            control.released = True
            self.model.let_go()

    @precondition(lambda self: any(run.hold == "stop" for run in self.model.runs))
    @rule(which=few)
    def resume(self, which: int) -> None:
        self._resume(self._of(self.model.runs, which))
        self.passes(A_MOMENT)

    def _resume(self, run: Any) -> None:
        resumed = self._accepted(lambda: controls.resume(actor=self.people[0], run_id=run.pk))
        can = run.hold == "stop" and run.state not in OVER and not self.model.covering(run)
        assert bool(resumed) == can, resumed
        self.model.let_go(run if can else None)
