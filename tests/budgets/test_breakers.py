"""Forcing breakers through the one door, and what calls find then."""

from __future__ import annotations

from functools import partial

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from escalations import breakers
from escalations.audit import chain
from escalations.expected import IllegalMove, Invalid, NotAllowed, NotThere
from runs.models import Breaker, BreakerChange, Call, Wait
from tests import factories
from tests.budgets.parked import ran
from tests.budgets.test_pages import seen, signed_in
from tests.factories import at_once, journal
from tests.runs import flows

pytestmark = pytest.mark.django_db(transaction=True)

TOOL = {"kind": "tool", "name": "cashbox.pay"}


def test_forced_open_nothing_is_called_and_released_the_run_goes_on_by_itself(marta: User) -> None:
    breakers.force(actor=marta, to="open", **TOOL)
    run = ran()
    assert run.state == "sleeping"
    assert flows.CASHBOX.paid == []
    assert Wait.objects.get().run_id == run.pk
    breakers.force(actor=marta, to="", reason="the bank is back", **TOOL)
    assert factories.advanced(run).state == "done"
    assert len(flows.CASHBOX.paid) == 1
    assert not Wait.objects.exists()


def test_forced_closed_calls_pass_whatever_it_finds(marta: User) -> None:
    breakers.force(actor=marta, to="closed", reason="we watch it", **TOOL)
    Breaker.objects.update(state="open", why="it failed", retry_at="2100-01-01T00:00Z")
    assert ran().state == "done"


def test_opening_needs_no_reason_and_whatever_lets_calls_pass_does(marta: User) -> None:
    with pytest.raises(Invalid, match="Say why: calls may pass again"):
        breakers.force(actor=marta, to="closed", **TOOL)
    breakers.force(actor=marta, to="open", **TOOL)
    with pytest.raises(Invalid, match="Say why"):
        breakers.force(actor=marta, to="", **TOOL)
    breakers.force(actor=marta, to="closed", reason="we watch it", **TOOL)
    breakers.force(actor=marta, to="", **TOOL)
    done = [(one.act, one.reason) for one in journal() if one.outcome == "done"]
    assert done == [
        ("force breaker open", ""),
        ("force breaker closed", "we watch it"),
        ("let breaker decide", ""),
    ]
    assert [(one.state, one.by) for one in BreakerChange.objects.order_by("pk")] == [
        ("open", "Marta Oliveira"),
        ("closed", "Marta Oliveira"),
        ("closed", "Marta Oliveira"),
    ]
    assert chain.verify() is None


def test_what_is_so_already_or_is_called_nothing_is_refused(marta: User, tomasz: User) -> None:
    with pytest.raises(NotThere):
        breakers.force(actor=marta, to="open", kind="model", name="no/such")
    with pytest.raises(NotThere):
        breakers.force(actor=marta, to="open", kind="planet", name="mars")
    with pytest.raises(Invalid):
        breakers.force(actor=marta, to="ajar", **TOOL)
    with pytest.raises(IllegalMove, match="deciding by itself already"):
        breakers.force(actor=marta, to="", **TOOL)
    with pytest.raises(NotAllowed):
        breakers.force(actor=tomasz, to="open", **TOOL)
    assert not Breaker.objects.exists()


def test_of_two_who_force_it_at_once_one_is_told_that_it_is_so_already(marta: User, jonas: User) -> None:
    results = at_once(*(partial(breakers.force, actor=actor, to="open", **TOOL) for actor in (marta, jonas)))
    assert Breaker.objects.get().forced == "open"
    assert sum(isinstance(one, Breaker) for one in results) >= 1
    assert all(isinstance(one, (Breaker, IllegalMove)) for one in results), results


def test_the_page_shows_what_its_last_calls_came_to_who_waits_and_what_it_did(
    marta: User, settings: Settings
) -> None:
    ran()
    ran()
    call = Call.objects.filter(kind="tool").order_by("-pk")[0]
    Call.objects.filter(pk=call.pk).update(state="failed", error_class="recoverable", latency_ms=90_000)
    client = signed_in(marta)
    form = seen(marta, "/breakers/tool/cashbox.pay").forms["/breakers/force"]
    assert client.post("/breakers/force", form | {"to": "open"}).status_code == 302
    run = ran()
    page = seen(marta, "/breakers/tool/cashbox.pay")
    assert "2: 1 failed, 1 slow" in page.text
    assert f"/runs/{run.pk}" in page.links()
    assert "Marta Oliveira" in page.text
    assert client.post("/breakers/force", form | {"to": "closed", "reason": ""}).status_code == 422
    assert "1" in seen(marta, "/breakers/?state=forced").text
    assert "No breaker is like that." in seen(marta, "/breakers/?text=no-such-name").text
