"""The drawing for narrow pages: boxes one below another, every way drawn, no line through a box, no word cut off."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from runs.shown.column import ROOM, layout
from runs.shown.graph import Box, Drawing, Line

NAMES = [f"n{number}" for number in range(9)]
WAYS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=20, unique=True)
DESK = [
    ("triage", "deny"),
    ("triage", "draft"),
    ("draft", "verify"),
    ("verify", "draft"),
    ("verify", "reply"),
    ("deny", "reply"),
]


def _points(line: Line) -> list[tuple[int, int]]:
    """The corners of a path of level and upright pieces."""
    start = re.match(r"M(-?\d+) (-?\d+)", line.path)
    assert start is not None
    x, y = int(start[1]), int(start[2])
    found = [(x, y)]
    for axis, value in re.findall(r"([HV])(-?\d+)", line.path):
        x, y = (int(value), y) if axis == "H" else (x, int(value))
        found.append((x, y))
    return found


def _through(box: Box, line: Line) -> bool:
    for (x, y), (to_x, to_y) in pairwise(_points(line)):
        across = min(x, to_x) < box.right and max(x, to_x) > box.x
        along = min(y, to_y) < box.y + box.height and max(y, to_y) > box.y
        if across and along:
            return True
    return False


def _order(drawing: Drawing) -> list[str]:
    return [box.name for box in sorted(drawing.boxes, key=lambda box: box.y)]


def test_a_pipeline_is_one_straight_line_down() -> None:
    drawing = layout(NAMES, list(pairwise(NAMES)))
    assert _order(drawing) == NAMES
    assert all(re.fullmatch(r"M\d+ \d+V\d+", line.path) for line in drawing.lines)
    assert drawing.width <= ROOM


def test_the_longest_way_stays_together_and_a_branch_stands_where_it_joins_again() -> None:
    drawing = layout(["triage", "deny", "draft", "verify", "reply"], DESK)
    assert _order(drawing) == ["triage", "draft", "verify", "deny", "reply"]


def test_what_leads_back_runs_on_the_left_and_what_skips_boxes_on_the_right() -> None:
    drawing = layout(["triage", "deny", "draft", "verify", "reply"], DESK)
    box = drawing.boxes[0]
    for line in drawing.lines:
        xs = [x for x, _ in _points(line)]
        assert (min(xs) < box.x) == ((line.source, line.target) == ("verify", "draft"))
        assert (max(xs) > box.right) == (
            (line.source, line.target) in {("triage", "deny"), ("verify", "reply")}
        )


@settings(max_examples=80, deadline=None)
@given(WAYS, st.integers(0, 60))
def test_every_way_is_drawn_and_none_through_a_box(ways: list[tuple[str, str]], letters: int) -> None:
    says = {way: f"{number} {'w' * letters}" for number, way in enumerate(ways)}
    drawing = layout(NAMES, ways, says=says)
    assert {(line.source, line.target) for line in drawing.lines} == set(ways)
    for one, other in pairwise(sorted(drawing.boxes, key=lambda box: box.y)):
        assert one.y + one.height < other.y
    for line in drawing.lines:
        assert not any(_through(box, line) for box in drawing.boxes)
        assert all(0 < x < drawing.width and 0 < y < drawing.height for x, y in _points(line))
        assert line.label
        assert all(
            row.left > 0 and row.right < drawing.width and 0 < row.y < drawing.height for row in line.label
        )
    rows = [row for line in drawing.lines for row in line.label]
    assert all(one.y != other.y for one, other in combinations(rows, 2))


@settings(max_examples=80, deadline=None)
@given(WAYS)
def test_two_lines_beside_the_boxes_share_a_way_only_to_the_same_box(ways: list[tuple[str, str]]) -> None:
    def upright(line: Line) -> list[tuple[int, int, int]]:
        pieces = pairwise(_points(line))
        return [(x, *sorted((y, to_y))) for (x, y), (to_x, to_y) in pieces if x == to_x and y != to_y]  # type: ignore[misc]

    for one, other in combinations(layout(NAMES, ways).lines, 2):
        for x, top, bottom in upright(one):
            for its_x, its_top, its_bottom in upright(other):
                shares = x == its_x and top < its_bottom and its_top < bottom
                assert not shares or one.target == other.target


def test_a_very_long_workflow_is_drawn_without_recursion() -> None:
    names = [f"n{number}" for number in range(2000)]
    assert len(layout(names, list(pairwise(names))).lines) == 1999


def test_nothing_to_draw_is_an_empty_drawing() -> None:
    drawing = layout([], [])
    assert (drawing.boxes, drawing.lines) == ((), ())
