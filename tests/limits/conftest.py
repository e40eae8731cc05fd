"""The admins of these tests, and limits that somebody set."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests import factories


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
def tomasz(transactional_db: None) -> User:
    return factories.person("tomasz", "auditor", full_name="Tomasz Nowak")


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client
