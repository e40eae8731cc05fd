"""Rehearsing beside the form of a limit, and what is asked before one is enforced."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from escalations import limits, rehearsals
from escalations.expected import IllegalMove, Invalid, NotAllowed
from escalations.models import Rehearsal, RehearsedRun
from escalations.roles import System
from runs.models import Limit, Run
from tests import factories
from tests.limits.conftest import signed_in
from tests.limits.setting import says, seen
from tests.screens.reading import read

pytestmark = pytest.mark.django_db(transaction=True)
DRAFT = {
    "what": "cost/run",
    "scope_kind": "workflow",
    "scope": "writing",
    "value": "$0.000001",
    "mode": "enforce",
}


@pytest.fixture
def ines(transactional_db: None) -> User:
    return factories.person("ines", "admin", full_name="Ines Okafor")


@pytest.fixture
def marta(transactional_db: None) -> User:
    return factories.person("marta", "operator", full_name="Marta Oliveira")


@pytest.fixture
def run(transactional_db: None) -> Run:
    run = factories.advanced(factories.started("writing"))
    assert run.state == "done"
    return run


def rehearse(actor: User, **given: Any) -> Rehearsal:
    return rehearsals.ask(actor=actor, given=DRAFT | given)


def test_an_admin_rehearses_sees_what_would_have_been_stopped_and_enforces_exactly_that(
    ines: User, run: Run
) -> None:
    client = signed_in(ines)
    answer = client.post("/limits/rehearse", DRAFT | {"days": "7", "reason": "too dear"})
    assert answer.status_code == 302
    page = read(client.get(answer["Location"]))
    for words in (
        "cost a run of workflow writing: $0.000001, enforce",
        "Stopped at step 1",
        "success lost",
        "Rehearsed as it stands here: 1 of 1 runs stopped.",
        "What 1 run came to",
        "1 above the draft",
        "the draft lies here",
        "Top-ups are not replayed",
    ):
        assert words in page.text
    assert f"/runs/{run.pk}" in page.links()
    form = page.forms["/limits/set"]
    assert (form["value"], form["scope"], form["reason"]) == ("$0.000001", "writing", "too dear")
    client.post("/limits/set", form | DRAFT)
    limit = Limit.objects.get()
    assert (limit.value, limit.mode) == (1, "enforce")
    (entry,) = factories.journal(act="set limit")
    assert '"successes_lost":1' in entry.body.replace(" ", "")
    assert Rehearsal.objects.get().digest in entry.body


def test_another_draft_than_the_one_that_was_rehearsed_is_not_enforced(ines: User, run: Run) -> None:
    rehearse(ines)
    for other in ({"value": "$0.000002"}, {"scope_kind": "organisation", "scope": ""}, {"what": "cost/day"}):
        with pytest.raises(Invalid, match="Rehearse exactly this first"):
            limits.set_limit(actor=ines, given=DRAFT | other)
    assert not Limit.objects.exists()
    page = read(
        signed_in(ines).get("/limits/new", DRAFT | {"value": "$3", "rehearsal": Rehearsal.objects.get().pk})
    )
    assert "This is not what stands in the form now" in page.text


def test_in_a_hurry_it_is_enforced_without_a_rehearsal_and_with_a_reason(ines: User) -> None:
    with pytest.raises(Invalid, match="without a rehearsal"):
        limits.set_limit(actor=ines, given=DRAFT, unrehearsed=True)
    limits.set_limit(actor=ines, given=DRAFT, unrehearsed=True, reason="it burns")
    (entry,) = factories.journal(act="set limit", outcome="done")
    assert '"rehearsal":"none"' in entry.body.replace(" ", "")


def test_watching_and_warning_need_no_rehearsal_nor_does_lowering_what_is_enforced(ines: User) -> None:
    for mode in ("observe", "warn"):
        limits.set_limit(actor=ines, given=DRAFT | {"mode": mode})
    number = limits.set_limit(actor=System(name="command line"), given=DRAFT | {"value": "$5"}).line
    limits.change(actor=ines, line=number, seen=seen(number), given={"value": "$4", "mode": "enforce"})
    assert says(number) == [(4_000_000, "enforce")]


def test_from_observing_to_enforcing_asks_for_a_rehearsal_of_this_limit_as_it_is_now(
    ines: User, run: Run
) -> None:
    number = limits.set_limit(actor=ines, given=DRAFT | {"mode": "observe"}).line
    wanted = {"value": "$0.000001", "mode": "enforce"}
    with pytest.raises(Invalid, match="Rehearse exactly this first"):
        limits.change(actor=ines, line=number, seen=seen(number), given=wanted)
    one = rehearsals.ask(actor=ines, given=wanted, line=number, seen=seen(number))
    assert (one.state, one.totals["stopped"]) == ("done", 1)
    limits.change(
        actor=ines, line=number, seen=seen(number), given={"value": "$9", "mode": "observe"}, reason="so"
    )
    with pytest.raises(Invalid, match="Rehearse exactly this first"):
        limits.change(actor=ines, line=number, seen=seen(number), given=wanted)
    rehearsals.ask(actor=ines, given=wanted, line=number, seen=seen(number))
    limits.change(actor=ines, line=number, seen=seen(number), given=wanted)
    assert says(number) == [(1, "enforce")]


def test_a_rehearsal_of_yesterday_is_too_old(ines: User, run: Run) -> None:
    one = rehearse(ines)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE escalations_rehearsal SET finished_at = finished_at - interval '25 hours'")
    with pytest.raises(Invalid, match="Rehearse exactly this first"):
        limits.set_limit(actor=ines, given=DRAFT)
    assert one.state == "done"


def test_only_admins_rehearse_and_everybody_may_look(ines: User, marta: User, run: Run) -> None:
    with pytest.raises(NotAllowed, match="may not rehearse limit: it needs admin"):
        rehearse(marta)
    one = rehearse(ines)
    assert "1 of 1" in read(alone(marta, one)).text


def test_what_is_wrong_is_said_beside_its_field(ines: User) -> None:
    page = read(signed_in(ines).post("/limits/rehearse", DRAFT | {"value": "many", "reason": "so"}), 422)
    assert "Write an amount in US dollars" in page.text
    assert page.forms["/limits/set"]["reason"] == "so"
    page = read(signed_in(ines).post("/limits/rehearse", DRAFT | {"scope": "wirting"}), 422)
    assert "There is no workflow called" in page.text


def test_without_any_run_it_says_so(ines: User) -> None:
    one = rehearse(ines)
    assert "No run that it covers began in that time." in read(alone(ines, one)).text


def test_what_takes_too_long_is_left_to_a_worker_and_the_page_asks_again(
    ines: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "WAIT_SECONDS", -1.0)
    began = time.monotonic()
    one = rehearse(ines)
    assert (one.state, time.monotonic() - began < 2.0) == ("asked", True)
    page = alone(ines, one).content.decode()
    assert 'hx-trigger="every 1s"' in page
    with pytest.raises(Invalid, match="Rehearse exactly this first"):
        limits.set_limit(actor=ines, given=DRAFT)
    assert rehearsals.overlooked() == [one.pk]
    assert rehearsals.perform(one.pk)
    one.refresh_from_db()
    assert (one.state, one.totals["stopped"], RehearsedRun.objects.count()) == ("done", 1, 1)
    assert "every 1s" not in alone(ines, one).content.decode()


def test_a_worker_that_was_lost_is_followed_by_another_and_writes_nothing_any_more(
    ines: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "WAIT_SECONDS", -1.0)
    one = rehearse(ines)
    lease = rehearsals._take(one.pk)
    assert lease is not None
    assert rehearsals.overlooked() == []
    assert not rehearsals.perform(one.pk), "somebody does it"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE escalations_rehearsal SET due_at = clock_timestamp()")
    lost = rehearsals._Performance(one.pk, lease, None)
    assert rehearsals.perform(one.pk)
    Rehearsal.objects.update(totals={"stopped": 77})
    lost.perform()
    one.refresh_from_db()
    assert one.totals == {"stopped": 77}


def test_three_at_a_time_are_enough_for_one_person(ines: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsals, "WAIT_SECONDS", -1.0)
    _ = [rehearse(ines) for _ in range(3)] if factories.advanced(factories.started("writing")) else []
    with pytest.raises(IllegalMove, match="3 rehearsals of yours are under way"):
        rehearse(ines)


def test_the_page_with_a_rehearsal_asks_the_database_at_most_fourteen_times(ines: User, run: Run) -> None:
    one = rehearse(ines)
    client = signed_in(ines)
    where = "/limits/new"
    client.get(where, DRAFT | {"rehearsal": one.pk})
    with CaptureQueriesContext(connection) as asked:
        read(client.get(where, DRAFT | {"rehearsal": one.pk}))
    assert len(asked) <= 14, [one["sql"] for one in asked.captured_queries]


def test_a_rehearsal_opened_as_a_page_stands_beside_its_form(ines: User) -> None:
    one = rehearse(ines)
    response = signed_in(ines).get(f"/limits/rehearsals/{one.pk}", follow=True)
    assert response.redirect_chain[0][0].startswith("/limits/new?")
    assert {"limit", "rehearsal"} <= set(read(response).ids())


def alone(person: User, one: Rehearsal) -> Any:
    """The rehearsal as the page asks for it while it goes on."""
    return signed_in(person).get(f"/limits/rehearsals/{one.pk}", headers={"HX-Request": "true"})
