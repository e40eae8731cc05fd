"""Runs one workflow in a test: the real engine, database and permits, no worker, no waiting for clocks.

A copy of the definition stands in the registry while the trial lasts. Back-off passes without sleeping: the trial moves
the due times of its own run's rows to now. One trial at a time in a process.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.test.utils import override_settings
from pydantic import BaseModel

from runs import checks, live, registry
from runs.agents.misbehaviour import Misbehaviour, Ordered, misbehaving
from runs.canonical import plain
from runs.definitions import Workflow
from runs.engine import starts
from runs.engine.advance import advance
from runs.engine.record import now
from runs.engine.worker.runtime import Runtime
from runs.models import Breaker, Question, QuestionState, RateEntry, Run, Step, StepState, Wait
from runs.testing import replies, said, trial
from runs.testing.caught import Accepted
from runs.testing.copying import copy_for
from runs.testing.faults import (
    AnswerLeftOver,
    CannotWork,
    NeverSettled,
    NoTransactions,
    ScriptRanDry,
    TrialFault,
)
from runs.testing.recorded import recorded_scripts, recorded_tools
from runs.testing.replies import Script, Scripts
from runs.testing.said import Answer
from runs.testing.tools import Stood, ToolScript
from runs.testing.trial import Trial, TrialEscalation

MOST_LOOKS = 1000  # at one run; each look takes it to the next wait
LAPSE = 0.001  # a second of a slow provider's time takes so long in a trial
Answers = Sequence[Answer] | Callable[[TrialEscalation], Answer | None]
_one = threading.Lock()


def run_workflow(
    workflow: Workflow,
    given: Mapping[str, Any] | BaseModel,
    *,
    agents: Mapping[str, Script] | None = None,
    answers: Answers = (),
    misbehave: Mapping[str, Misbehaviour | str | Ordered] | None = None,
    seed: int = 0,
    tools: Mapping[str, ToolScript] | None = None,
    act: bool = True,
    recorded: int | None = None,
    side_by_side: bool = False,
    seconds: float = 60.0,
) -> Trial:
    """Run a workflow, registered or not, until it is over or a question is left without an answer.

    `agents`: scripts by agent, a list of replies or a function of the request; the others use their simulated rule.
    `answers`: what people say, question by question, or a function of the escalation (None leaves it open).
    `misbehave`: by agent, or by model; `seed` chooses how. `tools`: what tools answer instead of being performed, by
    name; with `act=False` no tool that acts is performed: each answers as its definition's `rehearse` does.
    `recorded`: a run of this database whose replies, and the answers of whose tools that act, are given again.
    Tasks of a plan are performed one after the other, so that scripts are taken in order, unless `side_by_side`.
    `seconds`: the longest the trial may take, by the clock on the wall.

    Raises a TrialFault that says what is wrong with the trial, BadInput for an input that breaks its contract, and
    what else starts.start raises.
    """
    _must_be_workflow(workflow)
    if connection.in_atomic_block:
        raise NoTransactions(
            "A trial needs real transactions: mark the test with @pytest.mark.django_db(transaction=True)."
        )
    if not _one.acquire(blocking=False):
        raise TrialFault("Another trial runs in this process: one at a time.")
    try:
        scripts = Scripts({**(recorded_scripts(recorded) if recorded else {}), **(agents or {})})
        stood = Stood({**(recorded_tools(recorded) if recorded else {}), **(tools or {})}, act=act)
        accepted: list[Accepted] = []
        copy = copy_for(workflow, scripts, stood, accepted, width=None if side_by_side else 1)
        with _in_place(copy), _quickly(), misbehaving(misbehave or {}, seed=seed, lapse=LAPSE) as spoilt:
            replies.use(scripts)
            run_id = _Run(copy, scripts, stood, answers, seconds).to_the_end(given)
            return trial.read(run_id, accepted=accepted, unused=scripts.left(), spoilt=spoilt.replies)
    finally:
        replies.use(None)
        _one.release()


def _must_be_workflow(given: Any) -> None:
    if isinstance(given, Workflow):
        return
    name = given if isinstance(given, str) else "NAME"
    raise CannotWork(
        f"run_workflow takes a Workflow, not {given!r:.80}: import the definition, or give registry.newest({name!r})."
    )


@contextlib.contextmanager
def _in_place(workflow: Workflow) -> Iterator[None]:
    """The copy is the only version of its name while the trial lasts."""
    problems = [f"{text}. {fix}" for _, text, fix in checks.problems(workflow)]
    if problems:
        raise CannotWork("\n".join([f"{workflow.name} v{workflow.version} cannot work:", *problems]))
    others = [one for one, _ in registry.versions() if one.name == workflow.name]
    put_back = [registry.forget(one) for one in others]
    registry.register(workflow)
    try:
        yield
    finally:
        registry.forget(workflow)
        for restore in put_back:
            restore()


@contextlib.contextmanager
def _quickly() -> Iterator[None]:
    """Simulated agents do not pause, a copy may differ from its original, and nobody else is told of its run."""
    with override_settings(SIMULATED_SECONDS=0.0, RUNS_FREEZE_VERSIONS=False), live.silent():
        yield


@dataclass(slots=True)
class _Run:
    """One run on its way, looked at by this trial alone."""

    workflow: Workflow
    scripts: Scripts
    stood: Stood
    answers: Answers
    seconds: float
    runtime: Runtime = field(default_factory=lambda: Runtime(f"trial-{uuid.uuid4().hex[:12]}", "agents"))
    used: int = 0
    until: float = 0.0

    def to_the_end(self, given: Mapping[str, Any] | BaseModel) -> int:
        """Start the run and look at it until nothing more happens. Returns its number."""
        self.until = time.monotonic() + self.seconds
        try:
            with transaction.atomic():
                started = starts.start(
                    self.workflow.name, plain(given), start_key=uuid.uuid4().hex, by="a trial"
                )
            self._settle(started.run.pk)
        finally:
            self.runtime.stop()
        return started.run.pk

    def _settle(self, run_id: int) -> None:
        for _ in range(MOST_LOOKS):
            self._look(run_id)
            self._say_faults(run_id)
            run = Run.objects.get(pk=run_id)
            if run.final:
                return self._none_left(run)
            if run.hold:
                raise NeverSettled(f"Run {run_id} is held ({run.hold}): release the control first.")
            if not self._wake(run) and not self._answer(run):
                return self._none_left(run)
        raise NeverSettled(f"Run {run_id} was looked at {MOST_LOOKS} times and is not over.")

    def _say_faults(self, run_id: int) -> None:
        if self.scripts.fault is not None:
            raise ScriptRanDry(self._placed(self.scripts.fault, run_id)) from self.scripts.fault
        if self.stood.fault is not None:
            raise self.stood.fault

    def _placed(self, fault: ScriptRanDry, run_id: int) -> str:
        """Where it ran dry. Tasks of a plan share one list, so that a failed one takes what its neighbour needs."""
        place = trial.last_asked(run_id, fault.agent)
        told = f"At {place}: {fault}" if place else str(fault)
        if not place.endswith("]"):
            return told
        return f"{told}\nTasks of a plan share one list; a function of the request answers each by what it is given."

    def _look(self, run_id: int) -> None:
        """Advance once, in a thread of its own, so that work which never ends does not take the test with it."""
        ended: list[BaseException | None] = []

        def work() -> None:
            try:
                advance(run_id, self.runtime)
                ended.append(None)
            except BaseException as error:
                ended.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=work, name="trial", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(min(1.0, max(0.01, self.until - time.monotonic())))
            if thread.is_alive():
                self._keep(run_id, thread)
        if ended and ended[0] is not None:
            raise ended[0]

    def _keep(self, run_id: int, thread: threading.Thread) -> None:
        """Extend the lease while the work goes on; give it up when the trial's time is over."""
        if time.monotonic() < self.until:
            return self.runtime.beat()
        self.runtime.cut_run(run_id, "the trial's time is over")
        thread.join(5.0)
        stuck = "" if not thread.is_alive() else " Its work cannot be ended: it goes on in its thread."
        raise NeverSettled(
            f"Run {run_id} was not over after {self.seconds:.0f} s.{stuck}\n{self._told(run_id)}"
        )

    def _told(self, run_id: int) -> str:
        return trial.read(run_id).told()

    def _wake(self, run: Run) -> bool:
        """Let back-off be over, and what it waits for have room. True when the run is due now."""
        moment = now()
        waits = Wait.objects.filter(run=run)
        Breaker.objects.filter(pk__in=waits.values("breaker"), forced="").update(retry_at=moment)
        RateEntry.objects.filter(account__in=waits.values("account")).update(
            at=F("at") - timedelta(minutes=2)
        )
        sleeping = Step.objects.filter(run=run, state=StepState.SLEEPING)
        sleeping.filter(due_at__gt=moment).update(due_at=moment)
        return bool(Run.objects.filter(pk=run.pk, due_at__isnull=False).update(due_at=moment))

    def _answer(self, run: Run) -> bool:
        """Answer the oldest open question that has an answer. False when there is none."""
        open_ = Question.objects.filter(run=run, state=QuestionState.OPEN).order_by("pk")
        for question_id in open_.values_list("pk", flat=True):
            answer = self._next(question_id)
            if answer is not None:
                said.give(question_id, answer)
                return True
        return False

    def _next(self, question_id: int) -> Answer | None:
        if callable(self.answers):
            return self.answers(trial.escalation(question_id))
        if self.used == len(self.answers):
            return None
        self.used += 1
        return self.answers[self.used - 1]

    def _none_left(self, run: Run) -> None:
        given = self.used if callable(self.answers) else len(self.answers)
        if given > self.used:
            raise AnswerLeftOver(
                f"{given - self.used} of {given} answers were not asked for.\n{self._told(run.pk)}"
            )
