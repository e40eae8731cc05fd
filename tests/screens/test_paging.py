"""Paging by number: no row twice and none left out, whatever arrives meanwhile."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from escalations import interventions
from escalations.audit.filters import Filters
from escalations.audit.record import Subject, append
from escalations.models import JournalEntry
from runs.engine.record import event
from runs.models import Event, Run
from runs.shown import history, listing
from runs.shown.listing import Wanted
from tests import factories
from tests.screens.reading import Page, read

pytestmark = pytest.mark.django_db(transaction=True)


def runs(number: int) -> list[int]:
    return [factories.started("plain", text=f"run number {one}").pk for one in range(number)]


def next_link(page: Page) -> str | None:
    return next(
        (given["href"] for tag, given in page.tags if tag == "a" and given.get("rel") == "next"), None
    )


def test_pages_of_runs_have_no_gap_and_no_repeat_while_others_start(transactional_db: None) -> None:
    known = runs(7)
    seen: list[int] = []
    before: int | None = None
    while True:
        page = listing.page(Wanted(before=before), size=3)
        seen += [run.pk for run in page.runs]
        runs(1)
        if page.next is None:
            break
        before = page.next
    assert seen == sorted(known, reverse=True)


def test_the_links_of_the_list_lead_through_all_runs(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.shown.listing.page.__defaults__", (2,))
    known = runs(5)
    seen: list[str] = []
    where: str | None = "/runs/?workflow=plain"
    while where:
        page = read(operator.get(where))
        seen += [one.removeprefix("run-") for one in page.ids() if one.removeprefix("run-").isdigit()]
        where = next_link(page)
    assert [int(one) for one in seen] == sorted(known, reverse=True)


def test_runs_are_narrowed_by_state_workflow_team_and_words(transactional_db: None) -> None:
    waiting = factories.approval().run_id
    ready = factories.started("plain", text="needle").pk

    def found(**wanted: object) -> list[int]:
        return [run.pk for run in listing.page(Wanted(**wanted)).runs]  # type: ignore[arg-type]

    assert found(state="waiting") == [waiting]
    assert found(workflow="plain") == [ready]
    assert found(team="Testers") == [ready, waiting]
    assert found(team="Others") == []
    assert found(text="needle") == [ready]
    assert found(text=str(waiting)) == [waiting]
    assert found(upto=waiting) == [waiting]
    assert found(state="no such state") == [ready, waiting]
    assert listing.counts()["waiting"] == 1


def test_a_page_of_runs_says_where_each_is(transactional_db: None) -> None:
    waiting = factories.approval()
    (run,) = listing.page(Wanted()).runs
    assert (run.pk, run.place) == (waiting.run_id, "pay")  # type: ignore[attr-defined]


def entries(number: int, actor: User) -> None:
    for one in range(number):
        with transaction.atomic():
            append(actor=actor, act="take", subject=Subject(target=f"E-{one}"))


def test_pages_of_entries_have_no_gap_and_no_repeat_while_others_are_written(people: dict[str, User]) -> None:
    entries(7, people["operator"])
    known = list(JournalEntry.objects.values_list("seq", flat=True))
    seen: list[int] = []
    before: int | None = None
    while True:
        page = interventions.page(Filters(), before, size=3)
        seen += [entry.seq for entry in page.entries]
        entries(1, people["operator"])
        if page.next is None:
            break
        before = page.next
    assert seen == sorted(known, reverse=True)


def test_days_are_filtered_in_utc_with_the_last_one_included(
    operator: Client, people: dict[str, User]
) -> None:
    entries(1, people["operator"])
    entry = JournalEntry.objects.get()
    day = entry.at.strftime("%Y-%m-%d")
    assert f"e-{entry.seq}" in read(operator.get(f"/interventions/?from={day}&to={day}")).ids()
    assert f"e-{entry.seq}" not in read(operator.get("/interventions/?to=2001-01-01")).ids()
    assert f"e-{entry.seq}" in read(operator.get("/interventions/?from=yesterday")).ids()


def test_an_entry_is_recomputed_and_a_forged_one_is_shown_as_such(
    operator: Client, people: dict[str, User]
) -> None:
    entries(2, people["operator"])
    first, second = JournalEntry.objects.order_by("seq")
    assert "recomputed, holds" in read(operator.get(f"/interventions/{second.seq}")).text
    with transaction.atomic():
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(
                "UPDATE escalations_journalentry SET body = body || ' ' WHERE seq = %s", [first.seq]
            )
    assert "does not hold" in read(operator.get(f"/interventions/{first.seq}")).text


def test_events_come_two_hundred_a_page_without_gap(operator: Client) -> None:
    run = factories.started("plain")
    run = Run.objects.get(pk=run.pk)
    for number in range(450):
        event(run, "noted", number=number)
    run.save()
    seen: list[int] = []
    before: int | None = None
    while True:
        told = history.events(run, before)
        assert len(told.events) <= 200
        seen += [row.seq for row in told.events]
        if told.next is None:
            break
        before = told.next
    assert seen == list(range(Event.objects.filter(run=run).count(), 0, -1))
    page = read(operator.get(f"/runs/{run.pk}"))
    assert "newest first, 451 down to 252 of 451" in page.text
    assert next_link(page) == f"/runs/{run.pk}?before=252#events"


def test_events_are_found_by_what_they_say_and_paged_like_that(operator: Client) -> None:
    run = Run.objects.get(pk=factories.started("plain").pk)
    for number in range(450):
        event(run, "noted", said="needle" if number % 2 else "hay")
    run.save()
    page = read(operator.get(f"/runs/{run.pk}/events?find=NEEDLE"))
    assert page.text.count("needle") >= 200
    assert "hay" not in page.text
    assert next_link(page) == f"/runs/{run.pk}?before=53&find=NEEDLE#events"
    assert "No event has" in read(operator.get(f"/runs/{run.pk}/events?find=nothing+like+it")).text
