"""The course a run took through its workflow: the drawing, with what happened at each box and along each line. Pure.

Which line was gone along comes from the steps themselves: one after the other, or from a plan to its tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

from runs.definitions import END, Supervised, Workflow
from runs.models import RunState, Step, StepState
from runs.models.step import SETTLED_STEPS
from runs.shown import graph
from runs.shown.drawing import ROOM_BESIDE, Place, Sketch, sketch, work_of
from runs.shown.glyphs import glyph
from runs.shown.labels import Label

TALL = 58  # a box with two lines below its name
LETTERS = 23  # in a line below the name

NOT_NEEDED = "not needed"  # ended because enough others were done
_WORDS = {
    StepState.WAITING.value: "waits",
    StepState.FAILED.value: "failed",
    StepState.RUNNING.value: "running",
    StepState.SLEEPING.value: "sleeping",
    StepState.READY.value: "planned",
    StepState.ENDED.value: "ended",
    NOT_NEEDED: NOT_NEEDED,
}
_WEIGHT = (
    StepState.WAITING,
    StepState.FAILED,
    StepState.RUNNING,
    StepState.SLEEPING,
    StepState.DONE,
    StepState.ENDED,
    StepState.READY,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A line of the drawing, what it says, and whether the run went along it."""

    source: str
    target: str
    path: str
    tip: str
    went: bool
    says: str = ""
    label: Label = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The workflow's drawing with the run on it. `said` says the same in words; `ended`: it came to the end."""

    drawn: Sketch
    places: tuple[Place, ...]
    ways: tuple[Way, ...]
    said: str
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Went:
    """What the drawing needs of a run: its steps in order, how many attempts each had, which were not needed."""

    state: str
    steps: Sequence[Step]
    tries: Mapping[int, int]
    dropped: Set[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What stands in a box."""

    under: str
    more: str = ""
    state: str = "ahead"
    glyph: str = "ahead"
    tone: str = "idle"


def course(workflow: Workflow, went: Went) -> Course | None:
    """The run on its workflow's drawing; None when there is nothing to draw."""
    told = {node.name: _told(workflow, node.name, went) for node in workflow.nodes}
    tall = any(one.more for one in told.values())
    drawn = sketch(workflow, height=TALL if tall else graph.BOX_HEIGHT, room=ROOM_BESIDE)
    if drawn is None:
        return None
    gone = _gone(workflow, went)
    places = tuple(_place(box, told[box.name]) for box in drawn.boxes)
    ways = tuple(
        Way(
            source=line.source,
            target=line.target,
            path=line.path,
            tip=line.tip,
            went=(line.source, line.target) in gone,
            says=line.says,
            label=line.label,
        )
        for line in drawn.drawing.lines
    )
    return Course(
        drawn=drawn,
        places=places,
        ways=tuple(sorted(ways, key=lambda way: way.went)),  # what was gone along is drawn on top
        said=_said(workflow, places),
        ended=went.state == RunState.DONE,
    )


def ahead(workflow: Workflow, steps: Sequence[Step]) -> list[str]:
    """Nodes that nobody has come to and the run may still come to, in the definition's order."""
    if workflow.recorded:
        return []
    visited = {step.node for step in steps}
    pattern = workflow.pattern
    if isinstance(pattern, Supervised):
        names = [pattern.supervisor.name, *(node.name for node in pattern.then)]
        return [name for name in names if name not in visited]
    reachable = _reachable(workflow, steps)
    return [node.name for node in workflow.nodes if node.name in reachable - visited]


def _reachable(workflow: Workflow, steps: Sequence[Step]) -> set[str]:
    onward: dict[str, list[str]] = {}
    for way in workflow.ways:
        onward.setdefault(way.source, []).append(way.target)
    waiting = [steps[-1].node] if steps else [workflow.nodes[0].name]
    found = set(waiting)
    while waiting:
        for target in onward.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def _gone(workflow: Workflow, went: Went) -> set[tuple[str, str]]:
    """Every line that was gone along: between steps in order, from plans to begun tasks, from done tasks on."""
    begun = [step for step in went.steps if step.state != StepState.READY]
    nodes = {step.pk: step.node for step in went.steps}
    top = [step.node for step in begun if step.parent_id is None]
    found = set(pairwise(top))
    found |= {(nodes[step.parent_id], step.node) for step in begun if step.parent_id in nodes}
    pattern = workflow.pattern
    if isinstance(pattern, Supervised) and pattern.then and pattern.then[0].name in top:
        joined = {step.node for step in begun if step.parent_id and step.state == StepState.DONE}
        found |= {(node, pattern.then[0].name) for node in joined}
    if went.state == RunState.DONE and top:
        found.add((top[-1], END))
    return found


def _told(workflow: Workflow, name: str, went: Went) -> _Told:
    visits = [step for step in went.steps if step.node == name]
    who = work_of(workflow.node(name))
    if not visits:
        return _Told(under=who)
    state = next(one for one in _WEIGHT if any(visit.state == one for visit in visits))
    if any(visit.parent_id for visit in visits):
        return _of_tasks(visits, state, went.dropped)
    last = visits[-1]
    drawing, tone = glyph(last.state)
    here = went.state not in ("done", "failed", "ended") and last.pk == went.steps[-1].pk
    if last.state == StepState.READY:
        return _Told(under=who)
    return _Told(
        under=_under(last, who, went.tries.get(last.pk, 0), len(visits)),
        state="here" if here else "done",
        glyph=drawing,
        tone="sound" if last.state == StepState.DONE else tone,
    )


def _of_tasks(visits: Sequence[Step], state: StepState, dropped: Set[int]) -> _Told:
    """A box that stands for many tasks: "6 of 12 done", and below it "1 waits"."""
    counts = Counter(NOT_NEEDED if visit.pk in dropped else str(visit.state) for visit in visits)
    drawing, tone = glyph(state)
    begun = any(visit.state != StepState.READY for visit in visits)
    going = begun and any(visit.state not in SETTLED_STEPS for visit in visits)
    rest = [f"{counts[one]} {_said_of(word, counts[one])}" for one, word in _WORDS.items() if counts[one]]
    return _Told(
        under=f"{counts[StepState.DONE]} of {len(visits)} done",
        more=", ".join(rest),
        state="here" if going else "done" if begun else "ahead",
        glyph=drawing,
        tone="sound" if state == StepState.DONE else tone,
    )


def _said_of(word: str, number: int) -> str:
    return "wait" if word == "waits" and number > 1 else word


def _under(step: Step, who: str, tries: int, visits: int) -> str:
    if step.answered_by:
        return f"by {step.answered_by}"
    if step.state == StepState.WAITING:
        return "waits for a person"
    if step.state in (StepState.FAILED, StepState.ENDED):
        return str(step.state)
    if visits > 1:
        return _with(who, f", {visits} visits")
    return _with(who, f", {tries} attempts") if tries > 1 else who


def _with(who: str, tail: str) -> str:
    """Both in a line of a box: the number stands there in full, the name as far as it fits."""
    room = LETTERS - len(tail)
    return f"{who if len(who) <= room else who[: room - 1] + '…'}{tail}"


def _place(box: graph.Box, told: _Told) -> Place:
    return Place(
        box=box,
        name=box.name,
        under=told.under,
        more=told.more,
        state=told.state,
        glyph=told.glyph,
        tone=told.tone,
    )


def _said(workflow: Workflow, places: Sequence[Place]) -> str:
    """The drawing in words, for those who do not see it."""
    done = [_named(place) for place in places if place.state == "done"]
    here = [
        f"{place.name} ({', '.join(filter(None, (place.under, place.more)))})"
        for place in places
        if place.state == "here"
    ]
    ahead = [place.name for place in places if place.state == "ahead"]
    parts = [
        f"{words}: {', '.join(names)}"
        for words, names in (("behind", done), ("now at", here), ("ahead", ahead))
        if names
    ]
    return f"{workflow.name} v{workflow.version}. {'; '.join(parts)}."


def _named(place: Place) -> str:
    return f"{place.name} ({place.under}, {place.more})" if place.more else place.name
