"""The console's own runs as histories: what the engine recorded is what a rehearsal counts."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from escalations import decisions
from escalations.drafted import taken
from runs.engine.record import now
from runs.limits.rows import Row
from runs.models import Call, Run
from runs.rehearsal.drafts import Draft, draft
from runs.rehearsal.history import How, PastRun
from runs.rehearsal.rehearsing import Rehearsal
from runs.shown import past
from tests import factories
from tests.rehearsal.histories import row

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)


def read(new: Row, since: datetime | None = None) -> list[PastRun]:
    at = now()
    return list(past.runs_between(draft(new), since or at - HOUR, at + HOUR, taken))


def told(*words: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out = StringIO()
    call_command("rehearse", *words, "--json", stdout=out)
    *found, last = [json.loads(line) for line in out.getvalue().splitlines()]
    return found, last["totals"]


def finished(**order: Any) -> Run:
    run = factories.advanced(factories.started("writing", **order))
    assert run.state == "done", run.ending
    return run


def test_a_run_is_read_with_its_calls_and_adds_up_to_its_own_totals() -> None:
    run = finished()
    (one,) = read(row("turns/run", 5))
    assert (one.key, one.number, one.workflow, one.team, one.how) == (
        f"run {run.pk}",
        run.pk,
        "writing",
        run.team.name,
        How.SUCCEEDED,
    )
    assert len(one.calls) == Call.objects.filter(run=run).count()
    assert sum(call.cost or 0 for call in one.calls) == run.cost_micros
    assert sum(call.tokens or 0 for call in one.calls) == run.tokens_in + run.tokens_out
    assert [call.begun for call in one.calls] == sorted(call.begun for call in one.calls if call.begun)


def test_the_command_says_which_runs_a_cap_would_have_stopped_and_what_that_saves() -> None:
    runs = [finished(), finished()]
    cost = runs[0].cost_micros
    found, totals = told("cost/run", "workflow:writing", f"${(cost - 1) / 1_000_000:.6f}")
    assert [one["number"] for one in found] == [run.pk for run in runs]
    assert all(one["success_lost"] for one in found)
    assert found[0]["stopped"]["value"] == cost
    assert totals["saved"]["cost_micros"] == sum(one["saved"]["cost_micros"] for one in found)
    assert (totals["runs"], totals["stopped"], totals["successes_lost"]) == (2, 2, 2)
    assert told("cost/run", "workflow:writing", f"${cost / 1_000_000:.6f}")[0] == []
    assert (
        told("cost/run", "workflow:writing", "$0.000001", "--until", "2026-01-02", "--since", "2026-01-01")[
            1
        ]["runs"]
        == 0
    )


def test_a_days_cost_over_runs_stops_the_second_run_alone() -> None:
    first, second = finished(), finished()
    cap = f"${first.cost_micros / 1_000_000:.6f}"
    found, totals = told("cost/day", "organisation", cap)
    assert [one["number"] for one in found] == [second.pk]
    assert totals["saved"]["cost_micros"] == second.cost_micros


def test_an_answer_that_came_after_the_stop_counts_with_who_gave_it_and_how_long_it_took() -> None:
    marta = factories.person("marta", "operator", full_name="Marta Oliveira")
    escalation = factories.approval()
    decisions.approve(actor=marta, **factories.shown(escalation))
    run = factories.advanced(escalation.run)
    assert run.state == "done"
    found, totals = told("cost/run", "organisation", "$0.000001")
    (differs,) = found[0]["decisions_differ"]
    assert (differs["decision"], differs["by"], differs["how"]) == (
        "approve",
        "Marta Oliveira",
        "would not have been asked",
    )
    assert told("cost/run", "organisation", "$1000")[1]["decisions_differ"] == 0
    totals = told("cost/run", "organisation", "$0.000001")[1]
    assert (totals["answered"], totals["operator_hours"], totals["decisions_differ"]) == (1, 1, 1)
    assert totals["extra_escalations_per_operator_hour"] == 1.0


def test_limits_that_were_ended_are_read_with_the_time_in_which_they_held() -> None:
    call_command("limit", "turns/run", "workflow:writing", "12", stdout=StringIO())
    call_command("limit", "turns/run", "workflow:writing", "8", stdout=StringIO())
    rows = past.limits_ever()
    assert [(one.value, one.until is None) for one in rows] == [(12, False), (8, True)]


def test_reading_costs_the_same_few_queries_for_one_run_and_for_many() -> None:
    finished()

    def queries(tried: Draft) -> int:
        at = now()
        with CaptureQueriesContext(
            connection,
        ) as captured:
            rehearsal = Rehearsal(tried)
            for run in past.runs_between(tried, at - HOUR, at + HOUR, taken):
                rehearsal.look(run)
        return len(captured)

    one = queries(draft(row("wall_time/run", 1)))
    for _ in range(3):
        finished()
    assert queries(draft(row("wall_time/run", 1))) == one
    assert one <= 9


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Give all three: KIND SCOPE VALUE"),
        (("turns", "organisation", "3"), "'turns' cannot be limited"),
        (("turns/run", "planet:mars", "3"), "is no scope"),
        (("turns/run", "organisation", "many"), "Write a whole number"),
        (("--change", "999", "3"), "There is no limit 999"),
        (("--end", "999"), "There is no limit 999"),
        (("turns/run", "organisation", "3", "--since", "yesterday"), "write a day and an hour in UTC"),
        (
            ("turns/run", "organisation", "3", "--since", "2026-02-01", "--until", "2026-01-01"),
            "The span is empty",
        ),
        (("turns/run", "organisation", "3", "--traces", "/nowhere.jsonl"), "Cannot read"),
    ],
)
def test_bad_input_gets_one_sentence_that_says_what_to_do(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        told(*words)
