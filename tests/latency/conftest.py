"""People who look at runs, and agents that do not pause. Guards speak as the engine lets them: by events."""

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
def ines(transactional_db: None) -> User:
    return factories.person("ines", "admin", full_name="Ines Okafor")


@pytest.fixture
def operator(transactional_db: None) -> Client:
    client = Client()
    client.force_login(factories.person("marta", "operator", full_name="Marta Oliveira"))
    return client
