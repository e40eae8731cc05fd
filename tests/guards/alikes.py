"""Recorded runs made up by the tests that only look like loops. Everything is drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.guards.made import REPEATS, THINGS, Made, Steps, called, honest, message, thought


def _pages(draw: random.Random) -> Steps:
    style = draw.choice(("page", "cursor", "offset"))
    steps: Steps = []
    for page in range(1, REPEATS):
        where = {"page": page, "cursor": f"c{draw.getrandbits(24):x}", "offset": page * 20}[style]
        rows = "; ".join(f"item {draw.randint(1, 9999)}" for _ in range(6))
        steps += [thought(""), called("list_things", {"hall": 4, style: where}, f"page {page}: {rows}")]
    return steps


def _batch(draw: random.Random) -> Steps:
    answer = draw.choice(
        ("ok", "None", "", '{"done": true}', "Your message has been received, we will answer soon.")
    )
    names = draw.sample(range(1, 999), REPEATS)
    tool, key = draw.choice((("label_thing", "id"), ("write_to", "recipient"), ("open_card", "path")))
    text = (
        "The hall will be closed tomorrow from nine until noon, please take your things out before that time."
    )
    more = {"body": text} if draw.random() < 0.5 else {}
    return [
        step
        for one in names
        for step in (
            thought(""),
            called(tool, {key: f"{key}-{one}" if draw.random() < 0.5 else one} | more, answer),
        )
    ]


def _polling(draw: random.Random) -> Steps:
    style = draw.choice(("progress", "rows", "left", "log"))
    steps: Steps = []
    for turn in range(1, REPEATS):
        output = {
            "progress": f'{{"status": "running", "progress": {turn * 13}}}',
            "rows": f'{{"at": "2026-03-01T10:0{turn}:00Z", "rows": {turn * 100_003}}}',
            "left": f"still waiting, {90 - turn * 10} seconds left",
            "log": "copying" + "." * turn,
        }[style]
        steps += [thought(""), called("job_status", {"job": 17}, output)]
    return [*steps, thought(""), called("job_status", {"job": 17}, '{"status": "done"}')]


def _slow_polling(draw: random.Random) -> Steps:
    """The same answer twice, then another."""
    states = [
        state
        for state in ("queued", "starting", "running", "closing", "done")
        for _ in range(draw.randint(1, 2))
    ]
    return [
        step for one in states for step in (thought("I will wait."), called("job_status", {"job": 17}, one))
    ]


def _retries(draw: random.Random) -> Steps:
    failing = called("open_gate", {"gate": 3}, "", error="TimeoutError: no answer", error_kind="tool")
    return [
        thought(""),
        failing,
        thought(""),
        dict(failing),
        thought(""),
        called("open_gate", {"gate": 3}, "open"),
    ]


def _listed_after_each(draw: random.Random) -> Steps:
    """The same list is read after every change."""
    steps: Steps = []
    listed: list[str] = []
    for thing in draw.sample(THINGS, 6):
        listed.append(thing)
        steps += [
            thought(""),
            called("add_thing", {"name": thing}, "ok"),
            called("list_things", {}, ", ".join(listed)),
        ]
    return steps


def _asked_by_people(draw: random.Random) -> Steps:
    """People come back with something new, and the same thing is looked up."""
    steps: Steps = []
    for thing in draw.sample(THINGS, 5):
        steps += [
            message(f"And what about the {thing}, could that be moved over to the other hall as well?"),
            thought(""),
            called("opening_hours", {"hall": 2}, "nine to five"),
            thought(
                "The hall is open from nine to five, so that is possible, I only need your consent for it."
            ),
        ]
    return steps


def _alike_but_for_figures(draw: random.Random) -> Steps:
    return [
        step
        for turn in range(1, REPEATS)
        for step in (
            thought(
                f"Hall {turn} has {turn * 37} pallets, which is fewer than the plan says it should have."
            ),
            message("OK."),
        )
    ]


def _delegated(draw: random.Random) -> Steps:
    """A peer is told the same again and again, and tells something else each time."""
    order = draw.choice(
        ("Turn the page.", "Please turn the page and tell me what the next page says, in short.")
    )
    steps: Steps = []
    for page in range(1, REPEATS):
        rows = ", ".join(draw.sample(THINGS, 4))
        steps += [
            thought("The page goes on."),
            called("ask_finder", {"instruction": order}, None),
            thought(f"I turned the page. It is page {page}, and it lists {rows}.", "finder"),
        ]
    return steps


def _looked_up_again(draw: random.Random) -> Steps:
    """Every part of the work begins by looking up what was looked up for the part before."""
    manuals = [
        called("read_manual", {"of": thing}, f"how to use a {thing}") for thing in draw.sample(THINGS, 4)
    ]
    steps: Steps = []
    for part in range(5):
        chosen = draw.sample(manuals, draw.randint(1, 3))
        steps += [step for one in chosen for step in (thought(""), dict(one))]
        if draw.random() < 0.3:
            steps += [thought("Let me read that again."), dict(chosen[-1])]
        steps += [thought(""), called("move_thing", {"part": part}, "ok")]
    return steps


def _mended_and_tried(draw: random.Random) -> Steps:
    """Something is changed, and the same test says the same."""
    steps: Steps = []
    for _ in range(REPEATS):
        change = called("turn_screw", {"screw": draw.randint(1, 10**6)}, draw.choice(("", "turned")))
        steps += [thought("Let me try another one."), change, called("try_crane", {}, "it does not move")]
    return [*steps, called("try_crane", {}, f"it moves {draw.randint(1, 99)} steps")]


LOOK_ALIKES: dict[str, Callable[[random.Random], Steps]] = {
    "pages": _pages,
    "batch": _batch,
    "polling": _polling,
    "slow_polling": _slow_polling,
    "retries": _retries,
    "listed_after_each": _listed_after_each,
    "asked_by_people": _asked_by_people,
    "alike_but_for_figures": _alike_but_for_figures,
    "delegated": _delegated,
    "looked_up_again": _looked_up_again,
    "mended_and_tried": _mended_and_tried,
}


def looking_alike(kind: str, seed: int) -> Made:
    draw = random.Random(f"{kind} {seed}")
    steps = [*honest(draw), *LOOK_ALIKES[kind](draw), *honest(draw, turns=1)]
    return Made(kind=kind, steps=steps)
