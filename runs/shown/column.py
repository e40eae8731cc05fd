"""The same drawing from top to bottom, for narrow pages: one column of boxes. Pure geometry; draws nothing.

A way to the box right below is an arrow down. Every other way leaves its box below, on a row of its own that has room
for what it says, and runs beside the boxes: on the right where it leads on, on the left where it leads back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from runs.shown import labels, layers
from runs.shown.graph import BOX_HEIGHT, MARGIN, Box, Drawing, Line
from runs.shown.labels import Label, Written
from runs.shown.layers import Way

ROOM = 344  # of a page on a screen of 390 px
_WIDEST = 232  # of a box
_NARROWEST = 144
_LANE = 9  # from one line beside the boxes to the next
_ROW = 16  # of what a way says
_GAP = 22  # between two boxes between which nothing is said
_TIP = 7
_IN = 20  # from a box's side to the first line that leaves it below


def layout(
    names: Sequence[str],
    ways: Sequence[Way],
    *,
    says: Mapping[Way, str] | None = None,
    height: int = BOX_HEIGHT,
    widths: Mapping[str, int] | None = None,
    above: Mapping[str, int] | None = None,
) -> Drawing:
    """Place every name and way, with what each way says. Ways to unknown names are left out; order in `names`
    breaks ties. `height` is that of every box, `widths` has those that differ, `above` the room some need above them.
    As wide as ROOM unless very many lines run beside the boxes."""
    known = [way for way in ways if way[0] in names and way[1] in names]
    forward, back = layers.without_cycles(names, known)
    order = _order(names, forward)
    straight = set(pairwise(order)) & set(forward)
    place = {name: number for number, name in enumerate(order)}
    right = _lanes([way for way in forward if way not in straight], place)
    left = _lanes(back, place)
    return _Column(
        order=order,
        straight=straight,
        right=right,
        left=left,
        words=says or {},
        height=height,
        widths=widths or {},
        above=above or {},
    ).drawing(known)


def _order(names: Sequence[str], forward: Sequence[Way]) -> list[str]:
    """Every name below all that lead to it; where there is a choice the way that goes on longest stays together."""
    onward: dict[str, list[str]] = {name: [] for name in names}
    before = dict.fromkeys(names, 0)
    for source, target in forward:
        onward[source].append(target)
        before[target] += 1
    to_end = layers.layers(names, [(target, source) for source, target in forward])
    ready = [name for name in names if not before[name]]
    order: list[str] = []
    while ready:
        following = [name for name in ready if order and name in onward[order[-1]]]
        chosen = max(following or ready, key=lambda name: to_end[name])
        ready.remove(chosen)
        order.append(chosen)
        for name in onward[chosen]:
            before[name] -= 1
            if not before[name]:
                ready.append(name)
    return order


def _lanes(ways: Sequence[Way], place: Mapping[str, int]) -> dict[Way, int]:
    """Which line beside the boxes each way takes: short ones the nearest; no two on one where they pass each other.
    Ways to the same box may share their end."""
    taken: list[list[tuple[int, int, str]]] = []
    found: dict[Way, int] = {}
    for way in sorted(ways, key=lambda one: abs(place[one[1]] - place[one[0]])):
        begin, end = sorted((place[way[0]], place[way[1]]))
        lane = next(
            (
                number
                for number, used in enumerate(taken)
                if all(_passes(begin, end, way[1], one) for one in used)
            ),
            len(taken),
        )
        if lane == len(taken):
            taken.append([])
        taken[lane].append((begin, end, way[1]))
        found[way] = lane
    return found


def _passes(begin: int, end: int, target: str, other: tuple[int, int, str]) -> bool:
    return end < other[0] or other[1] < begin or target == other[2]


class _Column:
    """Where everything of one column stands."""

    def __init__(
        self,
        *,
        order: Sequence[str],
        straight: set[Way],
        right: Mapping[Way, int],
        left: Mapping[Way, int],
        words: Mapping[Way, str],
        height: int,
        widths: Mapping[str, int],
        above: Mapping[str, int],
    ) -> None:
        self.straight, self.right, self.left, self.words = straight, right, left, words
        beside_left = _LANE * (max(left.values(), default=-1) + 1) + (_TIP if left else 0)
        beside_right = _LANE * (max(right.values(), default=-1) + 1) + (_TIP if right else 0)
        self.begin = MARGIN + beside_left
        self.wide = max(_NARROWEST, min(_WIDEST, ROOM - 2 * MARGIN - beside_left - beside_right))
        self.width = self.begin + self.wide + beside_right + MARGIN
        self.out = {name: self._out(name) for name in order}
        self.boxes: dict[str, Box] = {}
        y = MARGIN
        for name in order:
            own = min(widths.get(name, self.wide), self.wide)
            y += above.get(name, 0)
            self.boxes[name] = Box(
                name=name, x=self.begin + (self.wide - own) // 2, y=y, width=own, height=height
            )
            y += height + self._gap(name)
        self.bottom = max((self._foot(name) for name in order), default=MARGIN) + MARGIN

    def _out(self, name: str) -> list[Way]:
        """The ways that leave a box below, each on a row of its own."""
        back = sorted((way for way in self.left if way[0] == name), key=lambda way: self.left[way])
        onward = sorted((way for way in self.right if way[0] == name), key=lambda way: self.right[way])
        return [*back, *onward]

    def _says_below(self, name: str) -> bool:
        return any(way[0] == name and self.words.get(way) for way in self.straight)

    def _gap(self, name: str) -> int:
        return _GAP + _ROW * (len(self.out[name]) + self._says_below(name))

    def _foot(self, name: str) -> int:
        box = self.boxes[name]
        return box.y + box.height + _ROW * len(self.out[name])

    def _row(self, way: Way) -> int:
        """The height of a way's row; below all of them stand the words of the arrow down."""
        box = self.boxes[way[0]]
        return box.y + box.height + _ROW * (self.out[way[0]].index(way) + 1)

    def drawing(self, ways: Sequence[Way]) -> Drawing:
        lines = [self._line(way) for way in dict.fromkeys(ways)]
        return Drawing(
            boxes=tuple(self.boxes.values()), lines=tuple(lines), width=self.width, height=self.bottom
        )

    def _line(self, way: Way) -> Line:
        if way in self.straight:
            return self._down(way)
        return self._onward(way) if way in self.right else self._back(way)

    def _down(self, way: Way) -> Line:
        source, target = self.boxes[way[0]], self.boxes[way[1]]
        x = source.x + source.width // 2
        label = self._words(way, x, self._foot(way[0]) + _ROW - 4)
        path = f"M{x} {source.y + source.height}V{target.y - _TIP}"
        return self._made(way, path, f"M{x} {target.y}l-4 -{_TIP}h8z", label)

    def _onward(self, way: Way) -> Line:
        source, target = self.boxes[way[0]], self.boxes[way[1]]
        mine = [one for one in self.out[way[0]] if one in self.right]
        x = source.right - min(_IN, source.width // 4) - _LANE * (len(mine) - 1 - mine.index(way))
        row, lane = self._row(way), self.begin + self.wide + _TIP + _LANE * (self.right[way] + 1) - 2
        path = f"M{x} {source.y + source.height}V{row}H{lane}V{target.middle}H{target.right + _TIP}"
        tip = f"M{target.right} {target.middle}l{_TIP} -4v8z"
        return self._made(way, path, tip, self._words(way, (x + lane) // 2, row - 4))

    def _back(self, way: Way) -> Line:
        source, target = self.boxes[way[0]], self.boxes[way[1]]
        mine = [one for one in self.out[way[0]] if one in self.left]
        x = source.x + min(_IN, source.width // 4) + _LANE * (len(mine) - 1 - mine.index(way))
        row, lane = self._row(way), self.begin - _TIP - _LANE * (self.left[way] + 1) + 2
        path = f"M{x} {source.y + source.height}V{row}H{lane}V{target.middle}H{target.x - _TIP}"
        tip = f"M{target.x} {target.middle}l-{_TIP} -4v8z"
        return self._made(way, path, tip, self._words(way, (x + lane) // 2, row - 4))

    def _made(self, way: Way, path: str, tip: str, label: Label) -> Line:
        return Line(
            source=way[0], target=way[1], path=path, tip=tip, says=self.words.get(way, ""), label=label
        )

    def _words(self, way: Way, x: int, y: int) -> Label:
        """One row of words round `x`, inside the drawing."""
        rows = labels.in_one(self.words.get(way, ""), int((self.width - 2 * MARGIN) / labels.LETTER) - 1)
        half = labels.width_of(rows) // 2 + 1
        middle = max(min(x, self.width - MARGIN - half), MARGIN + half)
        return tuple(Written(x=middle, y=y, text=row) for row in rows)
