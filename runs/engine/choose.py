"""What a worker performs next of a run whose row it has locked and whose lease it holds. Never performs anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import InterfaceError, OperationalError
from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from runs import bodies, registry, routing
from runs.canonical import told
from runs.definitions import Agent, Orchestrated, Pipeline, Supervised, Workflow
from runs.engine import askings, bounds, contracts, holds, planned, questions, versions
from runs.engine.claimed import Claimed, Next
from runs.engine.endings import (
    Closing,
    Nothing,
    ask_at,
    drop,
    end_run,
    end_step,
    finish,
    leave,
    rest,
    settle_step,
)
from runs.engine.found import GUARD, Found, because
from runs.engine.past import past
from runs.engine.record import event, move_attempt, move_run, move_step, now
from runs.engine.runtime import current
from runs.errors import ContractBroken
from runs.limits.rows import Row
from runs.models import (
    Attempt,
    AttemptState,
    Question,
    QuestionKind,
    QuestionState,
    Run,
    RunState,
    Step,
    StepState,
    Verb,
)
from runs.models.question import BACK_TO
from runs.models.step import ATTEMPT_MOVES, SETTLED_STEPS
from runs.verdicts import StandIn, back_to, stand_in_at

POISON_AFTER = 3  # a step that lost its worker so often is not claimed again without a person
SUSPECT_AFTER = 2  # from then on it is performed alone, so that its neighbours are not blamed for it


def claim_next(closing: Closing, *, worker: str, moment: datetime, settled: Step | None = None) -> Next:
    """Claim what comes next of a locked run that nothing holds: as many steps as may go side by side.

    Asks or ends the run where it must. `settled` is the step whose settlement this belongs to. The caller closes.
    """
    run = closing.run
    if current().leaving:
        current().leaves_behind(run.pk)
        return leave(run, moment)
    workflow = registry.workflow(run.workflow, run.version, run.definition)
    if workflow is None:
        return _unknown(closing, moment)
    run.lease_owner, run.lease_until = worker, moment + holds.lease()
    move_run(run, RunState.RUNNING)
    run.due_at = run.lease_until
    deadline, limit = bounds.deadline(run, workflow, moment)
    if deadline <= moment:
        return end_run(closing, RunState.FAILED, _too_late(run, deadline, limit, moment), moment)
    return _Choice(closing=closing, workflow=workflow, worker=worker, moment=moment, deadline=deadline).made(
        settled
    )


def _too_late(run: Run, deadline: datetime, limit: Row | None, moment: datetime) -> str:
    if limit is None:
        return "The run's deadline has passed."
    says = f"The run's time is up: {because(limit)}."
    value = limit.value + round((moment - deadline).total_seconds() * 1000)
    found = Found(guard="wall_time", scope=f"workflow {run.workflow}", says=says, row=limit, value=value)
    event(run, GUARD, **found.data)
    return says


@dataclass(slots=True, kw_only=True)
class _Choice:
    """One turn of choosing, inside one transaction."""

    closing: Closing
    workflow: Workflow
    worker: str
    moment: datetime
    deadline: datetime
    claims: list[Claimed] = field(default_factory=list)
    past: tuple[routing.Visited, ...] | None = None  # every step, once it was looked at
    performed: dict[int, int] | None = None  # see `_beside`; not known before somebody asked

    @property
    def run(self) -> Run:
        return self.closing.run

    def made(self, settled: Step | None) -> Next:
        route_due = settled is None or self._moves_on(settled)
        if route_due and isinstance(self.workflow.pattern, Supervised):
            self._route()  # first, so that a task that is not needed any more is not begun
            route_due = False
        going = not self._over()
        while going:
            route_due = self._take_up() or route_due
            going = not self._over() and route_due and not self._busy() and self._route()
            route_due = False
        if self._over():
            return Nothing(why="final")
        return tuple(self.claims) if self.claims else rest(self.run, self.moment)

    def _busy(self) -> bool:
        """Whether a step goes on that everything else waits for: then nothing is to be routed."""
        return bool(self.claims) and self.workflow.width == 1

    def _over(self) -> bool:
        return self.run.final

    def _moves_on(self, settled: Step) -> bool:
        """Whether a settled step may change what comes next: of many tasks only the last few do."""
        pattern = self.workflow.pattern
        if not isinstance(pattern, Supervised) or settled.parent_id is None:
            return True
        tasks = list(Step.objects.filter(parent=settled.parent_id).values_list("node", "state"))
        planners = {worker.name for worker in pattern.workers if worker.plans}
        if any(node in planners for node, _ in tasks):
            return True
        outcomes = [_outcome(state) for _, state in tasks]
        return routing.verdict_of(pattern.join, len(tasks), outcomes) != routing.Joined.OPEN

    # taking up what exists

    def _take_up(self) -> bool:
        """Claim every step that can go on now. True when one was settled instead, by a person's answer."""
        settled = False
        for step in self._can_go_on():
            if self._over():
                break
            if not self.workflow.has(step.node):
                return True  # routing says so too, and asks
            try:
                settled = self._take_up_one(step) or settled
            except LookupError as error:  # a stand-in that its error policy does not name any more
                self._stuck(step, told(error), askings.gone(step, error))
        return settled

    def _take_up_one(self, step: Step) -> bool:
        if step.state == StepState.WAITING:
            return self._answered(step)
        if step.losses >= POISON_AFTER:
            self._stuck(step, "worker lost", askings.poison(step, step.losses))
        elif self._room(step):
            self._begin(step)
        return False

    def _stuck(self, step: Step, error: str, asking: questions.Asking) -> None:
        """Ask about one step; the others go on."""
        _end_attempt(step, error)
        ask_at(self.closing, step, asking)

    def _can_go_on(self) -> list[Step]:
        moment, fence = self.moment, self.run.fence
        asked = Question.objects.filter(step=OuterRef("pk"), state=QuestionState.OPEN)
        lost = Q(state=StepState.RUNNING) & ~Q(fence=fence)
        awake = Q(state=StepState.SLEEPING) & (Q(due_at__lte=moment) | Q(due_at__isnull=True))
        answered = Q(state=StepState.WAITING) & ~Exists(asked)
        found = list(self._unsettled().filter(lost | awake | answered).order_by("losses", "seq"))
        free = self.workflow.width - len(self._beside())
        if isinstance(self.workflow.pattern, Supervised) and free > 0:
            found += self._unsettled().filter(state=StepState.READY).order_by("seq")[:free]
        elif self.workflow.recorded and not found:
            first = self._unsettled().order_by("seq")[:1]
            found = [step for step in first if step.state == StepState.READY]
        return found

    def _unsettled(self) -> QuerySet[Step]:
        return Step.objects.select_related("input").filter(run=self.run).exclude(state__in=SETTLED_STEPS)

    def _room(self, step: Step) -> bool:
        """Whether the step may be performed beside those that are."""
        beside = self._beside()
        if any(losses >= SUSPECT_AFTER for losses in (step.losses, *beside.values())):
            return not beside
        return len(beside) < self.workflow.width

    def _beside(self) -> dict[int, int]:
        """The steps of the run that are performed now, with how often each lost its worker."""
        if self.performed is None:
            mine = Step.objects.filter(run=self.run, state=StepState.RUNNING, fence=self.run.fence)
            self.performed = dict(mine.values_list("pk", "losses")) if self.workflow.width > 1 else {}
        return self.performed | {one.step.pk: one.step.losses for one in self.claims}

    def _begin(self, step: Step) -> None:
        last = step.attempts.order_by("-number").first() if step.state != StepState.READY else None
        if last is None or last.state not in (
            AttemptState.RUNNING,
            AttemptState.ASKED,
            AttemptState.CUT,
        ):
            self._new_attempt(step, note=step.note)
        else:
            self._continue(step, last)

    def _new_attempt(self, step: Step, *, note: str = "") -> None:
        number = (step.attempts.aggregate(last=Max("number"))["last"] or 0) + 1
        self._take(step)
        self._attempt(step, number, note)

    def _attempt(self, step: Step, number: int, note: str) -> None:
        """Make an attempt of a step that is taken."""
        stand_in_ = stand_in_at(self.workflow.node(step.node), step.by)
        work = stand_in_.work or self.workflow.node(step.node).work
        agent = work.name if isinstance(work, Agent) else ""
        attempt = Attempt.objects.create(
            step=step,
            number=number,
            agent=agent,
            by=step.by,
            fence=self.run.fence,
            worker=self.worker,
            note=note,
        )
        self._claim(step, attempt, stand_in_)
        event(
            self.run, "attempt", step=step, number=number, agent=agent, **({"by": step.by} if step.by else {})
        )

    def _continue(self, step: Step, attempt: Attempt) -> None:
        """The same attempt goes on: after a lost worker, a cut, or an answer. Recorded calls are replayed."""
        move_attempt(attempt, AttemptState.RUNNING)
        attempt.fence, attempt.worker = self.run.fence, self.worker
        attempt.save()
        self._take(step)
        self._claim(step, attempt, stand_in_at(self.workflow.node(step.node), attempt.by))
        event(self.run, "went on", step=step, number=attempt.number)

    def _take(self, step: Step) -> None:
        move_step(step, StepState.RUNNING)
        step.fence, step.due_at = self.run.fence, None
        step.save()

    def _claim(self, step: Step, attempt: Attempt, stand_in_: StandIn) -> None:
        self.claims.append(
            Claimed(
                run=self.run,
                workflow=self.workflow,
                node=self.workflow.node(step.node),
                step=step,
                attempt=attempt,
                fence=self.run.fence,
                worker=self.worker,
                seconds_left=(self.deadline - self.moment).total_seconds(),
                stand_in=stand_in_,
                past=() if isinstance(self.workflow.pattern, Pipeline) else self.past,
            )
        )

    # a person's answer

    def _answered(self, step: Step) -> bool:
        """A person has answered, or the deadline has denied: what the step does with it. True when it is settled."""
        question = step.questions.order_by("-pk").first()
        if question is None:
            return False
        if question.kind in (QuestionKind.APPROVAL, QuestionKind.UNKNOWN) or _room_given(question):
            return self._go_on(step)
        if question.state != QuestionState.ANSWERED or question.verb == Verb.REJECT:
            end_step(self.closing, step, StepState.ENDED, question.answer_text or "denied", self.moment)
            return True
        if question.kind == QuestionKind.CLAIMS:
            return self._claims_answered(step, question)
        if question.kind == QuestionKind.CONTRACT and question.verb == Verb.APPROVE:
            return self._person_output(step, question)
        if self._room(step):
            step.losses, step.by = 0, ""  # a person begins anew: with the node's own work
            self._new_attempt(step, note=question.answer_text)
        return False

    def _claims_answered(self, step: Step, question: Question) -> bool:
        """The claims that a person lets stand are the step's output; or another agent makes them anew."""
        if question.verb != Verb.RESPOND:
            _close_attempt(step, AttemptState.DONE)
            return self._person_output(step, question)
        if self._room(step):
            _refuse_claims(step, question)
            step.losses, step.by = 0, back_to(str(question.action[BACK_TO]))
            self._new_attempt(step, note=question.answer_text)
        return False

    def _go_on(self, step: Step) -> bool:
        if self._room(step):
            self._begin(step)
        return False

    def _person_output(self, step: Step, question: Question) -> bool:
        """The value a person gave is the step's output; it meets the contract like any other, or is asked for again."""
        value = (question.answer or {}).get("value")
        try:
            checked = contracts.checked(self.workflow, step, value, by_person=True)
        except ContractBroken as error:
            ask_at(self.closing, step, askings.given_again(step, value, error))
            return False
        settle_step(self.run, step, checked, self.moment, by=question.answered_by)
        return True

    # what comes next

    def _route(self) -> bool:
        """Do what the definition says comes next. True when there is something new to take up."""
        if self.workflow.recorded and self.claims:
            return False  # every step is there already; only the last one's end is looked at
        history = past(self.workflow, self.run)
        self.past = tuple(history) if isinstance(self.workflow.pattern, Orchestrated) else None
        gone = {one.node for one in history if not self.workflow.has(one.node)}
        if gone:
            _missing(self.closing, _changed(min(gone)), self.moment)
            return False
        try:
            route = routing.route(self.workflow, bodies.load(self.run.input), history)
        except (InterfaceError, OperationalError):
            raise
        except Exception as error:  # a rule that fails, or no rule that holds
            ask_loose(self.closing, askings.undecided(self.run, error), self.moment)
            return False
        match route:
            case routing.Go(visits=visits, drop=dropped):
                self._drop(dropped)
                self._visit(visits)
                # tasks are taken up as there is room, which what was dropped has made
                return bool(dropped) or any(visit.parent for visit in visits)
            case routing.Finish(output=output):
                finish(self.closing, output, self.moment)
            case routing.Fail(reason=reason):
                end_run(self.closing, RunState.FAILED, reason, self.moment)
            case routing.Wait():
                pass
        return False

    def _drop(self, steps: Sequence[int]) -> None:
        """End what is not needed any more, also when this turn has just taken it up."""
        drop(self.closing, steps, self.moment)
        self.claims = [one for one in self.claims if one.step.pk not in steps]
        self.performed = None

    def _visit(self, visits: Sequence[routing.Visit]) -> None:
        last = self.run.steps.aggregate(last=Max("seq"))["last"] or 0
        if any(visit.parent for visit in visits):
            planned.write(self.run, visits, last)
            return
        for seq, visit in enumerate(visits, start=last + 1):
            step = Step.objects.create(
                run=self.run,
                seq=seq,
                node=visit.node,
                state=StepState.RUNNING,
                fence=self.run.fence,
                input=bodies.store(visit.input),
            )
            event(self.run, "step", step=step, node=step.node, seq=step.seq)
            self._attempt(step, 1, "")


def _end_attempt(step: Step, error: str) -> None:
    attempt = step.attempts.order_by("-number").first()
    if attempt and AttemptState.FAILED in ATTEMPT_MOVES[attempt.state]:
        move_attempt(attempt, AttemptState.FAILED)
        attempt.error, attempt.error_class, attempt.finished_at = error, "unforeseen", now()
        attempt.save()


def _refuse_claims(step: Step, question: Question) -> None:
    """What the next attempt is told was wrong, with the claims as they were."""
    attempt = _close_attempt(step, AttemptState.FAILED)
    if attempt is not None:
        attempt.error, attempt.error_class = question.action["error"], "data"
        attempt.error_where = question.action["where"]
        attempt.rejected_output = bodies.store({name: question.action[name] for name in ("value", "open")})
        attempt.save()


def _close_attempt(step: Step, state: AttemptState) -> Attempt | None:
    """Close the attempt that asked a person; None when it is closed already."""
    attempt = step.attempts.order_by("-number").first()
    if attempt is None or attempt.state != AttemptState.ASKED:
        return None
    move_attempt(attempt, state)
    attempt.finished_at = now()
    attempt.save()
    return attempt


def _changed(node: str) -> str:
    return f"its definition has changed under the same version: there is no node {node}"


def _room_given(question: Question) -> bool:
    """Whether a used-up limit has room again: somebody gave it, or a sweep saw that there is some."""
    if question.kind != QuestionKind.LIMIT:
        return False
    given = question.state == QuestionState.ANSWERED and question.verb != Verb.REJECT
    return given or question.state == QuestionState.WITHDRAWN


def _outcome(state: str) -> str:
    return state if state in SETTLED_STEPS else routing.GOING


def ask_loose(closing: Closing, asking: questions.Asking, moment: datetime) -> Nothing:
    """Ask about the run itself, not about a step of it. One that was denied before ends the run instead."""
    denied = denied_before(closing.run)
    if denied is not None:
        return end_run(closing, RunState.ENDED, denied, moment)
    if not closing.run.questions.filter(step__isnull=True, state=QuestionState.OPEN).exists():
        ask_at(closing, None, asking)
    return rest(closing.run, moment)


def denied_before(run: Run) -> str | None:
    """The reason for which the last question about the run itself was denied; None when it was not."""
    last = run.questions.filter(step__isnull=True).order_by("-pk").first()
    if last is None or (last.state != QuestionState.EXPIRED and last.verb != Verb.REJECT):
        return None
    return last.answer_text or "denied"


def _unknown(closing: Closing, moment: datetime) -> Nothing:
    """What the run began with is not here: others may have it, or a person is asked (law L10)."""
    if versions.elsewhere(closing.run):
        return versions.leave(closing.run)
    return _missing(closing, versions.why_missing(closing.run), moment)


def _missing(closing: Closing, reason: str, moment: datetime) -> Nothing:
    return ask_loose(closing, askings.missing(closing.run, reason), moment)


def quarantine(closing: Closing, error: Exception, moment: datetime) -> Nothing:
    """Park a run that cannot be claimed as it is. It is looked at again when a person says so, or ended."""
    move_run(closing.run, RunState.RUNNING)
    return ask_loose(closing, askings.undecided(closing.run, error), moment)
