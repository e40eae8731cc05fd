"""What may be quoted in a run: inputs and tool results of the steps that a verify step checks. Reads only.

What an agent has said is left out: an input that comes after an agent's step is none, nor what a tool repeats.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q

from runs import bodies
from runs.definitions import Verifies
from runs.guards.grounding import Evidence, Source, plain, said_in, source
from runs.guards.likeness import leaves
from runs.models import Attempt, Call, CallKind, CallState, Step, StepState

INPUT = "input"  # what a quotation of a checked step's own input names as its source


def of(step: Step, verifies: Verifies) -> Evidence:
    """Everything that claims given to this verify step may quote."""
    before = Step.objects.filter(run_id=step.run_id, seq__lt=step.seq).select_related("input", "output")
    steps = list(before.order_by("seq"))
    inputs = [one for one in steps if one.node in verifies.nodes and not _after_an_agent(one)]
    given = [
        plain(str(leaf)) for one in inputs for _, leaf in leaves(bodies.load(one.input)) if leaf is not None
    ]
    return Evidence(
        sources=(
            *(source(INPUT, bodies.load(one.input)) for one in inputs),
            *_records(steps, verifies),
            *_results(step, steps, verifies),
        ),
        given=tuple(dict.fromkeys(given)),
    )


def _after_an_agent(step: Step) -> bool:
    """Whether an agent worked before this step, so that its words may be in what the step was given; or a person
    changed what an agent had said."""
    before = Q(step__run_id=step.run_id, step__parent=None, step__seq__lt=_top(step).seq)
    above = Q(step__in=[one.pk for one in _above(step)])
    return Attempt.objects.filter(before | above).exclude(agent="").exists()


def _above(step: Step) -> Iterator[Step]:
    while step.parent is not None:
        step = step.parent
        yield step


def _top(step: Step) -> Step:
    return next(reversed([step, *_above(step)]))


def _records(steps: list[Step], verifies: Verifies) -> Iterator[Source]:
    """What function nodes read; what they were given, they only hand on."""
    for one in steps:
        if (
            one.node in verifies.sources
            and one.state == StepState.DONE
            and one.output
            and not one.answered_by
        ):
            yield source(one.node, bodies.load(one.output), tuple(said_in(bodies.load(one.input))))


def _results(step: Step, steps: list[Step], verifies: Verifies) -> Iterator[Source]:
    """The results of tools, each with all that agents had put into calls until then."""
    checked = {one.pk for one in steps if one.node in verifies.nodes} | {step.pk}
    calls = Call.objects.filter(run_id=step.run_id, kind=CallKind.TOOL).select_related("request", "response")
    said: list[str] = []
    for call in calls.order_by("pk"):
        said += said_in(bodies.load(call.request).get("arguments"))
        if call.step_id in checked and call.state == CallState.DONE and call.response:
            yield source(call.name, bodies.load(call.response), tuple(said))
