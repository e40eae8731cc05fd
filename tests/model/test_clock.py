"""The machine's time is its own: an example means the same on a quick machine and on one that stands still."""

from __future__ import annotations

import time

import pytest

from tests.model.machine import Machine
from tests.model.test_model import machine  # noqa: F401  (a fixture)

HOLD, MANY = "pause", 3  # says: a function breaks its contract, and is tried again at once


@pytest.mark.parametrize("stalls", [0.0, 1.5], ids=("quick", "slow while it is held"))
def test_an_example_ends_the_same_however_long_it_takes(machine: type[Machine], stalls: float) -> None:  # noqa: F811
    """What a hold froze was given back in the machine's real time, and as much time again had passed in the model's:
    so it was the real time of both that decided whether the run was due."""
    one = machine()
    one.begin(heals=True, first="line", second="", asks=False, deep=0)
    one.engage(which=0, kind=HOLD, scope_kind="run", marks=False)
    one.sweep()
    time.sleep(stalls)
    one.comes_late(which=0, says=MANY, performs=False)
    one.as_expected()
    one.teardown()


def test_what_failed_twice_is_not_sent_a_third_time_though_one_of_the_two_came_too_late(
    machine: type[Machine],  # noqa: F811
) -> None:
    one = machine()
    one.begin(heals=False, first="crew", second="", asks=False, deep=0)
    one.as_expected()
    one.turns(says=0, then=8, which=0, who=0)
    one.as_expected()
    one.comes_late(performs=True, says=8, which=0)
    one.as_expected()
    one.more_turns(says=0, which=0)
    one.as_expected()
    one.teardown()
