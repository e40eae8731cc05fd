"""A run of ten thousand steps, of plans inside a plan, of texts of a megabyte: its page fetches a stretch of it."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from django.db.models import Sum
from django.test import Client

from runs.models import Body, Event, Run, RunState, Step
from runs.shown import history, stretch
from runs.shown.timeline import MOST_ROWS, MOST_TASKS
from tests import factories
from tests.faults import counts, figures
from tests.screens.reading import Page, read
from tests.size import flows, grown

pytestmark = pytest.mark.django_db(transaction=True)
LONG = 10_000
MEGABYTE = 1_000_000
HELD_MB = 40  # by Python, while a run is performed


def page(client: Client, where: str) -> Page:
    return read(client.get(where))


def rows(shown: Page, about: str = "step") -> list[int]:
    return [int(one.removeprefix(f"row-{about}-")) for one in shown.ids() if one.startswith(f"row-{about}-")]


def seconds(client: Client, where: str) -> float:
    """Of processor time, to be told: no test ends by it (`bench pages` measures)."""
    found = []
    for _ in range(3):
        begun = time.process_time()
        client.get(where)
        found.append(time.process_time() - begun)
    return min(found)


def held_mb(client: Client, where: str) -> float:
    """The most that one look at a page has in Python's memory at a time."""
    client.get(where)
    tracemalloc.start()
    client.get(where)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1_000_000


def long_run(steps: int = LONG) -> Run:
    run = factories.advanced(factories.started(flows.ROUND.name, times=4))
    assert run.state == RunState.DONE
    grown.lengthened(run, steps - run.steps.count())
    return run


def test_the_page_of_ten_thousand_steps_shows_the_newest_and_leads_back_through_all(operator: Client) -> None:
    run = long_run(1_000)
    seen: list[int] = []
    where: str | None = f"/runs/{run.pk}"
    while where:
        shown = page(operator, where)
        numbers = Step.objects.in_bulk(rows(shown))
        seen = [numbers[one].seq for one in rows(shown)] + seen
        back = [a["href"] for tag, a in shown.tags if tag == "a" and a.get("rel") == "prev"]
        where = back[0].partition("#")[0] if back else None
    assert seen == list(range(1, 1_001))


def test_the_drawing_adds_up_every_step(operator: Client) -> None:
    run = long_run()
    shown = page(operator, f"/runs/{run.pk}")
    visits = run.steps.filter(node="check").count()
    assert f"{visits} visits" in shown.text
    assert len(rows(shown)) <= MOST_ROWS
    assert "steps 9,941 to 10,000" in shown.text
    assert f"of {run.event_seq:,}" in shown.text


def test_a_run_of_ten_thousand_steps_is_read_in_bounds(operator: Client) -> None:
    run = long_run()
    assert Event.objects.filter(run=run).count() > 25_000
    for part in ("", "/moving", "/events", "?until=5000", "/events?find=9999"):
        where = f"/runs/{run.pk}{part}"
        assert held_mb(operator, where) < 12, part
        assert len(operator.get(where).content) < 400_000, part
    assert grown.cost(operator, f"/runs/{run.pk}").queries == 12
    assert len(history.history(run).shown.steps) <= stretch.TOPS


def test_five_thousand_events_stand_on_one_page(operator: Client) -> None:
    run = long_run()
    assert f'href="/runs/{run.pk}?many=1#events"' in operator.get(f"/runs/{run.pk}").content.decode()
    where = f"/runs/{run.pk}/events?many=1"
    assert grown.cost(operator, where).queries <= 12
    assert held_mb(operator, where) < 40
    told = operator.get(where).content.decode()
    assert told.count('<tr><td class="num mute">') == 5_000
    older = f"?before={run.event_seq - 4_999}&amp;many=1"
    assert older in told
    assert f"{run.event_seq:,} down to {run.event_seq - 4_999:,} of {run.event_seq:,}" in told


def test_plans_inside_a_plan_are_folded_and_unfold_without_a_script(operator: Client) -> None:
    run = factories.advanced(factories.started(flows.NEST.name, areas=13, tasks=6, fails=6))
    assert run.state == RunState.DONE
    shown = page(operator, f"/runs/{run.pk}")
    assert len(rows(shown)) <= 2 + MOST_TASKS * (1 + stretch.NESTED)
    assert "65 of 78 done" in shown.text
    plan = Step.objects.get(run=run, node="plan")
    area = Step.objects.get(run=run, parent=plan, place=12)  # folded away itself
    unfolded = page(operator, f"/runs/{run.pk}?plan={area.pk}")
    pieces = set(Step.objects.filter(parent=area).values_list("pk", flat=True))
    assert pieces <= set(rows(unfolded))
    assert "… and 3 more: 3 done" in shown.text


def test_a_megabyte_is_stored_once_and_never_written_into_a_page_in_full(operator: Client) -> None:
    before = Body.objects.count()
    run = factories.advanced(factories.started(flows.LARGE.name, size=MEGABYTE))
    assert run.state == RunState.DONE
    large = Body.objects.filter(size__gt=MEGABYTE // 2)
    assert large.count() == 1
    assert Body.objects.count() == before + 2  # the order, and the text that three steps handed on
    assert Body.objects.aggregate(bytes=Sum("size"))["bytes"] < 1.2 * MEGABYTE
    attempts = Step.objects.filter(run=run).values_list("attempts", flat=True)
    for where in (f"/runs/{run.pk}", *(f"/runs/{run.pk}?attempt={one}" for one in attempts)):
        assert len(operator.get(where).content) < 60_000
        assert held_mb(operator, where) < 4
    seen = 0
    where = f"/runs/{run.pk}/bodies/{run.output_id}"
    while where:
        shown = page(operator, where)
        assert held_mb(operator, where) < 4
        seen += 1
        following = [a["href"] for tag, a in shown.tags if tag == "a" and a.get("rel") == "next"]
        where = f"/runs/{run.pk}/bodies/{run.output_id}{following[0]}" if following else ""
    assert seen == -(-large.get().size // 100_000)


def test_what_goes_on_inside_a_folded_plan_is_shown_first(operator: Client) -> None:
    run = factories.advanced(factories.started(flows.NEST.name, areas=13, tasks=4))
    plan = Step.objects.get(run=run, node="plan")
    area = Step.objects.get(run=run, parent=plan, place=12)
    waits = Step.objects.get(parent=area, place=3)
    assert area.pk not in rows(page(operator, f"/runs/{run.pk}"))
    Step.objects.filter(pk=waits.pk).update(state="waiting", finished_at=None)
    assert {area.pk, waits.pk} <= set(rows(page(operator, f"/runs/{run.pk}")))


def test_plans_of_plans_are_performed_and_shown_in_bounds(operator: Client) -> None:
    """Fifty of fifty in the soak. Each seventh task fails, and is settled at length."""
    wide = counts.of(fast=12, soak=50)
    run = factories.started(flows.NEST.name, areas=wide, tasks=wide, fails=7)
    began, spent = time.monotonic(), time.process_time()
    tracemalloc.start()
    run = factories.advanced(run)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    spent, took = time.process_time() - spent, time.monotonic() - began
    tasks = wide + wide * wide
    assert run.state == RunState.DONE
    assert run.steps.count() == 2 + tasks
    assert run.steps.filter(state="failed").count() == wide * len(range(1, wide, 7))
    assert peak / 1_000_000 < HELD_MB
    shown = {part: seconds(operator, f"/runs/{run.pk}{part}") for part in ("", "/moving")}
    held = max(held_mb(operator, f"/runs/{run.pk}{part}") for part in shown)
    figures.tell(
        f"{wide} plans of {wide} tasks",
        target=f"pages 500 ms, memory {HELD_MB} MB",
        measured=f"page {max(shown.values()) * 1000:.0f} ms, {held:.1f} MB; performed with {peak / 1_000_000:.1f} MB "
        f"in {took:.1f} s, {spent / tasks * 1000:.1f} ms of the worker's processor time a task (memory traced)",
        n=tasks,
    )
    assert held < 12
