"""Where the boxes and lines of a workflow's drawing go: layered, left to right. Pure geometry; draws nothing.

A drawing that is wider than its room goes on below, as lines of a text do: its layers are cut into bands. What a line
says stands in the gap before its target, in the first waypoint it passes, or on the long way below a band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

from runs.shown import labels, layers
from runs.shown.labels import Label, Written
from runs.shown.layers import Slot, Way

BOX_WIDTH = 144
BOX_HEIGHT = 44
GAP_X = 46
GAP_Y = 26
MARGIN = 10
SIDE = 26  # beside the boxes of a drawing in bands, for the lines that lead from one to the next
_LEAST_GAP = 24  # as narrow as a gap without words may become before a drawing is cut into bands
_TIP = 7
_LANES = 3  # that lines share beside the boxes
_LEAST_WORDS = 40  # letters that the words on a way back have, however short it is


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

    @property
    def right(self) -> int:
        return self.x + self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A way between two places: the path, the triangle at its end, and what it says, in full and as written."""

    source: str
    target: str
    path: str
    tip: str
    says: str = ""
    label: Label = ()
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
    widths: Mapping[str, int] | None = None,
    room: int | None = None,
) -> Drawing:
    """Place every name and way, with what each way says. Ways to unknown names are left out; order in `names`
    breaks ties. `height` is that of every box, `widths` has those that differ; `room` is the width to keep to (units
    of the drawing; without it nothing goes on below)."""
    words = says or {}
    known = [way for way in ways if way[0] in names and way[1] in names]
    forward, back = layers.without_cycles(names, known)
    layer = layers.layers(names, forward)
    columns = _columns(layer, widths or {})
    gaps = _gaps(forward, layer, words, len(columns))
    bands, gaps = _folded(columns, gaps, _crossed(forward, back, layer, len(columns)), room)
    grid = _Grid(
        layer=layer,
        rows=layers.rows(names, forward, layer),
        widths={name: (widths or {}).get(name, BOX_WIDTH) for name in names},
        columns=columns,
        gaps=gaps,
        bands=bands,
        height=height,
        forward=forward,
        back=back,
        words={way: text for way, text in words.items() if text},
    )
    lines = [_forward_line(way, grid, words.get(way, "")) for way in forward]
    lines += [_back_line(way, place, grid, words.get(way, "")) for place, way in enumerate(back)]
    moved = labels.apart([line.label for line in lines], height=grid.bottom)
    lines = [replace(line, label=label) for line, label in zip(lines, moved, strict=True)]
    return Drawing(
        boxes=tuple(grid.boxes.values()), lines=tuple(lines), width=_width(grid, lines), height=grid.bottom
    )


def _width(grid: _Grid, lines: Sequence[Line]) -> int:
    words = [int(row.right) + 1 for line in lines for row in line.label]
    right = [box.right for box in grid.boxes.values()]
    return max([0, *right, *(line.reach for line in lines), *words]) + MARGIN


@dataclass(frozen=True, kw_only=True)  # no slots: what follows from these is worked out once
class _Grid:
    """Where columns, rows and the ways below each band stand. A band is a run of layers side by side."""

    layer: Mapping[str, int]
    rows: Mapping[Slot, int]
    widths: Mapping[str, int]
    columns: Sequence[int]  # width of each layer
    gaps: Sequence[int]  # after each layer
    bands: Sequence[range]  # of layers
    height: int
    forward: Sequence[Way]
    back: Sequence[Way]
    words: Mapping[Way, str]

    @cached_property
    def band_of(self) -> list[int]:
        return [place for place, band in enumerate(self.bands) for _ in band]

    @cached_property
    def lefts(self) -> list[int]:
        """The left edge of every layer."""
        begin = MARGIN if len(self.bands) == 1 else MARGIN + SIDE
        found: list[int] = []
        for band in self.bands:
            steps = [self.columns[one] + self.gaps[one] for one in band]
            found += accumulate(steps[:-1], initial=begin)
        return found

    @cached_property
    def tracks(self) -> list[list[Way]]:
        """The lines that run below each band, from the nearest down."""
        found: list[list[Way]] = [[] for _ in self.bands]
        for way in self.back:
            begin, end = (self.band_of[self.layer[name]] for name in way)
            found[begin].append(way)
            if end != begin:
                found[end].append(way)
        for way in self.forward:
            begin, end = (self.band_of[self.layer[name]] for name in way)
            for band in range(begin, end):
                if (key := self.key(band, way)) not in found[band]:
                    found[band].append(key)
        return found

    def key(self, band: int, way: Way) -> Way:
        """What a line below a band is found by: lines that say nothing and end at once share one."""
        is_last = self.bands[band + 1][0] == self.layer[way[1]]
        return ("", way[1]) if is_last and way not in self.words else way

    @cached_property
    def _tops(self) -> list[int]:
        """Where each band begins; after the last one, where the drawing ends."""
        most = [0] * len(self.bands)
        for slot, row in self.rows.items():
            band = self.band_of[layers.layer_of(slot, self.layer)]
            most[band] = max(most[band], row + 1)
        found = [MARGIN]
        for number, tracks in zip(most, self.tracks, strict=True):
            found.append(found[-1] + number * (self.height + GAP_Y) + len(tracks) * GAP_Y)
        return found

    @property
    def bottom(self) -> int:
        return self._tops[-1] - GAP_Y + MARGIN if self.rows else 2 * MARGIN

    @cached_property
    def boxes(self) -> dict[str, Box]:
        return {
            name: Box(
                name=name,
                x=self.left(name),
                y=self.middle(name) - self.height // 2,
                width=self.widths[name],
                height=self.height,
            )
            for name in self.layer
        }

    def left(self, slot: Slot) -> int:
        return self.lefts[layers.layer_of(slot, self.layer)]

    def right(self, slot: Slot) -> int:
        """Of a waypoint the right edge of its column."""
        if isinstance(slot, str):
            return self.left(slot) + self.widths[slot]
        return self.left(slot) + self.columns[slot[2]]

    def middle(self, slot: Slot) -> int:
        top = self._tops[self.band(slot)] + self.rows[slot] * (self.height + GAP_Y)
        return top + self.height // 2

    def band(self, slot: Slot) -> int:
        return self.band_of[layers.layer_of(slot, self.layer)]

    def track(self, band: int, way: Way) -> int:
        """The height at which a line runs below a band."""
        tracks = self.tracks[band]
        return self._tops[band + 1] - GAP_Y * (len(tracks) - tracks.index(way))

    def before(self, lane: int) -> int:
        """Left of all boxes of a drawing in bands."""
        return MARGIN + SIDE - _TIP - 4 - 5 * (lane % _LANES)

    def beyond(self, band: int, lane: int) -> int:
        """Right of all boxes of a band."""
        last = self.bands[band][-1]
        return self.lefts[last] + self.columns[last] + 8 + 5 * (lane % _LANES)

    def is_lowest(self, name: str) -> bool:
        """Whether no other place stands below this one in its column."""
        own, layer = self.rows[name], self.layer[name]
        return not any(self.layer[other] == layer and self.rows[other] > own for other in self.layer)


def _columns(layer: Mapping[str, int], widths: Mapping[str, int]) -> list[int]:
    """How wide every layer is: as its widest box."""
    found = [0] * (max(layer.values(), default=0) + 1)
    for name, place in layer.items():
        found[place] = max(found[place], widths.get(name, BOX_WIDTH))
    return found


def _gaps(
    forward: Sequence[Way], layer: Mapping[str, int], words: Mapping[Way, str], number: int
) -> list[int]:
    """How wide the gap after every layer is: as what is written in it."""
    found = [GAP_X] * number
    for way in forward:
        column = layer[way[0]]
        if layer[way[1]] == column + 1 and words.get(way):
            found[column] = max(found[column], labels.width_of(labels.in_gap(words[way])) + 18)
    return found


def _folded(
    columns: Sequence[int], gaps: Sequence[int], crossed: Sequence[int], room: int | None
) -> tuple[list[range], list[int]]:
    """The bands of layers, and the gaps: narrower where more fits that way. `crossed` weighs a cut after each layer."""
    whole = range(len(columns))
    if room is None or _wide(whole, columns, gaps) <= room - 2 * MARGIN:
        return [whole], list(gaps)
    least = [_LEAST_GAP if gap == GAP_X else gap for gap in gaps]
    if _wide(whole, columns, least) <= room - 2 * MARGIN:
        return [whole], _spread([whole], columns, gaps, least, room - 2 * MARGIN)
    room -= 2 * (MARGIN + SIDE)
    bands = _packed(columns, least, crossed, room)
    return bands, _spread(bands, columns, gaps, least, room)


def _packed(columns: Sequence[int], gaps: Sequence[int], crossed: Sequence[int], room: int) -> list[range]:
    """As few bands as there can be; of these cuts the ones that fewest lines cross, then about equally wide bands."""
    best: list[tuple[int, int, int]] = [(0, 0, 0)]  # bands, lines crossed, widest band: of the first layers
    begins = [0]
    for end in range(1, len(columns) + 1):
        found = []
        for begin in range(end - 1, -1, -1):
            wide = _wide(range(begin, end), columns, gaps)
            if wide > room and begin < end - 1:
                break
            bands, lines, widest = best[begin]
            lines += crossed[begin - 1] if begin else 0
            found.append(((bands + 1, lines, max(widest, wide)), begin))
        cheapest, begin = min(found)
        best.append(cheapest)
        begins.append(begin)
    cuts = [len(columns)]
    while cuts[-1]:
        cuts.append(begins[cuts[-1]])
    return [range(begin, end) for begin, end in pairwise(reversed(cuts))]


def _spread(
    bands: Sequence[range], columns: Sequence[int], gaps: Sequence[int], least: Sequence[int], room: int
) -> list[int]:
    """Gaps as wide as the room allows, at most as wide as they would be without it."""
    found = list(least)
    for band in bands:
        narrowed = [place for place in band[:-1] if least[place] < gaps[place]]
        more = (room - _wide(band, columns, least)) // max(1, len(narrowed))
        for place in narrowed:
            found[place] = min(gaps[place], least[place] + more)
    return found


def _crossed(forward: Sequence[Way], back: Sequence[Way], layer: Mapping[str, int], number: int) -> list[int]:
    """How much stands against a cut after each layer: the lines that would cross it, ways back doubly."""
    found = [0] * number
    for weight, ways in ((1, forward), (2, back)):
        for way in ways:
            begin, end = sorted(layer[name] for name in way)
            for place in range(begin, end):
                found[place] += weight
    return found


def _wide(band: range, columns: Sequence[int], gaps: Sequence[int]) -> int:
    return sum(columns[one] + gaps[one] for one in band) - gaps[band[-1]]


def _forward_line(way: Way, grid: _Grid, says: str) -> Line:
    """From the right edge of the source, through its waypoints, to the left edge of the target."""
    source, target = way
    x, y = grid.right(source), grid.middle(source)
    path, reach = f"M{x} {y}", 0
    below: Label = ()
    passing: Label = ()
    before: Label = ()
    for slot in layers.chain(way, grid.layer)[1:]:
        end = grid.left(slot) - (_TIP if slot == target else 0)
        middle, band = grid.middle(slot), grid.band(slot) - 1
        if band >= 0 and grid.bands[band + 1][0] == layers.layer_of(slot, grid.layer):
            key = grid.key(band, way)
            lane = grid.tracks[band].index(key)
            track, out, into = grid.track(band, key), grid.beyond(band, lane), grid.before(lane)
            path += f"H{out}V{track}H{into}V{middle}H{end}"
            below = below or _along(says, into, out, track, out)
            reach = max(reach, out)
        else:
            before = labels.beside(labels.in_gap(says), (x + end) // 2, (y + middle) // 2)
            path += _bend(x, y, end, middle)
        x, y = grid.right(slot), middle
        if slot != target:
            path += f"H{x}"
            passing = passing or labels.beside(labels.in_passing(says), (end + x) // 2, middle)
    tip = f"M{grid.left(target)} {y}l-{_TIP} -4v8z"
    label = below or passing or before
    return Line(source=source, target=target, path=path, tip=tip, says=says, label=label, reach=reach)


def _bend(x: int, y: int, to_x: int, to_y: int) -> str:
    if y == to_y:
        return f"H{to_x}"
    half = (x + to_x) // 2
    return f"C{half} {y} {half} {to_y} {to_x} {to_y}"


def _back_line(way: Way, place: int, grid: _Grid, says: str) -> Line:
    """Down, below the band, and up into the target; past the side of a box that has others below it. To another
    band it leads along the left edge."""
    source, target = grid.boxes[way[0]], grid.boxes[way[1]]
    down, up = grid.band(source.name), grid.band(target.name)
    lane = 6 + 5 * (place % 4)
    depth, reach = grid.track(down, way), 0
    if grid.is_lowest(source.name):
        out = source.x + source.width * 2 // 3
        path = f"M{out} {source.y + source.height}V{depth}"
    else:
        out = reach = source.right + lane
        path = f"M{source.right} {source.middle + 9}H{out}V{depth}"
    beside = grid.before(place)
    if up != down:
        path += f"H{beside}V{grid.track(up, way)}"
    if grid.is_lowest(target.name):
        into, top = target.x + target.width // 3, target.y + target.height
        path += f"H{into}V{top + _TIP}"
        tip = f"M{into} {top}l-4 {_TIP}h8z"
    else:
        into, level = max(1, target.x - _TIP - lane), target.middle + 9
        path += f"H{into}V{level}H{target.x - _TIP}"
        tip = f"M{target.x} {level}l-{_TIP} -4v8z"
    label = _along(says, beside if up != down else into, out, depth, grid.beyond(down, 0))
    return Line(source=way[0], target=way[1], path=path, tip=tip, says=says, label=label, reach=reach)


def _along(says: str, begin: int, end: int, depth: int, edge: int) -> Label:
    """Words on a level line; those of a short one may be longer than it is, as far as the band's edge."""
    rows = labels.in_one(says, max(_LEAST_WORDS, int((edge - MARGIN) / labels.LETTER) - 2))
    half = labels.width_of(rows) // 2 + 1
    middle = max(min((begin + end) // 2, edge - half), MARGIN + half)
    return tuple(Written(x=middle, y=depth - 4, text=row) for row in rows)
