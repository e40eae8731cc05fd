"""The budgets and breakers pages: who sees what, what their forms do, and what they ask the database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from runs.engine.spend import burn
from runs.limits.kinds import LimitKind, Window
from runs.limits.units import Unit, about
from runs.models import Account, Breaker, Burn, BurnMark, Call, TopUp, Wait
from tests import factories
from tests.budgets.parked import limited, parked, ran, standing
from tests.screens.reading import Page, read

pytestmark = pytest.mark.django_db(transaction=True)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def seen(person: User, path: str) -> Page:
    return read(signed_in(person).get(path))


def uncertain_call(run_id: int) -> Call:
    """A call whose worker died: nobody knows what it used."""
    call = Call.objects.filter(run=run_id, kind="model").order_by("-pk")[0]
    account = Account.objects.get(kind="cost", window="day")
    Account.objects.filter(pk=account.pk).update(reserved=account.reserved + 7_000)
    Call.objects.filter(pk=call.pk).update(
        reserved=[[account.pk, 7_000]], state="unknown", cost_micros=None, fence=0
    )
    return call


def test_everybody_with_a_role_reads_them_and_nobody_else(ines: User, marta: User, tomasz: User) -> None:
    limited(ines, "cost/day", "10")
    ran()
    number = Account.objects.get(kind="cost", window="day").pk
    for person in (ines, marta, tomasz):
        for path in ("/budgets/", f"/budgets/{number}", "/breakers/", "/breakers/tool/cashbox.pay"):
            page = seen(person, path)
            assert page.text
        assert (f"/budgets/{number}/top-up" in seen(person, f"/budgets/{number}").forms) == (person == ines)
        may_force = person != tomasz
        assert ("/breakers/force" in seen(person, "/breakers/tool/cashbox.pay").forms) == may_force
    outsider = signed_in(factories.person("outsider"))
    assert outsider.get("/budgets/").status_code == 403
    assert Client().get("/breakers/").status_code == 302


def test_without_any_limit_or_call_they_say_what_would_stand_there(ines: User) -> None:
    page = seen(ines, "/budgets/")
    assert "No cost and no tokens are limited." in page.text
    assert "Nothing was spent this month." in page.text
    assert "cashbox.pay" in seen(ines, "/breakers/").text
    assert "It never opened, and nobody forced it." in seen(ines, "/breakers/tool/cashbox.pay").text
    assert signed_in(ines).get("/breakers/tool/no.such").status_code == 404
    assert signed_in(ines).get("/budgets/4711").status_code == 404


def test_what_is_used_reserved_and_left_stands_beside_the_cap(ines: User) -> None:
    limited(ines, "cost/day", "10", "workflow:paying")
    run = ran()
    account = Account.objects.get(kind="cost", window="day")
    TopUp.objects.create(account=account, amount=2_000_000, made_by="x", reason="x")
    page = seen(ines, "/budgets/")
    spent = sum(c.cost_micros or 0 for c in Call.objects.filter(run=run, kind="model"))
    assert about(Unit.MONEY, spent) in page.text
    assert "$12.00" in page.text
    assert "+$2.00" in page.text
    assert "workflow paying" in page.text


def test_what_was_spent_is_counted_by_team_workflow_agent_and_model_also_without_any_limit(
    ines: User,
) -> None:
    run = ran()
    assert burn.roll_up() > 0
    for per in ("hour", "day", "month"):
        page = seen(ines, f"/budgets/?per={per}")
        spent = sum(c.cost_micros or 0 for c in Call.objects.filter(run=run, kind="model"))
        assert f"${spent / 1_000_000:.5f}" in page.text
        for name in ("Testers", "paying", "payer", "simulated/payer"):
            assert name in page.text


def test_a_call_that_ends_late_is_counted_in_the_span_in_which_it_was_permitted(ines: User) -> None:
    run = ran()
    long_ago = timezone.now() - timedelta(hours=2)
    Call.objects.filter(run=run).update(permitted_at=long_ago)
    late = Call.objects.filter(run=run, kind="model").order_by("pk")[0]
    Call.objects.filter(pk=late.pk).update(state="permitted", cost_micros=None)
    while burn.roll_up():
        BurnMark.objects.filter(until__gt=timezone.now() - timedelta(hours=1)).update(
            looked_at=timezone.now()
        )
    before = total()
    Call.objects.filter(pk=late.pk).update(state="done", cost_micros=1_000_000)
    BurnMark.objects.update(looked_at=long_ago)
    burn.roll_up()
    assert total() == before + 1_000_000


def total() -> int:
    sums = {
        span: sum(Burn.objects.filter(span=span).values_list("cost", flat=True)) for span in (5, 60, 1440)
    }
    assert len(set(sums.values())) == 1, sums
    return sums[5]


def test_the_forecast_says_when_it_is_used_up_at_the_present_burn(ines: User) -> None:
    limited(ines, "cost/month", "1")
    ran()
    Call.objects.filter(kind="model").update(cost_micros=450_000)
    Account.objects.filter(kind="cost").update(spent=900_000)
    burn.roll_up()
    account = Account.objects.get(kind="cost", window="month")
    page = seen(ines, f"/budgets/{account.pk}")
    assert "At the present pace it is used up at" in page.text
    Account.objects.filter(kind="cost").update(spent=1_100_000)
    assert "used up" in seen(ines, f"/budgets/{account.pk}").text


def test_an_admin_tops_a_budget_up_by_its_form_and_what_is_wrong_is_said(ines: User, marta: User) -> None:
    limited(ines, "cost/day", "10")
    ran()
    number = Account.objects.get(kind="cost", window="day").pk
    client = signed_in(ines)
    form = read(client.get(f"/budgets/{number}")).forms[f"/budgets/{number}/top-up"]
    wrong = read(client.post(f"/budgets/{number}/top-up", form | {"amount": "lots", "reason": ""}), 422)
    assert "Write an amount in US dollars" in wrong.text
    assert "Say why more is allowed." in wrong.text
    done = client.post(f"/budgets/{number}/top-up", form | {"amount": "5", "reason": "a long night"})
    assert done.status_code == 302
    assert TopUp.objects.get().amount == 5_000_000
    assert "a long night" in seen(marta, f"/budgets/{number}").text
    assert (
        signed_in(marta).post(f"/budgets/{number}/top-up", {"amount": "5", "reason": "x"}).status_code == 403
    )


def test_a_budget_above_what_one_may_allow_waits_for_another_admin_on_the_page(
    ines: User, aisha: User, settings: Settings
) -> None:
    settings.LIMITS_ALONE = {(LimitKind.COST, Window.DAY): 11_000_000}
    limited(ines, "cost/day", "10")
    ran()
    number = Account.objects.get(kind="cost", window="day").pk
    signed_in(ines).post(f"/budgets/{number}/top-up", {"amount": "5", "reason": "a long night"})
    page = seen(aisha, "/budgets/")
    assert "cost a day of the organisation: from $10.00 to $15.00" in page.text
    assert "Agree to $5.00 more" in page.text
    (proposed,) = factories.journal(act="propose top up")
    entry = seen(aisha, f"/interventions/{proposed.seq}").text
    assert "Would add" in entry
    assert "Added" not in entry
    (where,) = [one for one in page.forms if one.endswith("/agree")]
    assert where not in seen(ines, "/budgets/").forms
    assert signed_in(aisha).post(where, page.forms[where]).status_code == 302
    assert TopUp.objects.get().agreed_by == "Aisha Rahman"


def test_an_uncertain_spend_is_listed_and_booked_by_an_admin(ines: User, marta: User) -> None:
    limited(ines, "cost/day", "10")
    call = uncertain_call(ran().pk)
    account = Account.objects.get(kind="cost", window="day")
    page = seen(ines, "/budgets/")
    where = f"/budgets/calls/{call.pk}/book"
    assert "$0.007" in page.text
    assert where not in seen(marta, "/budgets/").forms
    client = signed_in(ines)
    assert client.post(where, {"amount": "0.004", "reason": ""}).status_code == 422
    assert client.post(where, {"amount": "0.004", "reason": "their invoice says so"}).status_code == 302
    booked = Account.objects.get(pk=account.pk)
    assert booked.spent == account.spent + 4_000
    assert booked.reserved == account.reserved - 7_000
    (entry,) = [one for one in factories.journal(act="book uncertain spend") if one.outcome == "done"]
    assert "$0.004" in entry.body
    assert client.post(where, {"amount": "", "reason": "again"}).status_code == 409


def test_a_runs_own_account_leads_to_its_run(ines: User) -> None:
    limited(ines)
    escalation = parked()
    number = standing(escalation).account
    assert signed_in(ines).get(f"/budgets/{number}")["Location"] == f"/runs/{escalation.run_id}"


def test_what_agents_and_admins_write_is_never_markup(ines: User) -> None:
    Breaker.objects.create(kind="model", name="<b>m", why="<script>x", state="open", retry_at=timezone.now())
    limited(ines, "cost/day", "10")
    ran()
    account = Account.objects.get(kind="cost", window="day")
    TopUp.objects.create(account=account, amount=1, made_by="<i>", reason="<script>alert(1)</script>")
    client = signed_in(ines)
    for path in (f"/budgets/{account.pk}", "/breakers/", "/breakers/model/%3Cb%3Em"):
        body = client.get(path).content.decode()
        assert "<script>alert" not in body
        assert "<script>x" not in body
        assert "<b>m" not in body


@pytest.mark.parametrize("many", [0, 60])
def test_the_pages_ask_the_database_at_most_twelve_times(ines: User, many: int) -> None:
    limited(ines, "cost/day", "10")
    limited(ines, "requests/minute", "600")
    run = ran()
    burn.roll_up()
    step = run.steps.order_by("pk")[0]
    for number in range(many):
        Breaker.objects.create(kind="model", name=f"m/{number}", state="open", retry_at=timezone.now())
        Account.objects.create(
            kind="cost", window="month", scope_kind="team", scope=f"t{number}", begins=timezone.now()
        )
    if many:
        breaker = Breaker.objects.order_by("pk")[0]
        Wait.objects.create(
            step=step, run=run, guard="breaker", breaker=breaker, until=timezone.now(), says="x"
        )
    client = signed_in(ines)
    number = Account.objects.get(kind="cost", window="day").pk
    paths = ["/budgets/", f"/budgets/{number}", "/breakers/", "/breakers/tool/cashbox.pay"]
    for path in [*paths, *(["/breakers/model/m/0"] if many else [])]:
        client.get(path)
        with CaptureQueriesContext(connection) as asked:
            read(client.get(path))
        assert len(asked) <= 12, (path, "\n".join(one["sql"][:70] for one in asked.captured_queries))
