"""The drawing of a workflow's definition: its nodes, its ways with what they say, where it ends. Pure.

Where everything stands is decided by `runs.shown.graph` and, for narrow pages, by `runs.shown.column`; what happened in
a run is put on top by `runs.shown.history`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from runs.claims import a_person
from runs.definitions import END, Agent, Node, Orchestrated, Supervised, Workflow
from runs.shown import column, graph
from runs.shown.graph import Box, Drawing
from runs.shown.layers import Way

PAD = 9  # between the workers and the frame round them
HEAD = 18  # above it, for what it says
END_WIDTH = 54
ROOM = 1380  # of a page on a screen of 1440 px
_STEPS = (400, 540, 720, 900, 1040)  # px of page at which `workflows.css` changes to the column
ROOM_BESIDE = 1008  # of the main column there, beside figures and people


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """The frame round the workers of a supervisor, and what stands above them."""

    x: int
    y: int
    width: int
    height: int
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A box with what is written in it: its name, up to two lines below, a glyph. state: plain, done, here, ahead."""

    box: Box
    name: str
    under: str = ""
    more: str = ""
    state: str = "plain"
    glyph: str = ""
    tone: str = "idle"
    href: str = ""

    @property
    def title(self) -> str:
        """The name, as much of it as the box has room for."""
        return _cut(self.name, (self.box.width - (32 if self.glyph else 10)) // 7)

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands below the name, as much of it as the box has room for."""
        return tuple(_cut(one, (self.box.width - 6) // 6) for one in (self.under, self.more) if one)

    @property
    def said(self) -> str:
        return ", ".join(one for one in (self.name, self.under, self.more) if one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A definition laid out. `ends` says that END is one of the boxes."""

    drawing: Drawing
    fan: Fan | None
    ends: bool

    @property
    def top(self) -> int:
        """Where the drawing begins: above zero there is room for the frame's words."""
        return -HEAD if self.fan else 0

    @property
    def height(self) -> int:
        return self.drawing.height - self.top

    @property
    def needs(self) -> str:
        """The width of page that it needs, in steps; narrower pages show the column instead."""
        wide = self.drawing.width + 2 * graph.MARGIN
        return str(next((step for step in _STEPS if wide <= step), "most"))

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Those of nodes."""
        return tuple(box for box in self.drawing.boxes if not (self.ends and box.name == END))

    @property
    def end(self) -> Box | None:
        return next((box for box in self.drawing.boxes if self.ends and box.name == END), None)


def sketch(workflow: Workflow, *, height: int = graph.BOX_HEIGHT, room: int = ROOM) -> Sketch | None:
    """The workflow laid out in at most `room` px where it can be; None for one whose nodes are not known beforehand."""
    return _sketched(workflow, partial(graph.layout, height=height, room=room))


def from_top(workflow: Workflow, *, height: int = graph.BOX_HEIGHT) -> Sketch | None:
    """The same from top to bottom, for narrow pages."""
    above = _workers(workflow)[:1]
    return _sketched(workflow, partial(column.layout, height=height, above=dict.fromkeys(above, HEAD + PAD)))


def _sketched(workflow: Workflow, layout: Callable[..., Drawing]) -> Sketch | None:
    names = [node.name for node in workflow.nodes]
    if workflow.recorded or not names:
        return None
    ends = isinstance(workflow.pattern, Orchestrated) and END not in names
    says = _says(workflow)
    drawing = layout(
        [*names, END] if ends else names,
        list(says),
        says=says,
        widths={END: END_WIDTH} if ends else {},
    )
    return Sketch(drawing=drawing, fan=_fan(workflow, drawing), ends=ends)


def work_of(node: Node) -> str:
    """Who works there, in a word."""
    if isinstance(node.work, Agent):
        return node.work.name
    return "a person" if node.work is a_person else "function"


def tasks_in_words(pattern: Supervised) -> str:
    """How many tasks a plan may have, how deep and how wide."""
    found = [f"up to {pattern.most_tasks} tasks", f"{pattern.width} side by side"]
    if pattern.depth > 1:
        found.append(f"plans {pattern.depth} deep")
    return ", ".join(found)


def _says(workflow: Workflow) -> dict[Way, str]:
    """Every way once, in the definition's order, with the words of all that lead the same way."""
    found: dict[Way, list[str]] = {}
    for source, target, words in _ways(workflow):
        said = found.setdefault((source, target), [])
        if words and words not in said:
            said.append(words)
    return {way: " or ".join(words) for way, words in found.items()}


def _ways(workflow: Workflow) -> Iterable[tuple[str, str, str]]:
    pattern = workflow.pattern
    if isinstance(pattern, Orchestrated):
        return [(edge.source, edge.target, _edge_says(edge.says, edge.most)) for edge in pattern.edges]
    return [(way.source, way.target, way.says) for way in workflow.ways]


def _edge_says(says: str, most: int | None) -> str:
    if most is None:
        return says
    bound = f"at most {most:,}×"
    return f"{says}, {bound}" if says else bound


def _fan(workflow: Workflow, drawing: Drawing) -> Fan | None:
    pattern, workers = workflow.pattern, _workers(workflow)
    if not isinstance(pattern, Supervised):
        return None
    boxes: Sequence[Box] = [box for box in drawing.boxes if box.name in workers]
    if not boxes:
        return None
    left, top = min(box.x for box in boxes) - PAD, min(box.y for box in boxes) - PAD
    right = max(box.x + box.width for box in boxes) + PAD
    bottom = max(box.y + box.height for box in boxes) + PAD
    return Fan(x=left, y=top, width=right - left, height=bottom - top, says=tasks_in_words(pattern))


def _workers(workflow: Workflow) -> list[str]:
    pattern = workflow.pattern
    return [worker.name for worker in pattern.workers] if isinstance(pattern, Supervised) else []


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: max(1, letters - 1)]}…"
