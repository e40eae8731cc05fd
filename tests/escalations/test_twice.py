"""A form that adds is sent twice, by a double click or out of an old tab: it adds once, and says so."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from runs.models import Account, TopUp
from tests import factories
from tests.budgets.parked import limited
from tests.screens.reading import read

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ines() -> User:
    return factories.person("ines", "admin")


def account(ines: User) -> int:
    limited(ines, "cost/day", "10")
    factories.advanced(factories.started("paying", amount=50))
    return Account.objects.get(kind="cost", window="day").pk


def test_a_budget_is_topped_up_once_by_a_form_sent_twice(ines: User) -> None:
    number = account(ines)
    client = Client()
    client.force_login(ines)
    form = read(client.get(f"/budgets/{number}")).forms[f"/budgets/{number}/top-up"] | {
        "amount": "5",
        "reason": "a long night",
    }
    assert client.post(f"/budgets/{number}/top-up", form).status_code == 302
    again = read(client.post(f"/budgets/{number}/top-up", form), 409)
    assert "topped this up at" in again.text
    assert TopUp.objects.count() == 1
    outcomes = [entry.outcome for entry in factories.journal(act="top up budget")]
    assert outcomes == ["done", "conflict"] or outcomes == ["done", "refused"]


def test_the_page_that_says_so_can_add_more(ines: User) -> None:
    number = account(ines)
    client = Client()
    client.force_login(ines)
    path = f"/budgets/{number}/top-up"
    form = read(client.get(f"/budgets/{number}")).forms[path] | {"amount": "5", "reason": "a long night"}
    client.post(path, form)
    shown = read(client.post(path, form), 409).forms[path] | {"amount": "5", "reason": "and another"}
    assert client.post(path, shown).status_code == 302
    assert TopUp.objects.count() == 2
