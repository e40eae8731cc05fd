"""The course a run took through its workflow: the drawing, with what happened at each box and along each line. Pure.

It knows no single step, only what they add up to: a history of ten thousand steps is drawn like one of three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from runs.definitions import END, Supervised, Workflow
from runs.models import RunState, StepState
from runs.models.run import FINAL
from runs.models.step import SETTLED_STEPS
from runs.shown import graph
from runs.shown.drawing import ROOM_BESIDE, Place, Sketch, from_top, sketch, work_of
from runs.shown.glyphs import glyph
from runs.shown.labels import Label

TALL = 58  # a box with two lines below its name
LETTERS = 23  # in a line below the name

CUT = "cut"  # by a stop, and nobody has taken it up again
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
    """The workflow's drawing with the run on it. `said` says the same in words; `ended`: it came to the end; `column`:
    the same from top to bottom."""

    drawn: Sketch
    places: tuple[Place, ...]
    ways: tuple[Way, ...]
    said: str
    ended: bool
    column: Course | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """What the visits to one node add up to. `counts` are by state, with NOT_NEEDED beside them; `tasks`: they were
    tasks of plans; the rest is about the last visit."""

    counts: Mapping[str, int]
    state: str
    tasks: bool = False
    answered_by: str = ""
    tries: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def begun(self) -> bool:
        return self.total > self.counts.get(StepState.READY, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Went:
    """What the drawing needs of a run: the visits by node, every line that was gone along, the node of the newest step,
    and of the newest begun one that is no task."""

    state: str
    visits: Mapping[str, Visits]
    ways: Set[tuple[str, str]] = frozenset()
    newest: str | None = None
    newest_of_its_own: str | None = None


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
    height = TALL if tall else graph.BOX_HEIGHT
    wide = sketch(workflow, height=height, room=ROOM_BESIDE)
    column = from_top(workflow, height=height)
    if wide is None or column is None:
        return None
    gone = _gone(workflow, went)
    done = went.state == RunState.DONE
    return _on(wide, told, gone, workflow, done, column=_on(column, told, gone, workflow, done))


def _on(
    drawn: Sketch,
    told: Mapping[str, _Told],
    gone: Set[tuple[str, str]],
    workflow: Workflow,
    ended: bool,
    *,
    column: Course | None = None,
) -> Course:
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
        ended=ended,
        column=column,
    )


def ahead(workflow: Workflow, went: Went) -> list[str]:
    """Nodes that nobody has come to and the run may still come to, in the definition's order."""
    if workflow.recorded:
        return []
    visited = set(went.visits)
    pattern = workflow.pattern
    if isinstance(pattern, Supervised):
        names = [pattern.supervisor.name, *(node.name for node in pattern.then)]
        return [name for name in names if name not in visited]
    reachable = _reachable(workflow, went.newest or workflow.nodes[0].name)
    return [node.name for node in workflow.nodes if node.name in reachable - visited]


def _reachable(workflow: Workflow, start: str) -> set[str]:
    onward: dict[str, list[str]] = {}
    for way in workflow.ways:
        onward.setdefault(way.source, []).append(way.target)
    waiting = [start]
    found = set(waiting)
    while waiting:
        for target in onward.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def _gone(workflow: Workflow, went: Went) -> set[tuple[str, str]]:
    """Every line that was gone along: between steps in order, from plans to begun tasks, from done tasks on."""
    found = set(went.ways)
    pattern = workflow.pattern
    if isinstance(pattern, Supervised) and pattern.then:
        first = pattern.then[0].name
        if first in went.visits and went.visits[first].begun:
            joined = [
                name for name, one in went.visits.items() if one.tasks and one.counts.get(StepState.DONE)
            ]
            found |= {(name, first) for name in joined}
    if went.state == RunState.DONE and went.newest_of_its_own:
        found.add((went.newest_of_its_own, END))
    return found


def _told(workflow: Workflow, name: str, went: Went) -> _Told:
    visits = went.visits.get(name)
    who = work_of(workflow.node(name))
    if visits is None:
        return _Told(under=who)
    if visits.tasks:
        return _of_tasks(visits)
    if visits.state == StepState.READY:
        return _Told(under=who)
    drawing, tone = glyph(visits.state)
    here = went.state not in FINAL and name == went.newest
    return _Told(
        under=_under(visits, who),
        state="here" if here else "done",
        glyph=drawing,
        tone="sound" if visits.state == StepState.DONE else tone,
    )


def _of_tasks(visits: Visits) -> _Told:
    """A box that stands for many tasks: "6 of 12 done", and below it "1 waits"."""
    counts = Counter(visits.counts)
    state = next((one for one in _WEIGHT if counts[one]), StepState.ENDED)
    drawing, tone = glyph(state)
    unsettled = visits.total - sum(counts[one] for one in (*SETTLED_STEPS, NOT_NEEDED))
    rest = [f"{counts[one]} {_said_of(word, counts[one])}" for one, word in _WORDS.items() if counts[one]]
    return _Told(
        under=f"{counts[StepState.DONE]} of {visits.total} done",
        more=", ".join(rest),
        state="here" if visits.begun and unsettled else "done" if visits.begun else "ahead",
        glyph=drawing,
        tone="sound" if state == StepState.DONE else tone,
    )


def _said_of(word: str, number: int) -> str:
    return "wait" if word == "waits" and number > 1 else word


def _under(visits: Visits, who: str) -> str:
    if visits.answered_by:
        return f"by {visits.answered_by}"
    if visits.state == StepState.WAITING:
        return "waits for a person"
    if visits.state in (StepState.FAILED, StepState.ENDED):
        return visits.state
    if visits.state == CUT:
        return "cut by a stop"
    if visits.total > 1:
        return _with(who, f", {visits.total} visits")
    return _with(who, f", {visits.tries} attempts") if visits.tries > 1 else who


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
