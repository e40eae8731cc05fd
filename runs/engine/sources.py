"""What a run has read and been told before a step, for the guards that ask where a value comes from. Reads only.

A person's: the run's input as far as its contract does not mark it as untrusted, the agent's prompt, and what people
wrote into arguments and outputs. Read: what tools answered and what functions gave, in earlier steps; what a contract
marks as untrusted is others' words wherever it stands. What an agent gave is neither: nobody has vouched for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from runs import bodies
from runs.canonical import canonical
from runs.definitions import Agent, Orchestrated
from runs.engine.claimed import Claimed
from runs.guards import likeness
from runs.guards.findings import Limits
from runs.guards.loops import Loops
from runs.guards.provenance import comparable
from runs.guards.taint import Taint
from runs.models import Body, Call, CallKind, CallState, Question, QuestionState, Step, StepState, Verb
from runs.trust import Told, told

MOST_STEPS = 400  # that are looked back at; the newest
MOST_ROUNDS = 80
NEVER = 10**9  # for a limit that nothing reaches


def tell(claimed: Claimed, taint: Taint) -> None:
    """Tell a guard what was there before this step. A handful of queries."""
    given = list(told(claimed.workflow.takes, _load(claimed.run.input_id)))
    if not any(one.untrusted for one in given):
        taint.told(claimed.run.goal)
    for one in given:
        if one.untrusted:
            _foreign(taint, 0, "the run's input", one)
        else:
            taint.told(str(one.value))
    _tell_people(claimed, taint)
    _tell_steps(claimed, taint)


def _load(digest: str) -> Any:
    return bodies.load(Body.objects.get(pk=digest))


def _foreign(taint: Taint, seq: int, source: str, one: Told) -> None:
    if isinstance(one.value, str):
        taint.origins.read(seq, f"{source}, {one.place}", False, one.value, foreign=True)


def _tell_people(claimed: Claimed, taint: Taint) -> None:
    """What people wrote themselves. What they only let stand, or forbade, they have not asked for."""
    answered = Question.objects.filter(
        run_id=claimed.run.pk, state=QuestionState.ANSWERED, verb=Verb.APPROVE, answer__isnull=False
    )
    for before, after in answered.values_list("action", "answer"):
        stood = {str(value) for _, value in likeness.leaves(before)}
        for _, value in likeness.leaves(after):
            if str(value) not in stood:
                taint.told(str(value))


def _tell_steps(claimed: Claimed, taint: Taint) -> None:
    for step, calls in _earlier(claimed, MOST_STEPS, beside=False):
        for call in calls:
            asked = bodies.load(call.request).get("arguments")
            taint.read(step.seq, call.name, asked, _answer(call))
        if claimed.workflow.has(step.node):
            _tell_output(claimed, taint, step)


def _tell_output(claimed: Claimed, taint: Taint, step: Step) -> None:
    """Values that were put in are not vouched for by coming out again."""
    if step.output is None:
        return
    node = claimed.workflow.node(step.node)
    given, output = bodies.load(step.input), bodies.load(step.output)
    values = list(told(node.gives, output))
    source = f"given by {step.node}"
    for one in values:
        if one.untrusted:
            _foreign(taint, step.seq, source, one)
    if isinstance(node.work, Agent) or step.answered_by:
        return
    for one in values:
        if one.vouched:
            taint.vouched(str(one.value))
    asked = [value for _, value in likeness.leaves(given)]
    echo = frozenset(comparable(str(value)) for value in asked)
    pointed = step.input_id == claimed.run.input_id
    trusted = canonical([one.value for one in values if not one.untrusted and one.value is not None])
    if pointed:  # a person may have named what was to be read
        taint.read(step.seq, source, given, trusted)
    else:
        taint.origins.read(step.seq, source, False, trusted, echo)


def again(claimed: Claimed, loops: Iterable[Loops]) -> None:
    """Tell loop detectors what the run did before it came back to this node. Nothing where it never goes back."""
    if not isinstance(claimed.workflow.pattern, Orchestrated) or claimed.step.seq == 1:
        return
    if claimed.past is not None and all(one.node != claimed.node.name for one in claimed.past):
        return
    earlier = list(_earlier(claimed, MOST_ROUNDS, beside=True))
    if all(step.node != claimed.node.name for step, _ in earlier):
        return
    for one in loops:
        one.limits = Limits(repeats=NEVER, stale=NEVER)  # what was found then was said then
        for step, calls in earlier:
            for call in calls:
                asked = bodies.load(call.request).get("arguments")
                one.called(step.seq, step.node, call.name, asked, _answer(call) or call.error)
            if step.output is not None:
                given = bodies.load(step.input)
                one.called(step.seq, step.node, step.node, given, step.output.content)


def _earlier(claimed: Claimed, most: int, *, beside: bool) -> Iterator[tuple[Step, list[Call]]]:
    """The steps before this one in their order, with their tool calls that have an outcome."""
    steps = Step.objects.filter(run_id=claimed.run.pk, seq__lt=claimed.step.seq, state=StepState.DONE)
    parent = getattr(claimed.step, "parent_id", None) if claimed.workflow.width > 1 else None
    if parent is not None and not beside:
        steps = steps.exclude(parent_id=parent)  # other tasks of the plan: nothing of them comes here
    found = list(steps.select_related("input", "output").order_by("-seq")[:most])[::-1]
    calls: dict[int, list[Call]] = {}
    states = [CallState.DONE, CallState.REFUSED, CallState.FAILED]
    made = Call.objects.filter(run_id=claimed.run.pk, kind=CallKind.TOOL, state__in=states)
    for call in made.filter(step_id__lt=claimed.step.pk).select_related("request", "response").order_by("pk"):
        calls.setdefault(call.step_id, []).append(call)
    for step in found:
        yield step, calls.get(step.pk, [])


def _answer(call: Call) -> str:
    return call.response.content if call.response is not None else ""
