"""Where the boxes and lines of a workflow's drawing go: layered, left to right. Pure geometry; draws nothing.

Layers by the longest way from a beginning, ways back left out; lines over several layers pass through
waypoints; order within a layer by the mean place of the neighbours (Sugiyama's method in short). What a line says
stands in the gap before its target, in the first waypoint it passes, or on the way back below everything.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

BOX_WIDTH = 150
BOX_HEIGHT = 44
GAP_X = 46
GAP_Y = 26
MARGIN = 10
_SWEEPS = 4
_TIP = 7
_LETTER = 6.2  # width of a letter at 11 px, generously
_LEADING = 12
_NARROW, _WIDE = 14, 24  # letters in a line between two columns, and where there is a box's width

Way = tuple[str, str]
_Slot = str | tuple[str, str, int]  # a place, or the waypoint of a way in a layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A place of the workflow. Coordinates are of its upper left corner, in SVG units."""

    name: str
    x: int
    y: int
    width: int = BOX_WIDTH
    height: int = BOX_HEIGHT

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One line of a label: the middle of its text, and the text, cut if it is too long."""

    x: int
    y: int
    text: str

    @property
    def left(self) -> float:
        return self.x - len(self.text) * _LETTER / 2

    @property
    def right(self) -> float:
        return self.x + len(self.text) * _LETTER / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A way between two places: the path, the triangle at its end, and what it says, in full and as written."""

    source: str
    target: str
    path: str
    tip: str
    says: str = ""
    label: tuple[Written, ...] = ()
    reach: int = 0  # how far right it goes, when that is beyond the boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Everything that is drawn, and how large it is."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int


def layout(
    names: Sequence[str],
    ways: Sequence[Way],
    *,
    says: Mapping[Way, str] | None = None,
    height: int = BOX_HEIGHT,
) -> Drawing:
    """Place every name and way, with what each way says. Ways to unknown names are left out; order in `names`
    breaks ties. `height` is that of every box."""
    words = says or {}
    known = [way for way in ways if way[0] in names and way[1] in names]
    forward, back = _without_cycles(names, known)
    layer = _layers(names, forward)
    grid = _Grid(
        layer=layer,
        rows=_rows(names, forward, layer),
        columns=_columns(forward, layer, words),
        height=height,
    )
    boxes = {name: grid.box(name) for name in names}
    bottom = max((grid.y(row) + height for row in grid.rows.values()), default=MARGIN)
    lines = [_forward_line(way, grid, boxes, words.get(way, "")) for way in forward]
    lines += [
        _back_line(way, boxes, place, bottom + GAP_Y * (place + 1), words.get(way, ""))
        for place, way in enumerate(back)
    ]
    right = max([0, *(box.x + box.width for box in boxes.values()), *(line.reach for line in lines)])
    return Drawing(
        boxes=tuple(boxes.values()),
        lines=_apart(lines),
        width=right + MARGIN,
        height=bottom + MARGIN + GAP_Y * len(back),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Where columns and rows stand. `columns` are the left edges of the layers."""

    layer: Mapping[str, int]
    rows: Mapping[_Slot, int]
    columns: Sequence[int]
    height: int

    def y(self, row: int) -> int:
        return MARGIN + row * (self.height + GAP_Y)

    def box(self, name: str) -> Box:
        return Box(name=name, x=self.columns[self.layer[name]], y=self.y(self.rows[name]), height=self.height)


def _columns(forward: Sequence[Way], layer: Mapping[str, int], words: Mapping[Way, str]) -> list[int]:
    """The left edge of every layer; a gap is as wide as what is written in it."""
    gaps = [GAP_X] * (max(layer.values(), default=0) + 1)
    for way in forward:
        column = layer[way[0]]
        if layer[way[1]] == column + 1:
            longest = max((len(text) for text in _wrapped(words.get(way, ""), _NARROW)), default=0)
            gaps[column] = max(gaps[column], int(longest * _LETTER) + 18 if longest else 0)
    found = [MARGIN]
    for gap in gaps:
        found.append(found[-1] + BOX_WIDTH + gap)
    return found


def _wrapped(text: str, letters: int, lines: int = 2) -> list[str]:
    """At most so many lines; what does not fit ends with an ellipsis."""
    return textwrap.wrap(text, letters, max_lines=lines, placeholder="…", break_on_hyphens=False)


def _without_cycles(names: Sequence[str], ways: Sequence[Way]) -> tuple[list[Way], list[Way]]:
    """The ways that lead on, and those that lead back to a place still being walked through."""
    onward: dict[str, list[str]] = {name: [] for name in names}
    for source, target in ways:
        onward[source].append(target)
    done: set[str] = set()
    back: set[Way] = set()
    for start in names:
        _walk(start, onward, done, back)
    return [way for way in ways if way not in back], [way for way in ways if way in back]


def _walk(start: str, onward: Mapping[str, list[str]], done: set[str], back: set[Way]) -> None:
    """Depth first without recursion: a workflow may be longer than Python's stack is deep."""
    if start in done:
        return
    path, walking = [(start, iter(onward[start]))], {start}
    while path:
        name, targets = path[-1]
        target = next(targets, None)
        if target is None:
            path.pop()
            walking.discard(name)
            done.add(name)
        elif target in walking:
            back.add((name, target))
        elif target not in done:
            walking.add(target)
            path.append((target, iter(onward[target])))


def _layers(names: Sequence[str], forward: Sequence[Way]) -> dict[str, int]:
    """The longest way from a beginning to each name, counted in steps."""
    layer = dict.fromkeys(names, 0)
    for _ in names:
        moved = False
        for source, target in forward:
            if layer[target] <= layer[source]:
                layer[target] = layer[source] + 1
                moved = True
        if not moved:
            break
    return layer


def _rows(names: Sequence[str], forward: Sequence[Way], layer: Mapping[str, int]) -> dict[_Slot, int]:
    """A row for every place and waypoint, so that few lines cross."""
    columns: list[list[_Slot]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for name in names:
        columns[layer[name]].append(name)
    near: dict[_Slot, list[_Slot]] = {}
    for way in forward:
        chain = _chain(way, layer)
        for slot in chain[1:-1]:
            columns[slot[2]].append(slot)  # type: ignore[index]  # waypoints are triples
        for left, right in pairwise(chain):
            near.setdefault(right, []).append(left)
            near.setdefault(left, []).append(right)
    for _ in range(_SWEEPS):
        places = {slot: float(row) for column in columns for row, slot in enumerate(column)}
        for column in columns:
            column.sort(key=lambda slot, places=places: _mean(slot, near, places))  # type: ignore[misc]
    return {slot: row for column in columns for row, slot in enumerate(column)}


def _chain(way: Way, layer: Mapping[str, int]) -> list[_Slot]:
    source, target = way
    waypoints = [(source, target, place) for place in range(layer[source] + 1, layer[target])]
    return [source, *waypoints, target]


def _mean(slot: _Slot, near: Mapping[_Slot, list[_Slot]], places: Mapping[_Slot, float]) -> float:
    neighbours = near.get(slot, [])
    if not neighbours:
        return places[slot]
    return sum(places[one] for one in neighbours) / len(neighbours)


def _forward_line(way: Way, grid: _Grid, boxes: Mapping[str, Box], says: str) -> Line:
    """From the right edge of the source, through its waypoints, to the left edge of the target."""
    source, target = boxes[way[0]], boxes[way[1]]
    x, y = source.x + source.width, source.middle
    path = f"M{x} {y}"
    label: tuple[Written, ...] = ()
    for slot in _chain(way, grid.layer)[1:-1]:
        left, passing = grid.columns[int(slot[2])], grid.y(grid.rows[slot]) + grid.height // 2
        path += _bend(x, y, left, passing) + f"H{left + BOX_WIDTH}"
        label = label or _written(_wrapped(says, _WIDE), left + BOX_WIDTH // 2, passing - 5)
        x, y = left + BOX_WIDTH, passing
    end = target.x - _TIP
    path += _bend(x, y, end, target.middle)
    if not label:
        label = _written(_wrapped(says, _NARROW), (x + end) // 2, (y + target.middle) // 2 - 5)
    tip = f"M{target.x} {target.middle}l-{_TIP} -4v8z"
    return Line(source=way[0], target=way[1], path=path, tip=tip, says=says, label=label)


def _written(lines: Sequence[str], x: int, bottom: int) -> tuple[Written, ...]:
    """Lines of text whose last one stands at `bottom`."""
    top = bottom - _LEADING * (len(lines) - 1)
    return tuple(Written(x=x, y=top + _LEADING * place, text=text) for place, text in enumerate(lines))


def _bend(x: int, y: int, to_x: int, to_y: int) -> str:
    if y == to_y:
        return f"H{to_x}"
    half = (x + to_x) // 2
    return f"C{half} {y} {half} {to_y} {to_x} {to_y}"


def _back_line(way: Way, boxes: Mapping[str, Box], place: int, depth: int, says: str) -> Line:
    """Down, under everything, and up into the target; past the side of a box that has others below it."""
    source, target = boxes[way[0]], boxes[way[1]]
    lane = 6 + 5 * (place % 4)
    reach = 0
    if _lowest(source, boxes):
        out, foot = source.x + source.width * 2 // 3, source.y + source.height
        path = f"M{out} {foot}V{depth}"
    else:
        out = reach = source.x + source.width + lane
        path = f"M{source.x + source.width} {source.middle + 9}H{out}V{depth}"
    if _lowest(target, boxes):
        into, top = target.x + target.width // 3, target.y + target.height
        path += f"H{into}V{top + _TIP}"
        tip = f"M{into} {top}l-4 {_TIP}h8z"
    else:
        into, level = max(1, target.x - _TIP - lane), target.middle + 9
        path += f"H{into}V{level}H{target.x - _TIP}"
        tip = f"M{target.x} {level}l-{_TIP} -4v8z"
    room = max(_WIDE, int((out - into) / _LETTER) - 2)
    label = _written(_wrapped(says, room, lines=1), max((out + into) // 2, 90), depth - 4)
    return Line(source=way[0], target=way[1], path=path, tip=tip, says=says, label=label, reach=reach)


def _lowest(box: Box, boxes: Mapping[str, Box]) -> bool:
    return not any(other.x == box.x and other.y > box.y for other in boxes.values())


def _apart(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines with labels moved up or down until none stands on another."""
    taken: list[Written] = []
    found = []
    for line in lines:
        label = next(
            (
                moved
                for shift in (0, 22, -22, 44, -44, 66, -66)
                if not _clashes(moved := tuple(replace(one, y=one.y + shift) for one in line.label), taken)
            ),
            line.label,
        )
        taken += label
        found.append(replace(line, label=label))
    return tuple(found)


def _clashes(label: Sequence[Written], taken: Sequence[Written]) -> bool:
    return any(
        abs(one.y - other.y) < _LEADING - 1 and one.left < other.right and other.left < one.right
        for one in label
        for other in taken
    )
