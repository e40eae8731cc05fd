"""The drawing of a workflow: no two boxes on one another, every way drawn, cycles and branches included."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from runs.graph import Box, layout


def _apart(one: Box, other: Box) -> bool:
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


def test_a_pipeline_is_one_straight_line() -> None:
    names = ["read", "extract", "check", "match", "post"]
    drawing = layout(names, list(pairwise(names)))
    assert [box.name for box in sorted(drawing.boxes, key=lambda box: box.x)] == names
    assert len({box.y for box in drawing.boxes}) == 1
    assert all(re.fullmatch(r"M\d+ \d+H\d+", line.path) for line in drawing.lines)


def test_branches_stand_in_one_layer_and_meet_again() -> None:
    drawing = layout(
        ["triage", "deny", "refund", "reply"],
        [("triage", "deny"), ("triage", "refund"), ("deny", "reply"), ("refund", "reply")],
    )
    at = {box.name: box for box in drawing.boxes}
    assert at["deny"].x == at["refund"].x
    assert at["deny"].y != at["refund"].y
    assert at["triage"].x < at["deny"].x < at["reply"].x
    assert len(drawing.lines) == 4


def test_a_way_back_passes_below_everything() -> None:
    names = ["draft", "verify", "send"]
    drawing = layout(names, [("draft", "verify"), ("verify", "send"), ("verify", "draft")])
    back = next(line for line in drawing.lines if (line.source, line.target) == ("verify", "draft"))
    lowest = max(box.y + box.height for box in drawing.boxes)
    assert max(int(depth) for depth in re.findall(r"V(\d+)", back.path)) > lowest
    assert drawing.height > lowest


def test_nothing_to_draw_is_an_empty_drawing() -> None:
    drawing = layout([], [])
    assert (drawing.boxes, drawing.lines) == ((), ())


def test_a_very_long_workflow_is_drawn_without_recursion() -> None:
    names = [f"n{number}" for number in range(3000)]
    assert len(layout(names, list(pairwise(names))).lines) == 2999


_names = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


@settings(max_examples=150)
@given(_names, st.lists(st.tuples(st.sampled_from("abcdefghz"), st.sampled_from("abcdefghz")), max_size=20))
def test_any_graph_has_every_place_once_and_every_known_way(
    names: list[str], ways: list[tuple[str, str]]
) -> None:
    drawing = layout(names, ways)
    assert sorted(box.name for box in drawing.boxes) == sorted(names)
    assert all(_apart(one, other) for one, other in combinations(drawing.boxes, 2))
    known = [way for way in ways if set(way) <= set(names)]
    assert sorted((line.source, line.target) for line in drawing.lines) == sorted(known)
    assert all(
        box.x + box.width <= drawing.width and box.y + box.height <= drawing.height for box in drawing.boxes
    )
