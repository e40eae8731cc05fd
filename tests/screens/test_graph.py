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
    assert not any(label.text.endswith("…") for label in labels)
    assert layout(names, list(says)).width < drawing.width


def test_only_words_that_have_no_room_are_cut() -> None:
    words = "a word " * 60
    (line,) = layout(["one", "two"], [("one", "two")], says={("one", "two"): words}).lines
    assert line.label[-1].text.endswith("…")
    assert len(" ".join(one.text for one in line.label)) >= 60
    assert line.says == words


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


def test_a_drawing_without_room_goes_on_below_within_it() -> None:
    names = [f"node {number}" for number in range(20)]
    says = {(names[6], names[7]): "as soon as somebody has agreed to it"}
    drawing = layout(names, list(pairwise(names)), says=says, room=1008)
    assert drawing.width <= 1008
    rows = sorted({box.y for box in drawing.boxes})
    assert len(rows) == 4
    assert all(one.y < other.y or one.x < other.x for one, other in pairwise(drawing.boxes))
    labels = [one.text for line in drawing.lines for one in line.label]
    assert " ".join(labels) == "as soon as somebody has agreed to it"


def test_gaps_are_narrowed_before_a_drawing_goes_on_below() -> None:
    names = ["plan", "review", "gather", "verify", "compose", "write"]
    drawing = layout(names, list(pairwise(names)), room=1008)
    assert len({box.y for box in drawing.boxes}) == 1
    assert drawing.width <= 1008 < layout(names, list(pairwise(names))).width


def test_a_drawing_is_cut_where_few_lines_cross_and_no_way_back_if_it_can_be() -> None:
    names = ["read", "sort", "draft", "review", "pay", "settle", "send", "file"]
    back = ("review", "draft")
    drawing = layout(names, [*pairwise(names), back], room=800)
    at = {box.name: box for box in drawing.boxes}
    assert at["draft"].y == at["review"].y
    assert len({box.y for box in drawing.boxes}) == 2


def test_lines_to_the_next_band_that_say_nothing_share_their_way() -> None:
    names = ["a", "b", "left", "right", "join", "then", "last"]
    ways = [("a", "b"), ("b", "left"), ("b", "right"), ("left", "join"), ("right", "join")]
    ways += [("join", "then"), ("then", "last")]
    drawing = layout(names, ways, room=620)
    depths = {
        depth for line in drawing.lines if line.target == "join" for depth in re.findall(r"V(\d+)", line.path)
    }
    assert len({box.y for box in drawing.boxes if box.name in ("a", "join")}) == 2
    assert len(depths) == 2  # down to the shared way, and down from it


_names = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


@settings(max_examples=150)
@given(
    _names,
    st.lists(st.tuples(st.sampled_from("abcdefghz"), st.sampled_from("abcdefghz")), max_size=20),
    st.sampled_from([None, 340, 700, 1008]),
)
def test_any_graph_has_every_place_once_and_every_known_way(
    names: list[str], ways: list[tuple[str, str]], room: int | None
) -> None:
    drawing = layout(names, ways, says=dict.fromkeys(ways, "when it holds"), room=room)
    assert sorted(box.name for box in drawing.boxes) == sorted(names)
    assert all(_apart(one, other) for one, other in combinations(drawing.boxes, 2))
    known = [way for way in ways if set(way) <= set(names)]
    assert sorted((line.source, line.target) for line in drawing.lines) == sorted(known)
    assert all(
        box.x + box.width <= drawing.width and box.y + box.height <= drawing.height for box in drawing.boxes
    )
