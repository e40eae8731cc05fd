"""`manage.py limit`: lists, sets, lowers, and never allows more."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import F

from escalations import limits, rehearsals
from escalations.expected import IllegalMove, Invalid
from escalations.models import Rehearsal
from escalations.rehearsed import figures
from escalations.roles import System
from runs.models import Limit, Run
from tests.factories import advanced, journal, started
from tests.limits.setting import TURNS, made, says

pytestmark = pytest.mark.django_db(transaction=True)


def told(*words: str) -> str:
    out = StringIO()
    call_command("limit", *words, stdout=out)
    return out.getvalue()


def test_it_sets_a_limit_and_the_same_again_lowers_it() -> None:
    assert "turns a run is 12, enforce" in told("turns/run", "workflow:refund_desk", "12")
    told("turns/run", "workflow:refund_desk", "8", "--reason", "tonight")
    number = Limit.objects.get(first=None).pk
    assert says(number) == [(8, "enforce")]
    assert [(entry.act, entry.actor_name[:12]) for entry in journal()] == [
        ("rehearse limit", "command line"),
        ("set limit", "command line"),
        ("rehearse limit", "command line"),
        ("change limit", "command line"),
    ]


def test_what_it_enforces_is_rehearsed_first_printed_and_kept_as_the_page_keeps_it(ines: User) -> None:
    run = advanced(started("writing"))
    assert run.state == "done"
    said = told("cost/run", "workflow:writing", "$0.000001", "--days", "7")
    assert "1 runs looked at: 1 stopped" in said
    assert "Successes lost: 1 of 1" in said
    one = Rehearsal.objects.get()
    assert (one.by, one.state, one.totals["stopped"]) == (None, "done", 1)
    kept = json.loads(journal(act="set limit")[0].body)["details"]["rehearsal"]
    assert kept == json.loads(json.dumps(figures(one)))
    assert kept["figures"]["saved"]["cost_micros"] == run.cost_micros


def test_lowering_is_rehearsed_too_and_its_entry_says_so() -> None:
    told("turns/run", "workflow:refund_desk", "12")
    assert "Rehearsed on the runs of 30 days" in told("turns/run", "workflow:refund_desk", "8")
    kept = json.loads(journal(act="change limit")[0].body)["details"]["rehearsal"]
    assert kept["number"] == Rehearsal.objects.latest("pk").pk


def test_what_only_watches_is_not_rehearsed() -> None:
    assert "Rehearsed" not in told("turns/run", "workflow:refund_desk", "12", "--mode", "observe")
    assert not Rehearsal.objects.exists()


def test_nothing_new_is_enforced_when_the_rehearsal_cannot_run_and_lowering_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told("turns/run", "workflow:refund_desk", "12")

    def broken(*_: object) -> None:
        raise RuntimeError("the history cannot be read")

    monkeypatch.setattr("runs.shown.past.runs_between", broken)
    with pytest.raises(CommandError, match=r"could not be rehearsed .*so nothing is enforced"):
        told("turns/run", "organisation", "20")
    assert [(limit.scope, limit.value) for limit in Limit.objects.all()] == [("refund_desk", 12)]
    told("turns/run", "workflow:refund_desk", "8")
    assert Limit.objects.latest("pk").value == 8
    assert rehearsals.overlooked() == []
    assert set(Rehearsal.objects.exclude(state="done").values_list("state", "due_at", "why")) == {
        ("failed", None, "It broke off: RuntimeError: the history cannot be read")
    }


def test_past_a_rehearsal_that_failed_it_is_enforced_with_a_reason_and_by_no_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise IllegalMove("Nobody rehearses now.")

    monkeypatch.setattr("runs.shown.past.runs_between", refused)
    words = ("turns/run", "organisation", "20")
    for more in ((), ("--reason", "it burns"), ("--unrehearsed",)):
        with pytest.raises(CommandError, match=r"could not be rehearsed \(Nobody rehearses now\.\)"):
            told(*words, *more)
    assert not Limit.objects.exists()
    said = StringIO()
    call_command("limit", *words, "--unrehearsed", "--reason", "it burns", stdout=StringIO(), stderr=said)
    assert "It is enforced without." in said.getvalue()
    assert Limit.objects.get().value == 20
    kept = json.loads(journal(act="set limit", outcome="done")[0].body)["details"]["rehearsal"]
    assert kept["state"] == "failed"


def test_where_a_rehearsal_can_be_had_nobody_goes_round_it(ines: User) -> None:
    told("turns/run", "organisation", "20", "--unrehearsed", "--reason", "it burns")
    kept = json.loads(journal(act="set limit")[0].body)["details"]["rehearsal"]
    assert "figures" in kept


def test_lowering_is_never_refused_for_rehearsals_that_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    told("turns/run", "workflow:refund_desk", "12")
    with monkeypatch.context() as given:
        given.setattr(rehearsals, "WAIT_SECONDS", -1.0)
        advanced(started("writing"))
        for _ in range(rehearsals.MOST_UNDER_WAY + 1):
            rehearsals.ask(actor=System(name="command line"), given=TURNS | {"scope": "writing"})
    assert Rehearsal.objects.filter(due_at__isnull=False).count() > rehearsals.MOST_UNDER_WAY
    told("turns/run", "workflow:refund_desk", "8")
    assert Limit.objects.latest("pk").value == 8


def test_lowering_goes_on_when_its_rehearsal_is_refused_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    told("turns/run", "workflow:refund_desk", "12")

    def refused(*_: object) -> None:
        raise IllegalMove("Nobody rehearses now.")

    monkeypatch.setattr("runs.shown.past.runs_between", refused)
    said = StringIO()
    call_command("limit", "turns/run", "workflow:refund_desk", "8", stdout=StringIO(), stderr=said)
    assert "It could not be rehearsed (Nobody rehearses now.)" in said.getvalue()
    assert Limit.objects.latest("pk").value == 8


def test_a_rehearsal_of_no_run_is_answered_with_what_the_command_itself_can_do() -> None:
    run = advanced(started("writing"))
    Run.objects.filter(pk=run.pk).update(created_at=F("created_at") - timedelta(days=20))
    words = ("cost/run", "workflow:writing", "$1")
    with pytest.raises(CommandError, match=r"covers no run.*give more --days \(365 always counts\)") as why:
        told(*words, "--days", "7")
    assert "without a rehearsal" not in str(why.value)
    assert not Limit.objects.exists()
    told(*words, "--days", "365")
    assert Limit.objects.get().value == 1_000_000


def test_nobody_enforces_without_a_rehearsal_by_the_act_alone_either() -> None:
    with pytest.raises(Invalid, match="Rehearse exactly this first"):
        limits.set_limit(actor=System(name="command line"), given=TURNS)
    assert not Limit.objects.exists()


def test_it_never_allows_more_and_the_attempt_is_on_record(ines: User) -> None:
    number = made(ines)
    with pytest.raises(CommandError, match="may only lower limits: turns a run: from 12 to 20"):
        told("turns/run", "workflow:refund_desk", "20", "--reason", "please")
    assert says(number) == [(12, "enforce")]
    assert journal()[-1].outcome == "refused"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["turns/run"], "Give all three"),
        (["turns/run", "workflow:refund_desk"], "Give all three"),
        (["wings", "organisation", "3"], "Choose what is limited: turns/run, "),
        (["turns/run", "workflow:nobody", "3"], "There is no workflow called 'nobody'."),
        (["cost/day", "organisation", "much"], "Write an amount in US dollars"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_set(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        told(*words)
    assert not Limit.objects.exists()


def test_it_lists_what_holds_for_people_and_for_programs(ines: User) -> None:
    number = made(ines)
    assert "turns/run" in told()
    assert "workflow:refund_desk" in told()
    found = json.loads(told("--json"))
    assert (found["limit"], found["value"], found["scope"], found["until"]) == (
        number,
        12,
        "refund_desk",
        None,
    )
