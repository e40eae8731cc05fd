"""Recorded runs made up by the tests: honest ones, and with loops spliced in. What only looks like one: `alikes`.

Everything is drawn from a seed. Nothing is copied from anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Steps = list[Json]

THINGS = (
    "crane",
    "pallet",
    "ledger",
    "valve",
    "turbine",
    "orchard",
    "ferry",
    "kiln",
    "loom",
    "anvil",
    "harbour",
)
_VERBS = ("inspect", "locate", "measure", "describe", "count", "compare", "review")
_STATES = ("idle", "loaded", "broken", "on loan", "being cleaned", "reserved")
_OPENINGS = ("Okay. ", "Right - ", "Understood. ", "Thanks. ", "One moment. ", "Sure. ", "Let me see. ", "")
_NUDGES = ("Go on.", "Yes, please.", "OK.", "Continue.", "Sure, do it.", "Fine.")
REPEATS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A run, and where what was spliced in begins. `third`: the last step by which a loop must be found."""

    kind: str
    steps: Steps
    onset: int | None = None
    third: int | None = None


def message(text: str, agent: str = "keeper") -> Json:
    return {"kind": "message", "agent": agent, "output": text}


def thought(text: str, agent: str = "clerk") -> Json:
    return {"kind": "model", "agent": agent, "output": text, "tokens_in": 50, "tokens_out": 9}


def called(tool: str, args: Json | None, output: str | None, **more: Any) -> Json:
    return {"kind": "tool", "agent": "clerk", "tool": tool, "args": args, "output": output, **more}


def line(steps: Steps, run_id: str = "made", **more: Any) -> Json:
    """A whole line of a file, numbered and with totals."""
    numbered = [{"index": place, **step} for place, step in enumerate(steps)]
    of = {kind: [one for one in numbered if one["kind"] == kind] for kind in ("model", "tool")}
    return {
        "schema": "trace/1",
        "run_id": run_id,
        "workflow": "yard",
        "model": "made/one",
        "goal": next((one["output"] for one in steps if one["kind"] == "message"), ""),
        "steps": numbered,
        "outcome": {"success": None, "labels": []},
        "totals": {
            "steps": len(numbered),
            "model_calls": len(of["model"]),
            "tool_calls": len(of["tool"]),
            "tool_errors": sum(bool(one.get("error") or one.get("error_kind")) for one in of["tool"]),
            "tokens_in": sum(one["tokens_in"] for one in of["model"]),
            "tokens_out": sum(one["tokens_out"] for one in of["model"]),
        },
        **more,
    }


def honest(draw: random.Random, turns: int | None = None) -> Steps:
    """A conversation in which every turn asks something else; now and then a call is made a second time."""
    steps: Steps = []
    for turn in range(turns or draw.randint(1, 5)):
        thing, verb = draw.choice(THINGS), draw.choice(_VERBS)
        steps.append(
            message(
                f"Could you {verb} the {thing} in hall {draw.randint(1, 999)} for me and say what you see?"
            )
        )
        for _ in range(draw.randint(1, 4)):
            steps.append(thought("" if draw.random() < 0.5 else f"I will {verb} the {thing} next."))
            call = _call(draw, thing)
            steps.append(call)
            if draw.random() < 0.15:
                steps += [thought(""), dict(call)]
        steps.append(
            thought(f"The {thing} is {draw.choice(_STATES)}, number {turn}-{draw.randint(100, 999)}.")
        )
    return steps


def _call(draw: random.Random, thing: str) -> Json:
    number, state = draw.randint(1, 9999), draw.choice(_STATES)
    if draw.random() < 0.1:
        return called(
            "find_thing",
            {"name": thing, "hall": number},
            "",
            error="ValueError: no such thing",
            error_kind="tool",
        )
    output = draw.choice(
        (
            f'{{"id": {number}, "name": "{thing}", "state": "{state}"}}',
            f"- id: {number}\n  name: {thing}\n  state: {state}",
            f"{thing} {number}: {state}",
            "None",
        )
    )
    return called(draw.choice(("find_thing", "read_card")), {"name": thing, "number": number}, output)


# ---- loops: each returns one round, given its number


def _exact(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    return lambda _: [thought(""), dict(base)]


def _exact_error(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    failing = base | {
        "output": "cannot open: no such file",
        "error": "cannot open: no such file",
        "error_kind": "tool",
    }
    return lambda _: [thought(""), dict(failing)]


def _cosmetic(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    return lambda n: [
        thought(_OPENINGS[n % 8] + f"I will call {base['tool']} again to finish this."),
        dict(base),
    ]


def _spaced(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    def round_(n: int) -> Steps:
        args = {
            name: f"{' ' * (n % 3)}{value.upper() if n % 2 else value}{' ' * (n % 2)}"
            if isinstance(value, str)
            else value
            for name, value in reversed(base["args"].items())
        }
        return [thought(""), base | {"args": args}]

    return round_


def _stamped(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    style = draw.choice(
        ("2026-03-0{d}T10:1{d}:0{d}Z", "2026-03-0{d} 10:1{d}:0{d}", "10:1{d}:0{d}", "took 1{d} ms")
    )

    def round_(n: int) -> Steps:
        made_up = f"{draw.getrandbits(64):016x}a1"
        stamp = style.format(d=n % 9 + 1)
        output = f'{{"state": "idle", "checked": "{stamp}", "trace": "{made_up}"}}'
        return [thought(""), base | {"args": base["args"] | {"request_id": made_up}, "output": output}]

    return round_


def _cycle(period: int) -> Callable[[random.Random, Json], Callable[[int], Steps]]:
    def make(draw: random.Random, base: Json) -> Callable[[int], Steps]:
        calls = [
            called(f"tool_{place}", {"of": draw.choice(THINGS), "at": place}, draw.choice(_STATES))
            for place in range(period)
        ]
        return lambda _: [step for one in calls for step in (thought(""), dict(one))]

    return make


def _reworded(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    said = draw.choice(
        (
            "Here are the details of the crane as you asked for them:",
            "Done.",
            "Please confirm that I may close the ledger for hall twelve before the ferry leaves the harbour today.",
            "I have found the valve.",
            "{} look for the key of hall twelve.",
            "First, {} open the gate. Then, {} count the pallets and write it down.",
        )
    )
    forms = ("I will", "I'll", "I am going to")
    return lambda n: [
        thought(_OPENINGS[n % 8] + said.format(*[draw.choice(forms)] * 2)),
        message(_NUDGES[n % 6]),
    ]


def _delegated_in_vain(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    order = draw.choice(
        ("Turn the page.", "Please turn the page and tell me what the next page says, in short.")
    )
    answer = f"The page shows a {draw.choice(THINGS)} and a {draw.choice(THINGS)}, as it did before."
    return lambda n: [
        called("ask_finder", {"instruction": order}, None),
        thought(_OPENINGS[n % 8] + answer, "finder"),
    ]


def _ping_pong(draw: random.Random, base: Json) -> Callable[[int], Steps]:
    one = "Please look at the plan once more and tell me which of the halls should be emptied before the others."
    two = "I agree that the plan should be looked at once more; please say which hall you want to empty."
    return lambda n: [
        thought(_OPENINGS[n % 8] + one, "planner"),
        thought(_OPENINGS[(n + 3) % 8] + two, "critic"),
    ]


LOOPS: dict[str, tuple[Callable[[random.Random, Json], Callable[[int], Steps]], int]] = {
    "exact": (_exact, 1),
    "exact_error": (_exact_error, 1),
    "cosmetic": (_cosmetic, 1),
    "spaced": (_spaced, 1),
    "stamped": (_stamped, 1),
    "cycle2": (_cycle(2), 2),
    "cycle3": (_cycle(3), 3),
    "cycle4": (_cycle(4), 4),
    "reworded": (_reworded, 1),
    "ping_pong_of_agents": (_ping_pong, 2),
    "delegated_in_vain": (_delegated_in_vain, 1),
}


def looping(kind: str, seed: int) -> Made:
    draw = random.Random(f"{kind} {seed}")
    steps = honest(draw)
    base = next(
        (one for one in reversed(steps) if one["kind"] == "tool"), called("find_thing", {"name": "x"}, "y")
    )
    round_ = LOOPS[kind][0](draw, dict(base, error=None, error_kind=None))
    onset = len(steps)
    third = onset
    for number in range(REPEATS):
        steps += round_(number)
        if number == 2:
            third = len(steps) - 1
    if draw.random() < 0.3:
        steps += honest(draw, turns=1)
    return Made(kind=kind, steps=steps, onset=onset, third=third)
