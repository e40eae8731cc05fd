"""Very many runs and very long ones: what the engine made, copied. People sign in as in tests/screens."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests import factories


@pytest.fixture(autouse=True)
def _no_pauses(settings: Settings) -> None:
    settings.SIMULATED_SECONDS = 0.0


@pytest.fixture
def marta(transactional_db: None) -> User:
    return factories.person("marta", "operator", full_name="Marta Oliveira")


@pytest.fixture
def operator(marta: User) -> Client:
    client = Client()
    client.force_login(marta)
    return client
