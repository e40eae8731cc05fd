"""Rehearsing beside the form of a limit, and what is asked before one is enforced."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from escalations import controls, limits, rehearsals, rehearsed
from escalations.expected import IllegalMove, Invalid, NotAllowed
from escalations.models import Rehearsal, RehearsedRun
from escalations.rehearsed import NotRehearsed
from runs.models import Limit, Run
from tests import factories, patience
from tests.limits.conftest import signed_in
from tests.limits.setting import change, made, says, seen
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


def test_pressing_enforce_without_a_rehearsal_rehearses_first_and_the_next_press_enforces(
    ines: User, run: Run
) -> None:
    client = signed_in(ines)
    answer = client.post("/limits/set", DRAFT | {"days": "7", "reason": "too dear"})
    assert not Limit.objects.exists()
    page = read(client.get(answer["Location"]))
    assert "Stopped at step 1" in page.text
    assert "Enforce it now" in page.text
    form = page.forms["/limits/set"]
    assert (form["value"], form["scope"], form["reason"]) == ("$0.000001", "writing", "too dear")
    assert 'form="limit-form"' in client.get(answer["Location"]).content.decode()
    client.post("/limits/set", form | DRAFT)
    assert Limit.objects.get().mode == "enforce"
    assert [(one.act, one.outcome) for one in factories.journal()] == [
        ("rehearse limit", "done"),
        ("set limit", "done"),
    ], "that it was rehearsed first is no refusal"


def test_what_was_edited_meanwhile_is_rehearsed_again_and_not_enforced(ines: User, run: Run) -> None:
    client = signed_in(ines)
    first = client.post("/limits/set", DRAFT)
    form = read(client.get(first["Location"])).forms["/limits/set"]
    second = client.post("/limits/set", form | DRAFT | {"value": "$0.000002"})
    assert not Limit.objects.exists()
    assert "$0.000002, enforce" in read(client.get(second["Location"])).text
    assert Rehearsal.objects.count() == 2


def test_enforcing_what_was_observed_rehearses_first_and_keeps_what_was_typed(ines: User, run: Run) -> None:
    number = limits.set_limit(actor=ines, given=DRAFT | {"mode": "observe"}).line
    client = signed_in(ines)
    wanted = {"value": "$0.000001", "mode": "enforce", "seen": seen(number), "reason": "it holds now"}
    asks = read(client.get(f"/limits/{number}/asks", wanted)).text
    assert "rehearsed first, then done without a reason" in asks
    page = read(client.get(client.post(f"/limits/{number}/change", wanted)["Location"]))
    assert says(number) == [(1, "observe")]
    assert page.forms[f"/limits/{number}/change"]["reason"] == "it holds now"
    assert "Enforce it now" in page.text
    client.post(f"/limits/{number}/change", wanted)
    assert says(number) == [(1, "enforce")]


def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise IllegalMove("The history cannot be read.")

    monkeypatch.setattr("runs.shown.past.runs_between", refused)


def test_only_past_a_rehearsal_that_failed_it_is_enforced_without_and_with_a_reason(
    ines: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets round one that was not tried."""
    with pytest.raises(NotRehearsed):
        limits.set_limit(actor=ines, given=DRAFT, unrehearsed=True, reason="it burns")
    failing(monkeypatch)
    client = signed_in(ines)
    answer = client.post("/limits/set", DRAFT | {"unrehearsed": "yes", "reason": "it burns"})
    page = read(client.get(answer["Location"]))
    assert "The history cannot be read." in page.text
    assert "Enforce it all the same" in page.text
    assert "Enforce it now" not in page.text
    form = page.forms["/limits/set"] | DRAFT
    client.post("/limits/set", form)
    assert not Limit.objects.exists(), "the button alone does not go round it"
    without = read(client.post("/limits/set", form | {"unrehearsed": "yes", "reason": ""}), 422)
    assert "Say why it is enforced without a rehearsal." in without.text
    assert "Enforce it all the same" in without.text
    client.post("/limits/set", form | {"unrehearsed": "yes", "reason": "it burns"})
    assert Limit.objects.get().mode == "enforce"
    (entry,) = factories.journal(act="set limit", outcome="done")
    kept = json.loads(entry.body)["details"]["rehearsal"]
    assert (kept["state"], kept["why"]) == ("failed", "The history cannot be read.")
    assert entry.reason == "it burns"


def test_a_rehearsal_that_does_not_end_holds_nobody_up_for_more_than_a_minute(
    ines: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "WAIT_SECONDS", -1.0)
    client = signed_in(ines)
    wanted = DRAFT | {"unrehearsed": "yes", "reason": "it burns"}
    first = client.post("/limits/set", wanted)
    assert client.post("/limits/set", wanted)["Location"] == first["Location"], "no second one is asked for"
    assert not Limit.objects.exists()
    assert "Enforce it all the same" not in read(client.get(first["Location"])).text
    Rehearsal.objects.update(asked_at=F("asked_at") - timedelta(seconds=61))
    assert "Enforce it all the same" in read(client.get(first["Location"])).text
    client.post("/limits/set", wanted)
    (entry,) = factories.journal(act="set limit", outcome="done")
    assert json.loads(entry.body)["details"]["rehearsal"]["why"] == "it has not ended"


def test_lowering_is_rehearsed_by_itself_and_shown_first_only_where_runs_would_have_been_stopped(
    ines: User, run: Run
) -> None:
    number = made(ines, **DRAFT | {"value": "$5"})
    client = signed_in(ines)

    def lowered(value: str) -> Any:
        return client.post(
            f"/limits/{number}/change", {"value": value, "mode": "enforce", "seen": seen(number)}
        )

    lowered("$4")
    assert says(number) == [(4_000_000, "enforce")]
    (entry,) = factories.journal(act="change limit")
    assert json.loads(entry.body)["details"]["rehearsal"]["figures"]["stopped"] == 0
    page = read(client.get(lowered("$0.000001")["Location"]))
    assert "Stopped at step 1" in page.text
    assert "Enforce it now" in page.text
    assert says(number) == [(4_000_000, "enforce")]
    lowered("$0.000001")
    assert says(number) == [(1, "enforce")]


def test_lowering_is_done_whatever_becomes_of_its_rehearsal(
    ines: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = made(ines, **DRAFT | {"value": "$5"})
    client = signed_in(ines)

    def lowered(value: str) -> tuple[int, str]:
        wanted = {"value": value, "mode": "enforce", "seen": seen(number)}
        client.post(f"/limits/{number}/change", wanted)
        (row,) = says(number)
        return row

    failing(monkeypatch)
    assert lowered("$0.000004") == (4, "enforce")
    kept = json.loads(factories.journal(act="change limit")[-1].body)["details"]["rehearsal"]
    assert kept["state"] == "failed"
    monkeypatch.setattr(rehearsals, "WAIT_SECONDS", -1.0)
    for value in (3, 2, 1):
        assert lowered(f"$0.00000{value}") == (value, "enforce")
    monkeypatch.setattr(rehearsals, "MOST_UNDER_WAY", 0)
    change(ines, number, "so", value="$5")
    assert lowered("$0.000001") == (1, "enforce")


def test_a_rehearsal_of_no_run_is_none_where_older_runs_are_on_record(ines: User, run: Run) -> None:
    """It is one over more days, and where there is nothing else to look at."""
    Run.objects.filter(pk=run.pk).update(created_at=F("created_at") - timedelta(days=20))
    assert rehearsals.ask(actor=ines, given=DRAFT, days=7).totals["runs"] == 0
    with pytest.raises(Invalid, match="covers no run"):
        limits.set_limit(actor=ines, given=DRAFT)
    assert rehearsals.ask(actor=ines, given=DRAFT, days=30).totals["runs"] == 1
    limits.set_limit(actor=ines, given=DRAFT)
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now())
    other = DRAFT | {"scope": "plain"}
    assert rehearsals.ask(actor=ines, given=other, days=7).totals["runs"] == 0
    limits.set_limit(actor=ines, given=other)


def test_a_rehearsal_that_does_not_count_has_no_check_beside_the_form_but_says_why(
    ines: User, run: Run
) -> None:
    client = signed_in(ines)

    def beside(one: Rehearsal) -> str:
        return read(client.get("/limits/new", DRAFT | {"rehearsal": one.pk})).text

    Run.objects.filter(pk=run.pk).update(created_at=F("created_at") - timedelta(days=20))
    page = beside(rehearsals.ask(actor=ines, given=DRAFT, days=7))
    assert "Rehearsed as it stands here" not in page
    assert "The rehearsal of this covers no run, and some are on record from before its days" in page
    one = rehearsals.ask(actor=ines, given=DRAFT, days=30)
    assert "Rehearsed as it stands here: 1 of 1 runs stopped." in beside(one)
    Rehearsal.objects.update(finished_at=F("finished_at") - timedelta(hours=25))
    page = beside(one)
    assert "Rehearsed as it stands here" not in page
    assert "This was rehearsed more than 24 hours ago, which counts no longer" in page


def test_whether_older_runs_are_on_record_is_read_from_the_first_one_alone(ines: User, run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(created_at=F("created_at") - timedelta(days=20))
    one = rehearsals.ask(actor=ines, given=DRAFT, days=7)
    with CaptureQueriesContext(connection) as asked:
        assert not rehearsed.is_of_runs(one)
    (sql,) = [each["sql"] for each in asked.captured_queries]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Scan using runs_run_pkey" in plan, plan
    assert "Filter" not in plan, plan


def test_watching_and_warning_need_no_rehearsal_nor_does_lowering_what_is_enforced(ines: User) -> None:
    for mode in ("observe", "warn"):
        limits.set_limit(actor=ines, given=DRAFT | {"mode": mode})
    number = made(ines, **DRAFT | {"value": "$5"})
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
    one = rehearse(ines)
    assert one.state == "asked"
    page = alone(ines, one).content.decode()
    assert 'hx-trigger="every 1s"' in page
    with pytest.raises(Invalid, match="Rehearse exactly this first"):
        limits.set_limit(actor=ines, given=DRAFT)
    assert rehearsals.overlooked() == [one.pk]
    assert rehearsals.perform(one.pk)
    one.refresh_from_db()
    assert (one.state, one.totals["stopped"], RehearsedRun.objects.count()) == ("done", 1, 1)
    assert "every 1s" not in alone(ines, one).content.decode()


def test_a_statement_that_goes_on_for_too_long_is_cut_and_left_to_a_worker(
    ines: User, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, free = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE runs_call IN ACCESS EXCLUSIVE MODE")
            locked.set()
            free.wait(patience.SECONDS)
        connection.close()

    monkeypatch.setattr(rehearsals, "WAIT_SECONDS", 0.3)
    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(patience.SECONDS)
    one = rehearse(ines, what="cost/day", value="$1")
    assert holder.is_alive(), "it was not cut: it waited until the table was free"
    free.set()
    patience.joined(holder)
    assert one.state == "asked"
    assert rehearsals.perform(one.pk)
    one.refresh_from_db()
    assert (one.state, one.totals["runs"]) == ("done", 1)


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


def test_the_page_with_a_rehearsal_asks_the_database_at_most_twelve_times(ines: User, run: Run) -> None:
    """The dearest there is: a control is engaged, the rehearsal covers no run, and the table shows what is over."""
    controls.engage(actor=ines, kind="pause", scope_kind="workflow", scope="plain")
    watched = limits.set_limit(actor=ines, given=DRAFT | {"mode": "observe"}).line
    Run.objects.filter(pk=run.pk).update(created_at=F("created_at") - timedelta(days=20))
    draft = {"value": "$0.000001", "mode": "enforce"}
    one = rehearsals.ask(actor=ines, given=DRAFT, days=7)
    other = rehearsals.ask(actor=ines, line=watched, seen=seen(watched), given=draft, days=7)
    client = signed_in(ines)
    for path in (rehearsed.where(one), rehearsed.where(other)):
        where = f"{path.partition('#')[0]}&by=over"
        client.get(where)
        with CaptureQueriesContext(connection) as asked:
            page = read(client.get(where))
        assert "The rehearsal of this covers no run" in page.text
        assert "No limit is like that." in page.text
        assert "held: 1" in page.text
        assert len(asked) <= 12, [one["sql"] for one in asked.captured_queries]


def test_a_rehearsal_opened_as_a_page_stands_beside_its_form(ines: User) -> None:
    one = rehearse(ines)
    response = signed_in(ines).get(f"/limits/rehearsals/{one.pk}", follow=True)
    assert response.redirect_chain[0][0].startswith("/limits/new?")
    assert {"limit", "rehearsal"} <= set(read(response).ids())


def alone(person: User, one: Rehearsal) -> Any:
    """The rehearsal as the page asks for it while it goes on."""
    return signed_in(person).get(f"/limits/rehearsals/{one.pk}", headers={"HX-Request": "true"})
