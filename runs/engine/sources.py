"""What a run has read and been told before a step, for the guards that ask where a value comes from. Reads only.

A person's: the run's input as far as its contract does not mark it as untrusted, the agent's prompt, and what people
wrote into arguments and outputs. Read: what tools answered and what functions gave, in earlier steps; what a contract
marks as untrusted is others' words wherever it stands. What an agent gave is neither: nobody has vouched for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from pydantic import BaseModel

from runs import bodies
from runs.canonical import canonical
from runs.definitions import Agent, Orchestrated
from runs.engine.claimed import Claimed
from runs.engine.sent import Answered
from runs.guards import likeness
from runs.guards.findings import Limits
from runs.guards.loops import Loops
from runs.guards.provenance import comparable
from runs.guards.taint import Taint
from runs.models import Call, CallKind, CallState, Step, StepState
from runs.trust import Told, apart, marks, told

MOST_STEPS = 400  # that are looked back at; the newest
MOST_ROUNDS = 80
Answering = tuple[str, type[BaseModel] | None]  # a tool's name, and the marks of its answer
NEVER = 10**9  # for a limit that nothing reaches


# Everything at once: four queries of the ORM cost a step with an effect a seventh of its processor time.
_SINCE = """
    (SELECT 'people', 0, '', '', '', action::text, answer::text FROM runs_question
        WHERE run_id = %(run)s AND state = 'answered' AND verb = 'approve' AND answer IS NOT NULL ORDER BY id)
    UNION ALL
    (SELECT 'step', s.seq, s.node, s.answered_by, s.input_id, given.content, output.content FROM runs_step s
        JOIN runs_body given ON given.digest = s.input_id LEFT JOIN runs_body output ON output.digest = s.output_id
        WHERE s.run_id = %(run)s AND s.seq < %(seq)s AND s.seq >= %(since_seq)s AND s.state = 'done'
            AND (%(parent)s::bigint IS NULL OR s.parent_id IS DISTINCT FROM %(parent)s)
        ORDER BY s.seq DESC LIMIT %(most)s)
    UNION ALL
    (SELECT 'call', s.seq, c.name, '', '', request.content, answer.content FROM runs_call c
        JOIN runs_step s ON s.id = c.step_id JOIN runs_body request ON request.digest = c.request_id
        LEFT JOIN runs_body answer ON answer.digest = c.response_id
        WHERE c.run_id = %(run)s AND c.kind = 'tool' AND c.state IN ('done', 'refused', 'failed')
            AND c.step_id < %(step)s AND c.step_id >= %(since_step)s ORDER BY c.id)
"""
_BEFORE = f"""
    (SELECT 'input', 0, '', '', '', content, NULL FROM runs_body WHERE digest = %(input)s)
    UNION ALL {_SINCE}
"""
_TRIED = """
    SELECT c.name, request.content, answer.content FROM runs_call c
    JOIN runs_body request ON request.digest = c.request_id LEFT JOIN runs_body answer ON answer.digest = c.response_id
    WHERE c.step_id = %s AND c.attempt_id <> %s AND c.kind = 'tool' AND c.state IN ('done', 'refused', 'failed')
    ORDER BY c.id
"""


@dataclass(frozen=True, slots=True)
class _Was:
    """A row of what was before: the run's input, what people approved, a step, a tool call. Texts are JSON."""

    part: str
    seq: int
    name: str  # of the node, or of the tool
    answered_by: str
    input_id: str
    given: str
    output: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upto:
    """How far a guard was told: everything before that step, and so many texts that people wrote."""

    seq: int
    step: int
    people: int


def tell(claimed: Claimed, taint: Taint, since: Upto | None = None) -> Upto | None:
    """Tell a guard what was there before this step, or of that what it was not told. One query.

    None, and nothing told, when people have written something since then: it bears on what was read before.
    """
    was: dict[str, list[_Was]] = {"input": [], "people": [], "step": [], "call": []}
    for row in _before(claimed, since):
        was[row.part].append(row)
    if since is not None and len(was["people"]) != since.people:
        return None
    if since is None:
        _tell_input(claimed, taint, was["input"][0])
        _tell_people(was["people"], taint)
    _tell_steps(claimed, taint, was["step"][::-1], was["call"])
    return Upto(seq=claimed.step.seq, step=claimed.step.pk, people=len(was["people"]))


def tell_tried(claimed: Claimed, taint: Taint) -> None:
    """Tell a guard what earlier attempts of this very step have read: what they gave, or were refused for, is what the
    next one is given. One query; none in a first attempt."""
    if claimed.attempt.number == 1:
        return
    step = claimed.step
    with connection.cursor() as cursor:
        cursor.execute(_TRIED, [step.pk, claimed.attempt.pk])
        rows = cursor.fetchall()
    for name, given, answer in rows:
        _tell_call(claimed, taint, step.node, _Was("call", step.seq, name, "", "", given, answer))


def tell_done(claimed: Claimed, taint: Taint, output: str, answered: Iterable[Answered]) -> None:
    """Tell a guard that knows everything before this step of the step itself, now that it is done. No query."""
    step = claimed.step
    was = _Was("step", step.seq, step.node, "", step.input_id, step.input.content, output)
    calls = [_Was("call", step.seq, one.name, "", "", one.request, one.answer) for one in answered]
    _tell_steps(claimed, taint, [was], calls)


def _tell_input(claimed: Claimed, taint: Taint, was: _Was) -> None:
    given = list(told(claimed.workflow.takes, json.loads(was.given)))
    if not any(one.untrusted for one in given):
        taint.told(claimed.run.goal)
    for one in given:
        if one.untrusted:
            _foreign(taint, 0, "the run's input", one)
        else:
            taint.told(str(one.value))


def _begins(claimed: Claimed) -> bool:
    """Whether nothing was before: the first attempt of a run's first step, and nobody has answered it yet."""
    return claimed.step.seq == 1 and claimed.attempt.number == 1 and claimed.attempt.history_id is None


def _before(claimed: Claimed, since: Upto | None) -> Iterator[_Was]:
    if since is None and _begins(claimed):
        return iter([_Was("input", 0, "", "", "", claimed.run.input.content, None)])
    parent = getattr(claimed.step, "parent_id", None) if claimed.workflow.width > 1 else None
    values = {
        "run": claimed.run.pk,
        "input": claimed.run.input_id,
        "step": claimed.step.pk,
        "seq": claimed.step.seq,
        "since_seq": since.seq if since else 0,
        "since_step": since.step if since else 0,
        "parent": parent,  # other tasks of the plan: nothing of them comes here
        "most": MOST_STEPS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SINCE if since else _BEFORE, values)
        rows = cursor.fetchall()
    return (_Was(*row) for row in rows)


def _foreign(taint: Taint, seq: int, source: str, one: Told) -> None:
    if isinstance(one.value, str):
        taint.origins.read(seq, f"{source}, {one.place}", False, one.value, foreign=True)


def tell_answer(taint: Taint, seq: int, tool: Answering, given: Any, answer: str) -> None:
    """A tool's answer. `tool`: its name, and what marks in its answer what others have written."""
    name, contract = tool
    whole = json.loads(answer) if contract is not None and answer else None
    if contract is None or not isinstance(whole, dict):
        taint.read(seq, name, given, answer)
        return
    ours, others = apart(contract, whole)
    taint.read(seq, name, given, canonical(ours) if ours else "")
    if others:
        taint.read(seq, name, given, canonical(others), foreign=True)


def _answering(claimed: Claimed, node: str, tool: str) -> Answering:
    """As the definition that the run goes by declares it."""
    agents = claimed.workflow.node(node).agents if claimed.workflow.has(node) else ()
    declared = (one.answers for agent in agents for one in agent.tools if one.name == tool)
    return tool, next(filter(None, declared), None)


def _tell_people(approved: Iterable[_Was], taint: Taint) -> None:
    """What people wrote themselves. What they only let stand, or forbade, they have not asked for."""
    for one in approved:
        stood = {str(value) for _, value in likeness.leaves(json.loads(one.given))}
        for _, value in likeness.leaves(json.loads(one.output or "null")):
            if str(value) not in stood:
                taint.told(str(value))


def _tell_steps(claimed: Claimed, taint: Taint, steps: Iterable[_Was], calls: Iterable[_Was]) -> None:
    made: dict[int, list[_Was]] = {}
    for call in calls:
        made.setdefault(call.seq, []).append(call)
    for step in steps:
        for call in made.get(step.seq, ()):
            _tell_call(claimed, taint, step.name, call)
        if claimed.workflow.has(step.name):
            _tell_output(claimed, taint, step)


def _tell_call(claimed: Claimed, taint: Taint, node: str, call: _Was) -> None:
    given, tool = json.loads(call.given).get("arguments"), _answering(claimed, node, call.name)
    tell_answer(taint, call.seq, tool, given, call.output or "")


def _tell_output(claimed: Claimed, taint: Taint, step: _Was) -> None:
    """Values that were put in are not vouched for by coming out again."""
    if step.output is None:
        return
    node = claimed.workflow.node(step.name)
    of_agent = isinstance(node.work, Agent) or bool(step.answered_by)
    if of_agent and not marks(node.gives):
        return  # nobody vouches for it, and nothing of it is said to be others' words
    given, output = json.loads(step.given), json.loads(step.output)
    values = list(told(node.gives, output))
    source = f"given by {step.name}"
    for one in values:
        if one.untrusted:
            _foreign(taint, step.seq, source, one)
    if of_agent:
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


def again(claimed: Claimed, loops: Iterable[Loops]) -> bool:
    """Tell loop detectors what the run did before it came back to this node. Nothing where it never goes back.

    Whether it was at this node before."""
    if not isinstance(claimed.workflow.pattern, Orchestrated) or claimed.step.seq == 1:
        return False
    if claimed.past is not None and all(one.node != claimed.node.name for one in claimed.past):
        return False
    earlier = list(_earlier(claimed, MOST_ROUNDS))
    if all(step.node != claimed.node.name for step, _ in earlier):
        return False
    for one in loops:
        one.limits = Limits(repeats=NEVER, stale=NEVER)  # what was found then was said then
        for step, calls in earlier:
            for call in calls:
                asked = bodies.load(call.request).get("arguments")
                one.called(step.seq, step.node, call.name, asked, _answer(call) or call.error)
            if step.output is not None:
                given = bodies.load(step.input)
                one.called(step.seq, step.node, step.node, given, step.output.content)
    return True


def _earlier(claimed: Claimed, most: int) -> Iterator[tuple[Step, list[Call]]]:
    """The steps before this one in their order, with their tool calls that have an outcome."""
    steps = Step.objects.filter(run_id=claimed.run.pk, seq__lt=claimed.step.seq, state=StepState.DONE)
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
