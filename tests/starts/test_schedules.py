"""Schedules: every moment starts one run, an outage catches up with one, and what stands in the way is said."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from escalations.models import JournalEntry
from opsconsole.celery import app
from runs import bodies
from runs.engine import holds
from runs.engine.triggers import schedules
from runs.models import Trigger
from runs.shown.triggers import triggers_of
from runs.starts_by import Folder, Schedule
from runs.tasks import look_at_triggers
from tests.factories import at_once
from tests.starts.conftest import NAME, Register, first_event, runs, trigger, utc

pytestmark = pytest.mark.django_db(transaction=True)
DAILY = Schedule(name="daily", cron="0 6 * * *", input={"text": "good morning"})
SEEN = utc(2026, 11, 1, 12)  # when the schedule is first looked at


def seen_first(registered: Register, *starts: Schedule) -> None:
    registered(*(starts or (DAILY,)))
    assert schedules.look(SEEN) == 0


def test_a_due_moment_starts_one_run_that_says_what_started_it(registered: Register) -> None:
    seen_first(registered)
    assert schedules.look(utc(2026, 11, 2, 5, 59, 59)) == 0
    assert schedules.look(utc(2026, 11, 2, 6, 0, 7)) == 1
    (run,) = runs()
    assert (run.start_key, run.started_by) == ("schedule:daily:2026-11-02T06:00:00Z", "schedule daily")
    assert bodies.load(run.input)["text"] == "good morning"
    event = first_event(run)
    assert (event["trigger"], event["key"], event["missed"]) == ("schedule daily", run.start_key, 0)
    assert trigger().last_run == run
    assert trigger().last_says == ""
    assert JournalEntry.objects.count() == 0  # a machine's start is no intervention


def test_the_same_moment_looked_at_again_starts_nothing(registered: Register) -> None:
    seen_first(registered)
    for second in (1, 2, 11):
        schedules.look(utc(2026, 11, 2, 6, 0, second))
    assert len(runs()) == 1


def test_the_next_moment_knows_that_the_one_before_was_started(registered: Register) -> None:
    seen_first(registered)
    assert [schedules.look(utc(2026, 11, day, 6, 0, 1)) for day in (2, 3, 4)] == [1, 1, 1]
    assert [first_event(run)["missed"] for run in runs()] == [0, 0, 0]


def test_eight_beats_at_once_start_one_run(registered: Register) -> None:
    seen_first(registered)
    found = at_once(*[lambda: schedules.look(utc(2026, 11, 2, 6, 0, 1))] * 8)
    assert sorted(found) == [0] * 7 + [1]
    assert len(runs()) == 1


def test_eight_beats_at_once_see_a_new_schedule_once(registered: Register) -> None:
    registered(DAILY)
    assert at_once(*[lambda: schedules.look(SEEN)] * 8) == [0] * 8
    assert trigger().since == SEEN


def test_a_schedule_seen_for_the_first_time_starts_nothing_for_the_past(registered: Register) -> None:
    registered(DAILY)
    assert schedules.look(utc(2026, 11, 2, 6, 0, 0)) == 0
    assert schedules.look(utc(2026, 11, 2, 6, 0, 9)) == 0
    assert schedules.look(utc(2026, 11, 3, 6, 0, 9)) == 1


def test_a_schedule_that_was_changed_counts_from_then_on(registered: Register) -> None:
    seen_first(registered)
    registered(Schedule(name="daily", cron="0 5 * * *", input={}))
    assert schedules.look(utc(2026, 11, 2, 5, 30)) == 0  # 05:00 had passed before anybody knew of it
    assert schedules.look(utc(2026, 11, 2, 6, 30)) == 0
    assert schedules.look(utc(2026, 11, 3, 5, 0)) == 1


def test_after_an_outage_only_the_newest_moment_is_caught_up_and_it_is_said(registered: Register) -> None:
    seen_first(registered)
    assert schedules.look(utc(2026, 11, 6, 9, 12)) == 1
    (run,) = runs()
    assert run.start_key == "schedule:daily:2026-11-06T06:00:00Z"
    assert first_event(run)["missed"] == 4
    assert trigger().last_says == (
        "Due 2026-11-06T06:00:00Z, started late at 2026-11-06T09:12:00Z. Left out before it: 4."
    )
    assert schedules.look(utc(2026, 11, 6, 9, 13)) == 0


def test_the_input_may_be_a_function_of_the_due_moment_in_its_zone(registered: Register) -> None:
    def given(due: datetime) -> dict[str, Any]:
        return {"text": due.isoformat()}

    seen_first(registered, Schedule(name="daily", cron="0 6 * * *", timezone="Asia/Tokyo", input=given))
    assert schedules.look(utc(2026, 11, 1, 21, 0, 3)) == 1
    assert bodies.load(runs()[0].input)["text"] == "2026-11-02T06:00:00+09:00"
    assert runs()[0].start_key == "schedule:daily:2026-11-01T21:00:00Z"


def test_a_night_of_25_hours_starts_a_stated_time_once(registered: Register) -> None:
    berlin = Schedule(name="nightly", cron="30 2 * * *", timezone="Europe/Berlin", input={})
    registered(berlin)
    schedules.look(utc(2026, 10, 24, 12))
    for hour in range(24):
        schedules.look(utc(2026, 10, 25, hour, 31))
    assert [run.start_key for run in runs()] == ["schedule:nightly:2026-10-25T00:30:00Z"]


def test_a_stop_refuses_the_start_until_it_is_released(registered: Register) -> None:
    seen_first(registered)
    with transaction.atomic():
        control, _ = holds.engage("stop", "workflow", NAME, by="Marta")
    assert schedules.look(utc(2026, 11, 2, 6, 0, 5)) == 0
    assert "is stopped by Marta" in trigger().last_error
    assert runs() == []
    with transaction.atomic():
        holds.release(control.pk, by="Marta", reason="over")
    assert schedules.look(utc(2026, 11, 2, 7)) == 1
    assert trigger().last_error == ""


def test_a_moment_that_was_refused_gives_way_to_the_next(registered: Register) -> None:
    seen_first(registered)
    with transaction.atomic():
        control, _ = holds.engage("stop", "everything", by="Marta")
    schedules.look(utc(2026, 11, 2, 6, 0, 5))
    schedules.look(utc(2026, 11, 3, 6, 0, 5))
    with transaction.atomic():
        holds.release(control.pk, by="Marta", reason="over")
    assert schedules.look(utc(2026, 11, 3, 6, 1)) == 1
    assert [run.start_key for run in runs()] == ["schedule:daily:2026-11-03T06:00:00Z"]
    assert first_event(runs()[0])["missed"] == 1


def test_a_pause_lets_the_run_start_and_holds_it(registered: Register) -> None:
    seen_first(registered)
    with transaction.atomic():
        holds.engage("pause", "workflow", NAME, by="Marta")
    assert schedules.look(utc(2026, 11, 2, 6, 0, 5)) == 1
    assert runs()[0].hold == "pause"


def test_a_full_intake_is_said_and_tried_again(registered: Register, settings: Settings) -> None:
    seen_first(registered)
    settings.RUNS_INTAKE_LIMIT = 0
    assert schedules.look(utc(2026, 11, 2, 6, 0, 5)) == 0
    assert "the limit is 0" in trigger().last_error
    settings.RUNS_INTAKE_LIMIT = 10
    assert schedules.look(utc(2026, 11, 2, 6, 0, 15)) == 1


def test_wrong_inputs_and_failing_functions_stop_no_other_schedule(registered: Register) -> None:
    def fails(due: datetime) -> dict[str, Any]:
        raise ZeroDivisionError("nobody foresaw this")

    seen_first(
        registered,
        Schedule(name="fails", cron="0 6 * * *", input=fails),
        Schedule(name="wrong", cron="0 6 * * *", input={"amount": "many", "colour": "red"}),
        Schedule(name="good", cron="0 6 * * *", input={}),
    )
    assert schedules.look(utc(2026, 11, 2, 6, 0, 5)) == 1
    assert [run.started_by for run in runs()] == ["schedule good"]
    said = {one.name: one.last_error for one in triggers_of(NAME)}
    assert "ZeroDivisionError: nobody foresaw this" in said["fails"]
    assert "amount: " in said["wrong"]
    assert "colour: " in said["wrong"]
    assert said["good"] == ""


def test_what_screens_are_told_of_a_schedule(registered: Register) -> None:
    seen_first(registered)
    schedules.look(utc(2026, 11, 2, 6, 0, 1))
    (seen,) = triggers_of(NAME, utc(2026, 11, 2, 7))
    assert (seen.kind, seen.name, seen.says) == ("schedule", "daily", "0 6 * * * (UTC)")
    assert (seen.next_at, seen.last_run, seen.last_error) == (utc(2026, 11, 3, 6), runs()[0].pk, "")
    assert triggers_of("no such workflow") == []


def test_beat_ticks_the_look_at_triggers_and_the_task_looks_at_both(
    registered: Register, tmp_path: Path, settings: Settings
) -> None:
    assert app.conf.beat_schedule["look at triggers"]["task"] == look_at_triggers.name
    folder = tmp_path / "watched"
    folder.mkdir()
    settings.WATCHED_FOLDERS = {f"{NAME}/dropped": folder}
    registered(DAILY, Folder(name="dropped"))
    look_at_triggers()
    assert {row.kind for row in Trigger.objects.filter(workflow=NAME)} == {"schedule", "folder"}
    assert (folder / "done").is_dir()
