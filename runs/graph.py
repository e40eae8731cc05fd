"""Where the boxes and lines of a workflow's drawing go: layered, left to right. Pure geometry; draws nothing.

Layers by the longest way from a beginning, ways back left out; lines over several layers pass through
waypoints; order within a layer by the mean place of the neighbours (Sugiyama's method in short).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

BOX_WIDTH = 138
BOX_HEIGHT = 44
GAP_X = 46
GAP_Y = 26
MARGIN = 10
_SWEEPS = 4
_TIP = 7

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
class Line:
    """A way between two places: the path, and the triangle at its end."""

    source: str
    target: str
    path: str
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Everything that is drawn, and how large it is."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int


def layout(names: Sequence[str], ways: Sequence[Way]) -> Drawing:
    """Place every name and way. Ways to unknown names are left out; order in `names` breaks ties."""
    known = [way for way in ways if way[0] in names and way[1] in names]
    forward, back = _without_cycles(names, known)
    layer = _layers(names, forward)
    rows = _rows(names, forward, layer)
    boxes = {name: _box(name, layer[name], rows[name]) for name in names}
    bottom = max((box.y + box.height for box in boxes.values()), default=MARGIN)
    lines = [_forward_line(way, layer, rows, boxes) for way in forward]
    lines += [_back_line(way, boxes, bottom + GAP_Y * (place + 1)) for place, way in enumerate(back)]
    lowest = max([bottom, *(_row_y(row) + BOX_HEIGHT for row in rows.values())])
    return Drawing(
        boxes=tuple(boxes.values()),
        lines=tuple(lines),
        width=max((box.x + box.width for box in boxes.values()), default=0) + MARGIN,
        height=lowest + MARGIN + GAP_Y * len(back),
    )


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


def _box(name: str, layer: int, row: int) -> Box:
    return Box(name=name, x=MARGIN + layer * (BOX_WIDTH + GAP_X), y=_row_y(row))


def _row_y(row: int) -> int:
    return MARGIN + row * (BOX_HEIGHT + GAP_Y)


def _forward_line(
    way: Way, layer: Mapping[str, int], rows: Mapping[_Slot, int], boxes: Mapping[str, Box]
) -> Line:
    """From the right edge of the source, through its waypoints, to the left edge of the target."""
    source, target = boxes[way[0]], boxes[way[1]]
    x, y = source.x + source.width, source.middle
    path = f"M{x} {y}"
    for slot in _chain(way, layer)[1:-1]:
        column = slot[2]
        left = MARGIN + int(column) * (BOX_WIDTH + GAP_X)
        passing = _row_y(rows[slot]) + BOX_HEIGHT // 2
        path += _bend(x, y, left, passing) + f"H{left + BOX_WIDTH}"
        x, y = left + BOX_WIDTH, passing
    end = target.x - _TIP
    path += _bend(x, y, end, target.middle)
    tip = f"M{target.x} {target.middle}l-{_TIP} -4v8z"
    return Line(source=way[0], target=way[1], path=path, tip=tip)


def _bend(x: int, y: int, to_x: int, to_y: int) -> str:
    if y == to_y:
        return f"H{to_x}"
    half = (x + to_x) // 2
    return f"C{half} {y} {half} {to_y} {to_x} {to_y}"


def _back_line(way: Way, boxes: Mapping[str, Box], depth: int) -> Line:
    """Down, under everything, and up into the target from below."""
    source, target = boxes[way[0]], boxes[way[1]]
    out, into = source.x + source.width * 2 // 3, target.x + target.width // 3
    foot, top = source.y + source.height, target.y + target.height
    path = f"M{out} {foot}V{depth}H{into}V{top + _TIP}"
    return Line(source=way[0], target=way[1], path=path, tip=f"M{into} {top}l-4 {_TIP}h8z")
