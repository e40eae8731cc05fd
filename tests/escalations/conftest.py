"""The actors of the people's tests, and a world without pauses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import AnonymousUser, User
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
def operator(transactional_db: None) -> User:
    return factories.person("marta", "operator", full_name="Marta Oliveira")


@pytest.fixture
def colleague(transactional_db: None) -> User:
    return factories.person("jonas", "operator", full_name="Jonas Weber")


@pytest.fixture
def admin(transactional_db: None) -> User:
    return factories.person("ines", "admin", full_name="Ines Okafor")


@pytest.fixture
def auditor(transactional_db: None) -> User:
    return factories.person("tomasz", "auditor", full_name="Tomasz Nowak")


@pytest.fixture
def outsider(transactional_db: None) -> User:
    return factories.person("outsider")


@pytest.fixture
def anonymous() -> AnonymousUser:
    return AnonymousUser()
