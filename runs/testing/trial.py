"""How a trial went, as values that a test compares. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from runs import bodies
from runs.models import Attempt, Call, CallKind, Event, Question, QuestionState, Run, Step
from runs.testing.amounts import same
from runs.testing.caught import Accepted, caught
from runs.testing.faults import TrialFault


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStep:
    """One step. `place` is its name in the path: "draft", or "review[2]" for the third task of a plan."""

    node: str
    place: str
    state: str
    attempts: int
    output: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCall:
    """One sending of a call. `name` is the tool, or the agent of a model call (which has no arguments)."""

    name: str
    kind: str  # model or tool
    place: str
    arguments: Mapping[str, Any]
    state: str
    answer: Any
    error: str
    cost_micros: int  # millionths of a US dollar
    acts: bool  # a tool that changes the world or reaches outside
    approved: bool = False  # a person agreed to exactly this action


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEscalation:
    """One question that a person was asked. `answer`: approve, reject, respond; expired; or "" while it is open."""

    kind: str  # approval, contract, error, unknown, missing
    title: str
    reason: str
    tool: str
    place: str
    failed: tuple[str, ...]  # titles of the evidence that did not hold
    answer: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEvent:
    """One event of the run, as its page lists it."""

    kind: str
    place: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a run did. `state`: done, failed, ended, or waiting when a question was left open.

    `caught_by` says what stood in the way of something wrong, in order: "contract", "unknown tool", "turns", "retry
    policy", "approval", "accept check", "escalation: error" and so on (see runs.testing.caught).
    """

    run_id: int
    state: str
    ending: str
    output: Any
    path: tuple[str, ...]
    steps: tuple[TrialStep, ...]
    calls: tuple[TrialCall, ...]
    escalations: tuple[TrialEscalation, ...]
    events: tuple[TrialEvent, ...]
    cost_micros: int
    tokens: int
    caught_by: tuple[str, ...]
    unused: Mapping[str, int]  # replies of scripts that nobody asked for, by agent
    spoilt: int  # replies that a misbehaviour has really changed

    @property
    def tools(self) -> tuple[TrialCall, ...]:
        """The tool calls that were done, in order."""
        return tuple(call for call in self.calls if call.kind == CallKind.TOOL and call.state == "done")

    def step(self, place: str) -> TrialStep:
        """The last step at that place. Raises LookupError with the path when the run never came there."""
        for step in reversed(self.steps):
            if place in (step.place, step.node):
                return step
        raise LookupError(f"the run never came to {place!r}; it went {' -> '.join(self.path)}")

    def told(self) -> str:
        """The whole story in lines, for a test that fails."""
        lines = [f"run {self.run_id} is {self.state}{f' ({self.ending})' if self.ending else ''}"]
        lines += [f"  {event.place or 'run'}: {event.kind} {_short(event.data)}" for event in self.events]
        lines += [f"  asked ({one.kind}): {one.title} -> {one.answer or 'open'}" for one in self.escalations]
        return "\n".join([*lines, f"  output: {_short(self.output)}"])

    def expect(self, **wanted: Any) -> None:
        """Compare attributes, all at once; one that differs fails with the whole story of the run.

        trial.expect(state="done", path=("tidy", "summarise"))

        Money in an output is text; a Decimal is compared with it by its amount. Raises TrialFault for a name that
        a trial does not have.
        """
        strange = sorted(wanted.keys() - _names())
        if strange:
            raise TrialFault(
                f"A trial has no {', '.join(strange)}; expect takes: {', '.join(sorted(_names()))}."
            )
        wrong = [
            f"{name}: expected {value!r}, got {getattr(self, name)!r}"
            for name, value in wanted.items()
            if not same(value, getattr(self, name))
        ]
        if wrong:
            raise AssertionError("\n".join([*wrong, self.told()]))


def _names() -> set[str]:
    return {one.name for one in fields(Trial)} | {"tools"}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:299]}…"


def read(
    run_id: int,
    *,
    accepted: Sequence[Accepted] = (),
    unused: Mapping[str, int] | None = None,
    spoilt: int = 0,
) -> Trial:
    """The trial of a run, from its rows alone."""
    run = Run.objects.select_related("output").get(pk=run_id)
    steps = list(Step.objects.filter(run=run).select_related("output").order_by("seq"))
    places = _places(steps)
    attempts = list(Attempt.objects.filter(step__run=run).values_list("step_id", flat=True))
    events = [_event(one, places) for one in Event.objects.filter(run=run).order_by("seq")]
    questions = {one.pk: one for one in Question.objects.filter(run=run).order_by("pk")}
    begun = [step for step in steps if step.pk in set(attempts)]
    return Trial(
        run_id=run.pk,
        state=run.state,
        ending=run.ending,
        output=bodies.load(run.output) if run.output else None,
        path=tuple(places[step.pk] for step in begun),
        steps=tuple(_step(step, places, attempts.count(step.pk)) for step in begun),
        calls=tuple(_call(one, places) for one in _calls(run)),
        escalations=tuple(_escalation(one, places) for one in questions.values()),
        events=tuple(events),
        cost_micros=run.cost_micros,
        tokens=run.tokens_in + run.tokens_out,
        caught_by=caught([(one.kind, one.place, one.data) for one in events], questions, accepted),
        unused=dict(unused or {}),
        spoilt=spoilt,
    )


def _places(steps: list[Step]) -> dict[int, str]:
    """The name of each step in the path; tasks of plans in plans carry the name of theirs before it."""
    parents = {step.pk: step for step in steps}
    found: dict[int, str] = {}
    for step in steps:  # a parent has the lower number
        parent = parents.get(step.parent_id) if step.parent_id else None
        if parent is None:
            found[step.pk] = step.node
            continue
        before = f"{found[parent.pk]}/" if parent.parent_id else ""
        found[step.pk] = f"{before}{step.node}[{step.place}]"
    return found


def _step(step: Step, places: Mapping[int, str], attempts: int) -> TrialStep:
    return TrialStep(
        node=step.node,
        place=places[step.pk],
        state=step.state,
        attempts=attempts,
        output=bodies.load(step.output) if step.output else None,
    )


def _calls(run: Run) -> list[Call]:
    return list(Call.objects.filter(run=run).select_related("request", "response").order_by("pk"))


def _call(call: Call, places: Mapping[int, str]) -> TrialCall:
    request = bodies.load(call.request)
    return TrialCall(
        name=call.name,
        kind=call.kind,
        place=places[call.step_id],
        arguments=request.get("arguments", {}) if call.kind == CallKind.TOOL else {},
        state=call.state,
        answer=bodies.load(call.response) if call.response else None,
        error=call.error,
        cost_micros=call.cost_micros or 0,
        acts=call.egress or call.effect != "none",
        approved=call.question_id is not None,
    )


def last_asked(run_id: int, agent: str) -> str:
    """The place at which the agent's model was asked last; empty when it was not."""
    call = Call.objects.filter(run_id=run_id, kind=CallKind.MODEL, name=agent).order_by("-pk").first()
    steps = list(Step.objects.filter(run_id=run_id).order_by("seq"))
    return _places(steps)[call.step_id] if call else ""


def _escalation(question: Question, places: Mapping[int, str]) -> TrialEscalation:
    answer = question.verb or ("" if question.state == QuestionState.OPEN else question.state)
    return TrialEscalation(
        kind=question.kind,
        title=question.title,
        reason=question.reason,
        tool=question.tool,
        place=places.get(question.step_id, "") if question.step_id else "",
        failed=tuple(one["title"] for one in question.evidence if not one["ok"]),
        answer=answer,
        text=question.answer_text,
    )


def escalation(question_id: int) -> TrialEscalation:
    """An open question, for an author's function that decides what to answer."""
    question = Question.objects.select_related("run", "step").get(pk=question_id)
    steps = list(Step.objects.filter(run=question.run).order_by("seq"))
    return _escalation(question, _places(steps))


def _event(event: Event, places: Mapping[int, str]) -> TrialEvent:
    return TrialEvent(
        kind=event.kind, place=places.get(event.step_id, "") if event.step_id else "", data=event.data
    )
