"""What a worker performs next of a run whose row it has locked and whose lease it holds. Never performs anything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from runs import bodies, registry, routing
from runs.canonical import told
from runs.definitions import Orchestrated, Supervised, Workflow
from runs.engine import askings, bounds, holds, loose, noted, questions, versions
from runs.engine.answered import obey, settles
from runs.engine.away import away
from runs.engine.claimed import Next, Nothing
from runs.engine.endings import Closing, ask_at, end_run, finish, leave, rest
from runs.engine.found import GUARD, Found, because
from runs.engine.past import outcome, past
from runs.engine.record import event, move_attempt, move_run, now
from runs.engine.turn import POISON_AFTER, Turn
from runs.engine.worker.runtime import current
from runs.limits.rows import Row
from runs.models import (
    AttemptState,
    Question,
    QuestionState,
    Run,
    RunState,
    Step,
    StepState,
)
from runs.models.step import ATTEMPT_MOVES, SETTLED_STEPS

_ASKED = Question.objects.filter(step=OuterRef("pk"), state=QuestionState.OPEN)
_ANSWERED = Q(state=StepState.WAITING) & ~Exists(_ASKED)


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
    noted.write(run, noted.wall_time(run, workflow, moment))
    if deadline <= moment:
        return end_run(closing, RunState.FAILED, _too_late(run, workflow, deadline, limit, moment), moment)
    turn = Turn(closing=closing, workflow=workflow, worker=worker, moment=moment, deadline=deadline)
    return _made(turn, settled)


def _too_late(run: Run, workflow: Workflow, deadline: datetime, limit: Row | None, moment: datetime) -> str:
    says = f"The run's time is up: {because(limit)}." if limit else "The run's deadline has passed."
    cap = limit.value if limit else round(workflow.deadline_seconds * 1000)
    value = cap + round((moment - deadline).total_seconds() * 1000)
    scope = f"workflow {run.workflow}"
    found = Found(guard="wall_time", scope=scope, says=says, row=limit, cap=cap, value=value)
    event(run, GUARD, **found.data)
    return says


def _made(turn: Turn, settled: Step | None) -> Next:
    route_due = settled is None or _moves_on(turn, settled)
    if isinstance(turn.workflow.pattern, Supervised):
        # First, so that a task that is not needed any more is not begun.
        answered = _settle_answered(turn)
        if (answered or route_due) and not turn.over:
            _route(turn)
        route_due = False
    going = not turn.over
    while going:
        route_due = _take_up(turn) or route_due
        going = not turn.over and route_due and not _busy(turn) and _route(turn)
        route_due = False
    if turn.over:
        return Nothing(why="final")
    return tuple(turn.claims) if turn.claims else rest(turn.run, turn.moment)


def _moves_on(turn: Turn, settled: Step) -> bool:
    """Whether a settled step may change what comes next: of many tasks only the last few do."""
    pattern = turn.workflow.pattern
    if not isinstance(pattern, Supervised) or settled.parent_id is None:
        return True
    tasks = list(Step.objects.filter(parent=settled.parent_id).values_list("node", "state"))
    planners = {worker.name for worker in pattern.workers if worker.plans}
    if any(node in planners for node, _ in tasks):
        return True
    outcomes = [outcome(state) for _, state in tasks]
    return routing.verdict_of(pattern.join, len(tasks), outcomes) != routing.Joined.OPEN


def _settle_answered(turn: Turn) -> bool:
    """Of a team's tasks those that people's answers settle. True when there were any."""
    answered = _unsettled(turn).filter(_ANSWERED).order_by("losses", "seq")
    told = [step for step in answered if settles(step)]
    _take_up(turn, told)
    return bool(told)


def _take_up(turn: Turn, steps: Sequence[Step] | None = None) -> bool:
    """Claim every step (of these) that can go on now. True when one was settled instead, by a person's answer."""
    settled = False
    for step in _can_go_on(turn) if steps is None else steps:
        if turn.over:
            break
        if not turn.workflow.has(step.node):
            return True  # routing says so too, and asks
        try:
            settled = _take_up_one(turn, step) or settled
        except LookupError as error:  # a stand-in that its error policy does not name any more
            _stuck(turn, step, told(error), askings.gone(step, error))
    return settled


def _take_up_one(turn: Turn, step: Step) -> bool:
    if step.state == StepState.WAITING:
        return obey(turn, step)
    if step.losses >= POISON_AFTER:
        _stuck(turn, step, "worker lost", askings.poison(step, step.losses))
    elif turn.has_room(step):
        turn.begin(step)
    return False


def _stuck(turn: Turn, step: Step, error: str, asking: questions.Asking) -> None:
    """Ask about one step; the others go on."""
    _end_attempt(step, error)
    ask_at(turn.closing, step, asking)


def _can_go_on(turn: Turn) -> list[Step]:
    moment, fence = turn.moment, turn.run.fence
    lost = Q(state=StepState.RUNNING) & ~Q(fence=fence)
    awake = Q(state=StepState.SLEEPING) & (Q(due_at__lte=moment) | Q(due_at__isnull=True))
    found = list(_unsettled(turn).filter(lost | awake | _ANSWERED).order_by("losses", "seq"))
    free = turn.workflow.width - len(turn.beside())
    if isinstance(turn.workflow.pattern, Supervised) and free > 0:
        found += _unsettled(turn).filter(state=StepState.READY).order_by("seq")[:free]
    elif turn.workflow.recorded and not found:
        first = _unsettled(turn).order_by("seq")[:1]
        found = [step for step in first if step.state == StepState.READY]
    return found


def _unsettled(turn: Turn) -> QuerySet[Step]:
    return Step.objects.select_related("input").filter(run=turn.run).exclude(state__in=SETTLED_STEPS)


def _route(turn: Turn) -> bool:
    """Do what the definition says comes next. True when there is something new to take up."""
    if turn.workflow.recorded and turn.claims:
        return False  # every step is there already; only the last one's end is looked at
    history = past(turn.workflow, turn.run)
    turn.past = tuple(history) if isinstance(turn.workflow.pattern, Orchestrated) else None
    gone = {one.node for one in history if not turn.workflow.has(one.node)}
    if gone:
        loose.missing(turn.closing, _changed(min(gone)), turn.moment)
        return False
    try:
        route = routing.route(turn.workflow, bodies.load(turn.run.input), history)
    except Exception as error:  # a rule that fails, or no rule that holds
        if away(error):
            raise
        loose.ask(turn.closing, askings.undecided(turn.run, error), turn.moment)
        return False
    match route:
        case routing.Go(visits=visits, drop=dropped):
            turn.drop(dropped)
            turn.visit(visits)
            # tasks are taken up as there is room, which what was dropped has made
            return bool(dropped) or any(visit.parent for visit in visits)
        case routing.Finish(output=output):
            finish(turn.closing, output, turn.moment)
        case routing.Fail(reason=reason):
            end_run(turn.closing, RunState.FAILED, reason, turn.moment)
        case routing.Wait():
            pass
    return False


def _busy(turn: Turn) -> bool:
    """Whether a step goes on that everything else waits for: then nothing is to be routed."""
    return bool(turn.claims) and turn.workflow.width == 1


def _end_attempt(step: Step, error: str) -> None:
    attempt = step.attempts.order_by("-number").first()
    if attempt and AttemptState.FAILED in ATTEMPT_MOVES[attempt.state]:
        move_attempt(attempt, AttemptState.FAILED)
        attempt.error, attempt.error_class, attempt.finished_at = error, "unforeseen", now()
        attempt.save()


def _changed(node: str) -> str:
    return f"its definition has changed under the same version: there is no node {node}"


def _unknown(closing: Closing, moment: datetime) -> Nothing:
    """What the run began with is not here: others may have it, or a person is asked (law L10)."""
    if versions.elsewhere(closing.run):
        return versions.leave(closing.run)
    return loose.missing(closing, versions.why_missing(closing.run), moment)
