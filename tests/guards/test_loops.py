"""Loops are found by the third time and never before they begin; what only looks like one is left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.guards.findings import Guard, Limits
from runs.guards.likeness import worded
from runs.guards.loops import Loops
from tests.faults import counts
from tests.guards.alikes import LOOK_ALIKES, looking_alike
from tests.guards.made import (
    LOOPS,
    Made,
    Steps,
    called,
    honest,
    looping,
    message,
    thought,
)
from tests.guards.watching import found, steps_of

VARIANTS = counts.of(fast=60, soak=1500)


def loops(made: Made) -> list[int]:
    return steps_of(found(made.steps, Guard.LOOP))


@pytest.mark.parametrize("kind", LOOPS)
def test_every_loop_is_found_by_its_third_round_and_not_before_it_begins(kind: str) -> None:
    for seed in range(VARIANTS):
        made = looping(kind, seed)
        steps = loops(made)
        assert made.onset is not None
        assert made.third is not None
        assert steps, f"{kind} {seed} was not found"
        assert made.onset <= steps[0] <= made.third, f"{kind} {seed} was found at {steps[0]}"


@pytest.mark.parametrize("kind", LOOK_ALIKES)
def test_what_only_looks_like_a_loop_is_left_alone(kind: str) -> None:
    alarmed = [seed for seed in range(VARIANTS) if loops(looking_alike(kind, seed))]
    assert alarmed == []


def test_honest_runs_are_left_alone() -> None:
    alarmed = [
        seed for seed in range(5 * VARIANTS) if loops(Made(kind="honest", steps=honest(random.Random(seed))))
    ]
    assert alarmed == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=5)), unique=True, max_size=40))
@settings(max_examples=60, deadline=None)
def test_calls_that_always_bring_something_new_are_no_loop(calls: list[tuple[str, str]]) -> None:
    watching = Loops()
    for step, (name, answer) in enumerate(calls):
        assert watching.called(step, "clerk", "look", {"at": name}, f"{step} {answer}") is None


@given(st.integers(1, 4), st.integers(0, 6), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_a_cycle_is_found_when_its_first_call_comes_the_nth_time(
    period: int, before: int, repeats: int
) -> None:
    watching = Loops(limits=Limits(repeats=repeats, stale=10**6))
    for step in range(before):
        assert watching.called(step, "clerk", "look", {"at": step}, "seen") is None
    at = [
        step
        for step in range(before, before + 12 * period)
        if watching.called(step, "clerk", "walk", {"to": (step - before) % period}, "there")
    ]
    assert at[0] == before + (repeats - 1) * period


def test_a_loop_is_said_once_and_again_only_after_something_new() -> None:
    again = [called("look", {"at": "gate"}, "closed")] * 5
    steps = [message("Look at the gate."), *again, called("look", {"at": "hall"}, "open"), *again]
    assert steps_of(found(steps, Guard.LOOP)) == [3, 9]


def test_an_answer_that_changes_only_by_its_time_is_the_same_answer() -> None:
    answers = [f'{{"at": "2026-02-01T10:00:0{second}Z", "state": "closed"}}' for second in range(4)]
    assert steps_of(found([called("look", {}, one) for one in answers], Guard.LOOP)) == [2]


def test_an_answer_that_counts_on_is_news() -> None:
    assert not found([called("look", {}, f'{{"rows": {n * 1_000_003}}}') for n in range(9)], Guard.LOOP)


def test_rounds_that_are_longer_than_any_cycle_are_found_when_nothing_is_new_any_more() -> None:
    tour = [called("look", {"at": place}, f"seen {place}") for place in range(9)]
    assert steps_of(found([*tour, *tour], Guard.LOOP)) == [9 + 7]


def test_an_instruction_that_is_reworded_for_the_third_time_is_found_though_the_peer_answers() -> None:
    wordings = (
        "Please go to the archive and find the price of the yearly pass for two adults.",
        "Please go to the archive again and find the price of a yearly pass for two adults.",
        "Go to the archive once more, please, and find the price of the yearly pass for two adults.",
    )
    steps = [
        step
        for place, wording in enumerate(wordings)
        for step in (
            called("ask_finder", {"instruction": wording}, ""),
            thought(f"I opened drawer {place} and it holds maps of region {place * 7}.", "finder"),
        )
    ]
    assert steps_of(found(steps, Guard.LOOP)) == [4]


def delegated(instructions: Sequence[str], answers: Sequence[str]) -> Steps:
    return [
        step
        for instruction, answer in zip(instructions, answers, strict=True)
        for step in (called("ask_finder", {"instruction": instruction}, None), thought(answer, "finder"))
    ]


@pytest.mark.parametrize(
    "instruction", ["Turn the page, please.", "Please turn the page and tell me what the next page says."]
)
def test_what_a_peer_tells_after_a_call_is_its_answer(instruction: str) -> None:
    same = ["This page is about the cranes of the northern yard and about nothing else."] * 4
    pages = [f"Page {number} is about hall {number * 7} and what it holds." for number in range(4)]
    assert steps_of(found(delegated([instruction] * 4, same), Guard.LOOP)) == [4]
    assert not found(delegated([instruction] * 4, pages), Guard.LOOP)


def test_instructions_of_one_form_with_several_places_are_a_batch() -> None:
    form = "Please open the drawer for {} in the archive and find the price of the {} for two adults."
    filled = (
        ("cranes", "yearly pass"),
        ("ferries", "guided tour"),
        ("looms", "day ticket"),
        ("kilns", "map"),
    )
    answers = [f"It costs {number * 17}." for number in range(4)]
    assert not found(delegated([form.format(*one) for one in filled], answers), Guard.LOOP)


def test_notes_of_one_agent_to_itself_are_no_instructions_to_a_peer() -> None:
    notes = (
        "The {} can be moved since it was booked within the last day and its cabin allows that at any time.",
        "The {} can be moved, since it was booked within the last day and the cabin allows that at any time.",
        "The {} was booked within the last day, so it can be moved, and its cabin allows that at any time.",
    )
    things = ("ferry to the northern yard", "crane", "loom of the harbour hall")
    steps = [
        step
        for note, thing in zip(notes, things, strict=True)
        for step in (thought(""), called("note", {"text": note.format(thing)}, ""))
    ]
    assert not found(steps, Guard.LOOP)


def test_what_was_seen_long_ago_and_is_looked_up_twice_is_no_loop() -> None:
    look = called("look", {"at": "gate"}, "closed")
    news = [called("look", {"at": place}, f"seen {place}") for place in range(4)]
    assert not found([look, *news, look, look], Guard.LOOP)
    assert steps_of(found([look, *news, look, look, look], Guard.LOOP)) == [7]


def test_a_circle_counts_from_its_first_round_though_a_message_came_into_it() -> None:
    look, walk = called("look", {"at": "gate"}, "closed"), called("walk", {"to": "gate"}, "there")
    steps = [look, message("And then walk over there, please."), walk, look, walk, look, walk]
    finding = found(steps, Guard.LOOP)[0]
    assert (finding.step, finding.figure) == (5, "3 times")


def test_the_finding_says_at_which_distance_the_same_came_again() -> None:
    calls = [called("look", {"at": place}, "closed") for place in range(3)]
    assert "3 times, every 3 calls, and" in found([*calls, *calls, *calls], Guard.LOOP)[0].says
    mixed = [calls[place] for place in (0, 1, 2, 1, 0, 0, 1, 1)]
    assert "3 times, and" in found(mixed, Guard.LOOP)[0].says


def test_what_was_said_long_ago_and_is_said_twice_is_no_loop() -> None:
    said, go_on = thought("The gate is closed until the ferry has left."), message("OK.")
    news = [thought("The crane is free now, so the pallets can go."), message("Good.")]
    assert not found([said, *news, said, go_on, said], Guard.LOOP)
    assert steps_of(found([said, *news, said, go_on, said, go_on, said], Guard.LOOP)) == [7]


@pytest.mark.parametrize(
    "wordings",
    [
        (
            "I will look for the key in the porter's drawers.",
            "Understood. I am going to look for the key in the porter's drawers.",
            "One moment. I'll look for the key in the porter's drawers.",
        ),
        (
            "Let me look at the ledger again.",
            "Sure. I will look at the ledger once more.",
            "The ledger again.",
        ),
        ("I will do that.", "Right - I am going to do that.", "Let me see. I'll do that."),
        ("17", "One moment. 17", "Let me see. 17."),
    ],
)
def test_a_message_whose_openings_and_small_words_change_is_the_same_message(wordings: Sequence[str]) -> None:
    steps = [step for one in wordings for step in (thought(one), message("Go on."))]
    assert steps_of(found(steps, Guard.LOOP)) == [4]


def test_a_message_that_is_also_near_to_another_one_is_counted_with_its_own() -> None:
    """Nearness does not carry over: with a longer opening the first text is near no more."""
    form = (
        "The {} hall of the northern yard is closed for cleaning and the {} stand idle until the ferry comes"
    )
    first, then = form.format("loom", "kilns"), form.format("valve", "cranes")
    wordings = [then, f"Let me see that. {then}", f"Okay. {then}"]
    assert [worded(first).near(worded(one)) for one in wordings] == [True, False, True]
    told = [thought(first), message("There is another hall, have a look at that.")]
    steps = [*told, *[step for one in wordings for step in (thought(one), message("Go on."))]]
    assert steps_of(found(steps, Guard.LOOP)) == [6]


def test_texts_of_one_step_are_counted_apart() -> None:
    watching = Loops()
    gate, crane = "The gate is closed until the ferry has left.", "The crane is free, so the pallets can go."
    said = [watching.said(7, "clerk", text) for text in (gate, crane, gate, crane, gate, crane)]
    assert [place for place, finding in enumerate(said) if finding] == [5]


def test_the_same_letter_to_different_people_is_a_batch() -> None:
    body = "The hall will be closed tomorrow from nine until noon, please take your things out before."
    steps = [called("write", {"to": name, "body": body}, "") for name in ("ann", "bea", "cas", "dan")]
    assert not found(steps, Guard.LOOP)


def test_letters_of_one_form_to_different_people_are_a_batch() -> None:
    form = "Dear {}, the hall will be closed tomorrow from nine until noon, please take your things out."
    steps = [called("write", {"text": form.format(name)}, "") for name in ("Ann", "Bea Reed", "Cas", "Dan")]
    assert not found(steps, Guard.LOOP)


def test_questions_of_one_form_are_no_loop_as_long_as_the_answers_tell_something() -> None:
    form = "Could you please tell me which {} the crates should be brought to before the ferry leaves?"
    answers = ("The loom hall.", "Northern.", "Harbour side")
    places = ("hall", "yard", "side of the harbour")

    def asked(said: tuple[str, ...]) -> Steps:
        return [
            step
            for place, answer in zip(places, said, strict=True)
            for step in (thought(form.format(place)), message(answer))
        ]

    assert not found(asked(answers), Guard.LOOP)
    assert found(asked(("Yes, please.", "Go on then.", "All right.")), Guard.LOOP)


def test_a_message_that_tells_something_ends_a_round() -> None:
    look = called("look", {"at": "gate"}, "closed")
    news = message("The keeper has just gone over there with the other key, so have another look.")
    assert found([look, look, look], Guard.LOOP)
    assert not found([look, look, news, look], Guard.LOOP)
    assert found([look, look, message("Go on."), look], Guard.LOOP)


def test_the_finding_says_what_how_often_and_whom_it_binds() -> None:
    finding = found([called("look", {"at": "gate"}, "closed")] * 3, Guard.LOOP)[0]
    assert (finding.scope, finding.figure) == ("tool look", "3 times")
    assert (
        "look was called with the same arguments and gave the same answer 3 times, in a row" in finding.says
    )
