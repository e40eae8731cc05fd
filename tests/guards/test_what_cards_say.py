"""The text on a card about a cap is what happened at it, for the caps of the guards that acquire nothing, at any value:
what was done keeps to the figure that the card names, the refused thing would not have, and the event says the same.

Caps of the permit (turns, calls, tokens, money) are in `tests/budgets/test_card.py`, deadlines in
`tests/latency/test_expiry.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from runs.engine.worker.runtime import Runtime
from runs.limits.kinds import LimitKind
from runs.limits.rows import moment_words
from runs.models import Attempt, Call, Limit, Run, Step, Wait
from tests.faults import counts
from tests.guards.flows import WORLD
from tests.guards.test_online import HELLO, Sent, limit, look, told
from tests.runs.conftest import advanced, question_of, start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]
DRAWS = counts.of(fast=1, soak=12)


@pytest.fixture(autouse=True)
def _no_breaker_opens(settings: Settings) -> None:
    settings.RUNS_BREAKERS = {**settings.RUNS_BREAKERS, "consecutive": 100, "least": 100}


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime("cards-worker", "agents")


def _grows() -> None:
    WORLD.shelf = lambda name, number: {"text": f"{name} " * 150}
    WORLD.script = lambda number: look(f"book {number}")


def _fails() -> None:
    WORLD.script = lambda number: ("post.send", {"to": f"person{WORLD.asked}", "text": "refuse"})


def _repeats() -> None:
    WORLD.script = lambda number: HELLO


def _context(run: Run) -> int:
    return max(call.tokens_in or 0 for call in Call.objects.filter(run=run, kind="model"))


def _retries(run: Run) -> int:
    return Attempt.objects.filter(step__run=run, step__node="act").count() - 1


def _width(run: Run) -> int:
    return Step.objects.filter(run=run, parent__isnull=False).count()


def _deep(run: Run) -> int:
    return 1 + Step.objects.filter(run=run, parent__parent__isnull=False).count()


def _sent(run: Run) -> int:
    return len(WORLD.sent)


CASES = [
    pytest.param(LimitKind.CONTEXT_TOKENS, (400, 3000), "watched", _grows, _context, 1, id="context"),
    pytest.param(LimitKind.RETRIES, (0, 2), "watched_stubborn", _fails, _retries, 0, id="retries"),
    pytest.param(
        LimitKind.FAN_OUT_WIDTH, (1, 3), "watched_planned", lambda: None, _width, 1, id="tasks a plan"
    ),
    pytest.param(
        LimitKind.FAN_OUT_DEPTH, (1, 1), "watched_planned_deep", lambda: None, _deep, 1, id="plans deep"
    ),
    pytest.param(LimitKind.REPEATS, (2, 2), "watched", _repeats, _sent, 0, id="repeats"),
]


@pytest.mark.parametrize(("kind", "between", "workflow", "script", "done", "past"), CASES)
def test_what_was_done_keeps_to_the_figure_that_the_card_names(
    runtime: Runtime,
    kind: LimitKind,
    between: tuple[int, int],
    workflow: str,
    script: Callable[[], None],
    done: Callable[[Run], int],
    past: int,
) -> None:
    rng = random.Random(f"{kind}{DRAWS}")
    for cap in {*between, *(rng.randint(*between) for _ in range(DRAWS))}:
        WORLD.clear()
        row = limit(kind, cap, scope=workflow, scope_kind="workflow")
        script()
        run = advanced(start(workflow), runtime, times=60)
        assert run.state == "waiting"
        title, (event, *_) = question_of(run).title, [one for one in told(run) if one["limit"] == row.pk]
        assert done(run) <= cap
        assert (event["cap"], event["value"] - past >= cap) == (cap, True)
        if (
            kind is not LimitKind.RETRIES
        ):  # its card is the last error's; that no retry is left is said beside it
            assert f"(limit {row.pk})" in title
            assert row.row.amount in title
        if kind is not LimitKind.REPEATS:  # its event names the limit by its number alone
            assert f"limit {row.pk}" in event["says"]
        Limit.objects.filter(pk=row.pk).update(
            valid_until=F("valid_from"), ended_at=F("valid_from"), ended_by="Ada"
        )


@pytest.mark.parametrize("cap", [1, 2])
def test_a_run_whose_retries_are_used_up_has_made_just_so_many(runtime: Runtime, cap: int) -> None:
    limit(LimitKind.RETRIES, cap)
    _fails()
    run = advanced(start("watched_stubborn"), runtime, times=60)
    (event,) = told(run, "retries")
    said = re.search(r"the run has made (\d+) of", event["says"])
    assert said is not None
    assert int(said[1]) == run.retries == _retries(run) == cap


@pytest.mark.parametrize("cap", [200, 700])
def test_a_step_that_is_cut_had_the_time_that_its_card_names(runtime: Runtime, cap: int) -> None:
    row = limit(LimitKind.STEP_LATENCY, cap)
    run = advanced(start("bounded_apart"), runtime)
    title = question_of(run).title
    assert f"{row.row.amount} (limit {row.pk})" in title
    (attempt,) = Attempt.objects.filter(step__run=run)
    assert attempt.finished_at is not None
    assert attempt.finished_at - attempt.started_at >= timedelta(milliseconds=cap)
    (event,) = told(run)
    assert event["says"].split(": ", 1)[0] in title


@pytest.mark.parametrize("cap", [1, 3])
def test_agents_that_were_asked_too_often_had_as_many_turns_as_the_card_names(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, cap: int
) -> None:
    monkeypatch.setattr("runs.engine.agent_turns.MOST_DELEGATED", cap)
    run = advanced(start("bounded_asking"), runtime)
    assert f"used {cap} turns" in question_of(run).title
    assert Call.objects.filter(run=run, name="bounded_helper").count() == cap


@pytest.mark.parametrize("cap", [1, 60_000])
def test_a_run_ends_when_its_time_is_over_and_not_before_as_it_says(runtime: Runtime, cap: int) -> None:
    row = limit(LimitKind.WALL_TIME, cap)
    WORLD.does(HELLO)
    run = advanced(start("watched"), runtime)
    assert run.state == ("failed" if cap == 1 else "done")
    assert (f"limit {row.pk}" in run.ending) is (cap == 1)


@pytest.mark.parametrize("value", [1, 2])
def test_a_run_that_waits_for_a_rate_looks_again_when_it_says_and_goes_on_by_itself(
    runtime: Runtime, value: int
) -> None:
    limit(LimitKind.REQUESTS, value, window="minute")
    calls: list[Sent] = [look("lamp"), look("desk")]
    WORLD.does(*calls)
    run = advanced(start("watched"), runtime, times=1)
    wait = Wait.objects.get(run=run)
    assert run.state == "sleeping"
    assert f"It goes on by itself, next look {moment_words(wait.until)}." in wait.says
    assert Step.objects.get(pk=wait.step_id).due_at == wait.until == run.due_at
    assert timezone.now() < wait.until <= timezone.now() + timedelta(seconds=62)
    sent = run.calls.count()
    assert advanced(run, runtime, times=1).calls.count() == sent  # nothing before that moment
    assert not run.questions.exists()
