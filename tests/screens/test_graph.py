"""The drawing of a workflow: no two boxes on one another, every way drawn, cycles and branches included."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from runs.shown.graph import Box, layout


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


def test_what_a_way_says_has_room_and_no_label_stands_on_another() -> None:
    names = ["triage", "deny", "refund", "reply"]
    says = {
        ("triage", "deny"): "outside policy",
        ("triage", "refund"): "within policy, and the customer is known to us",
        ("refund", "reply"): "paid",
        ("deny", "reply"): "told",
        ("reply", "triage"): "asked again, at most 3×",
    }
    drawing = layout(names, list(says), says=says)
    labels = [one for line in drawing.lines for one in line.label]
    assert {line.says for line in drawing.lines} == set(says.values())
    assert all(line.label for line in drawing.lines)
    assert all(10 < label.x < drawing.width and 0 < label.y < drawing.height for label in labels)
    for one, other in combinations(labels, 2):
        assert abs(one.y - other.y) >= 11 or one.right <= other.left or other.right <= one.left
    assert any(label.text.endswith("…") for label in labels)
    assert layout(names, list(says)).width < drawing.width


def test_a_way_back_says_its_bound_in_full_where_there_is_room() -> None:
    names = ["draft", "review", "pay", "settle"]
    back = ("settle", "draft")
    for words in ("a person changed it, at most 1×", "a word " * 60):
        drawing = layout(names, [*pairwise(names), back], says={back: words})
        (label,) = next(line.label for line in drawing.lines if (line.source, line.target) == back)
        assert label.text == words or (label.text.endswith("…") and 10 < label.left < label.right)
        assert label.right < drawing.width


def test_a_way_back_passes_no_box_that_stands_below_its_ends() -> None:
    names = ["start", "one", "two", "last"]
    forward = [("start", "one"), ("start", "two"), ("one", "last"), ("two", "last")]
    drawing = layout(names, [*forward, ("one", "start"), ("last", "one")])
    at = {box.name: box for box in drawing.boxes}
    under = at["two"] if at["two"].y > at["one"].y else at["one"]
    for line in drawing.lines:
        for x in (int(one) for one in re.findall(r"[MH](\d+)(?: \d+)?V", line.path)):
            assert not under.x < x < under.x + under.width or under.name in (line.source, line.target)


_names = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


@settings(max_examples=150)
@given(_names, st.lists(st.tuples(st.sampled_from("abcdefghz"), st.sampled_from("abcdefghz")), max_size=20))
def test_any_graph_has_every_place_once_and_every_known_way(
    names: list[str], ways: list[tuple[str, str]]
) -> None:
    drawing = layout(names, ways, says=dict.fromkeys(ways, "when it holds"))
    assert sorted(box.name for box in drawing.boxes) == sorted(names)
    assert all(_apart(one, other) for one, other in combinations(drawing.boxes, 2))
    known = [way for way in ways if set(way) <= set(names)]
    assert sorted((line.source, line.target) for line in drawing.lines) == sorted(known)
    assert all(
        box.x + box.width <= drawing.width and box.y + box.height <= drawing.height for box in drawing.boxes
    )
