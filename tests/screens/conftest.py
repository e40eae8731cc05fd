"""Signed-in browsers without a browser: Django's client, one for each role. No pauses of simulated agents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests import factories
from tests.runs import flows


@pytest.fixture(autouse=True)
def _no_pauses(settings: Settings) -> None:
    settings.SIMULATED_SECONDS = 0.0


@pytest.fixture(autouse=True)
def _empty_cashbox() -> Iterator[None]:
    flows.CASHBOX.paid.clear()
    flows.CASHBOX.break_after_send = 0
    yield
    flows.CASHBOX.break_after_send = 0


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    """One person a role."""
    return {
        "operator": factories.person("marta", "operator", full_name="Marta Oliveira"),
        "admin": factories.person("ines", "admin", full_name="Ines Okafor"),
        "auditor": factories.person("tomasz", "auditor", full_name="Tomasz Nowak"),
    }


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def operator(people: dict[str, User]) -> Client:
    return signed_in(people["operator"])


@pytest.fixture
def admin(people: dict[str, User]) -> Client:
    return signed_in(people["admin"])


@pytest.fixture
def auditor(people: dict[str, User]) -> Client:
    return signed_in(people["auditor"])
