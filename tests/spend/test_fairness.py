"""No team starves at a rate, over hundreds of calls, however many of another wait. Time is moved, not waited for."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from django.db.models import F

from runs.engine.claimed import Claimed
from runs.engine.outcomes import Blocked
from runs.models import Call, RateEntry, Wait
from tests.spend.conftest import account, asking, at_work, keep_leases, limit, now, tried

pytestmark = pytest.mark.django_db(transaction=True)
RATE = 12  # requests a minute
TICK = timedelta(seconds=10)
FLOOD, ONE, OTHER = "flood", "one", "other"
WAITING = 100  # calls of the flooding team, at any moment; the others have one each
LOOKING = 4  # of those, the ones that look again at a tick: no more would fit
FAR = timedelta(days=400)


@dataclass(slots=True)
class Queue:
    """Who waits for the rate, in time that passes when it is told to."""

    steps: dict[str, list[Claimed]]
    dice: random.Random
    granted: Counter[str] = field(default_factory=Counter)
    waited: dict[str, list[int]] = field(default_factory=dict)  # in ticks
    ticks: int = 0

    def tick(self, *teams: str) -> None:
        """Ten seconds pass; the oldest calls of each team look again, in any order."""
        self.ticks += 1
        pass_ten_seconds()
        looking = [(team, one) for team in teams for one in self.steps[team][:LOOKING]]
        self.dice.shuffle(looking)
        for team, claimed in looking:
            self.look(team, claimed)

    def look(self, team: str, claimed: Claimed) -> None:
        since = Wait.objects.filter(step_id=claimed.step.pk).values_list("since", flat=True).first()
        stood = tried(claimed, asking(f"k{self.ticks}-{self.dice.random()}"))
        if isinstance(stood, Blocked):
            waits(claimed, team)
            return
        assert isinstance(stood, Call)
        self.granted[team] += 1
        self.waited.setdefault(team, []).append(0 if since is None else round((now() - since) / TICK))
        self.steps[team].remove(claimed)  # its next call comes after all that wait already
        self.steps[team].append(claimed)
        waits(claimed, team)


def waits(claimed: Claimed, team: str) -> None:
    """In the queue, with the place that it has already."""
    Wait.objects.get_or_create(
        step=claimed.step,
        defaults={
            "run": claimed.run,
            "team": team,
            "guard": "requests",
            "account_id": account("requests/minute").pk,
            "need": 1,
            "until": now() + TICK,
            "since": now(),
            "says": "it waits",
        },
    )


def pass_ten_seconds() -> None:
    Wait.objects.update(since=F("since") - TICK, until=now() + TICK)  # all of them still come
    RateEntry.objects.update(at=F("at") - FAR)  # there and back: no second meets another one on its way
    RateEntry.objects.update(at=F("at") + (FAR - TICK))


def of_team(team: str) -> Claimed:
    claimed = at_work()
    object.__setattr__(claimed, "workflow", replace(claimed.workflow, team=team))
    return claimed


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> Queue:
    limit("requests/minute", RATE)
    steps = {FLOOD: [of_team(FLOOD) for _ in range(WAITING)], ONE: [of_team(ONE)], OTHER: [of_team(OTHER)]}
    keep_leases()
    first = steps[FLOOD][-1]
    while isinstance(tried(first, asking(f"first-{random.random()}")), Call):
        pass  # the flooding team has had the whole minute
    for claimed in steps[FLOOD]:
        waits(claimed, FLOOD)
    return Queue(steps=steps, dice=random.Random(7))


def test_a_team_that_floods_takes_no_more_than_its_share_and_nobody_waits_for_long(queue: Queue) -> None:
    for _ in range(12):  # two minutes, until what the flood had before is over
        queue.tick(FLOOD, ONE, OTHER)
    assert queue.granted[ONE] >= 2  # not even then
    queue.granted.clear()
    queue.waited.clear()
    for _ in range(60):
        queue.tick(FLOOD, ONE, OTHER)
    total = sum(queue.granted.values())
    assert total >= 0.8 * RATE * 10  # ten minutes: the rate is used
    for team in (ONE, OTHER):
        assert queue.granted[team] >= 0.7 * total / 3, queue.granted  # in ten minutes a call more or less
        assert max(queue.waited[team]) <= 6, (team, queue.waited[team])  # a minute
    assert queue.granted[FLOOD] >= 0.7 * total / 3, queue.granted
    assert queue.granted[FLOOD] <= 1.4 * total / 3, queue.granted


def test_what_the_others_do_not_ask_for_the_flood_may_have_and_who_comes_again_goes_first(
    queue: Queue,
) -> None:
    for _ in range(30):
        queue.tick(FLOOD)
    assert queue.granted[FLOOD] >= 0.7 * RATE * 5  # nothing is kept back for who does not ask
    for _ in range(7):
        queue.tick(FLOOD, ONE)
    assert queue.granted[ONE] >= 1  # within a minute, before a hundred that have waited for longer
