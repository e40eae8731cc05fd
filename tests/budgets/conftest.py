"""The people of these tests, and a world without pauses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
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
def ines(transactional_db: None) -> User:
    return factories.person("ines", "admin", full_name="Ines Okafor")


@pytest.fixture
def aisha(transactional_db: None) -> User:
    return factories.person("aisha", "admin", full_name="Aisha Rahman")


@pytest.fixture
def marta(transactional_db: None) -> User:
    return factories.person("marta", "operator", full_name="Marta Oliveira")


@pytest.fixture
def jonas(transactional_db: None) -> User:
    return factories.person("jonas", "operator", full_name="Jonas Weber")


@pytest.fixture
def tomasz(transactional_db: None) -> User:
    return factories.person("tomasz", "auditor", full_name="Tomasz Nowak")
