"""Signing in: wrong passwords make people wait, for a name and an address together; what happened is on record."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings

from escalations import sign_ins
from escalations.sign_ins import FREE, Attempt
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    """By others, nor for others: who signs in elsewhere must not wait for what was wrong here."""
    counts = caches["sign-ins"]
    counts.clear()
    yield
    counts.clear()


@pytest.fixture
def marta() -> User:
    return factories.person("marta", "operator", password=PASSWORD)


def tried(name: str = "marta", password: str = "wrong", address: str = "10.0.0.1") -> Any:
    return Client().post("/sign-in", {"username": name, "password": password}, REMOTE_ADDR=address)


def test_after_five_wrong_passwords_the_right_one_must_wait_too(marta: User) -> None:
    for _ in range(FREE - 1):
        assert b"do not belong together" in tried().content
    last = tried()
    assert last.status_code == 429
    assert int(last.headers["Retry-After"]) == sign_ins.FIRST_WAIT
    again = tried(password=PASSWORD)
    assert again.status_code == 429
    assert b"Try again at" in again.content
    assert b'value="marta"' in again.content


def test_who_has_waited_signs_in_and_starts_afresh(marta: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(FREE):
        tried()
    later = time.time() + sign_ins.FIRST_WAIT + 1
    monkeypatch.setattr(sign_ins.time, "time", lambda: later)  # type: ignore[attr-defined]
    assert tried(password=PASSWORD).status_code == 302
    assert tried().status_code == 200


def test_each_further_wrong_password_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    attempt = Attempt(name="marta", address="10.0.0.1")
    waits = [attempt.failed() for _ in range(FREE + 6)]
    assert waits == [*[0] * (FREE - 1), 60, 120, 240, 480, 900, 900, 900]


def test_others_and_other_addresses_do_not_wait(marta: User) -> None:
    for _ in range(FREE):
        tried()
    factories.person("ines", "admin", password=PASSWORD)
    assert tried("ines", PASSWORD).status_code == 302
    assert tried(password=PASSWORD, address="10.0.0.2").status_code == 302
    assert tried("MARTA ", PASSWORD).status_code == 429  # the same name


def test_without_valkey_people_sign_in_all_the_same(marta: User, settings: Settings) -> None:
    away = {**settings.CACHES["sign-ins"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "sign-ins": away}
    for _ in range(FREE + 1):
        assert tried().status_code == 200
    assert tried(password=PASSWORD).status_code == 302


def test_signing_in_and_out_is_on_record_with_the_address(marta: User) -> None:
    client = Client()
    client.post("/sign-in", {"username": "marta", "password": PASSWORD}, REMOTE_ADDR="10.0.0.1")
    client.post("/sign-out", REMOTE_ADDR="10.0.0.1")
    assert "_auth_user_id" not in client.session
    entries = factories.journal()
    assert [(one.act, one.actor_id, one.target) for one in entries] == [
        ("sign in", marta.pk, "account marta"),
        ("sign out", marta.pk, "account marta"),
    ]
    assert json.loads(entries[0].body)["details"] == {"address": "10.0.0.1"}
    client.post("/sign-out")
    assert len(factories.journal()) == 2


def test_a_pause_is_one_entry_and_names_that_nobody_has_are_none(marta: User) -> None:
    for _ in range(FREE + 3):
        tried()
        tried("nobody<script>")
    (entry,) = factories.journal()
    assert (entry.act, entry.actor_id, entry.target) == ("sign in paused", None, "account marta")


def test_the_page_people_wanted_is_kept_while_they_wait(marta: User) -> None:
    for _ in range(FREE):
        Client().post(
            "/sign-in", {"username": "marta", "password": "wrong", "next": "/runs/"}, REMOTE_ADDR="10.0.0.1"
        )
    page = Client().post(
        "/sign-in", {"username": "marta", "password": "x", "next": "/runs/"}, REMOTE_ADDR="10.0.0.1"
    )
    assert b'name="next" value="/runs/"' in page.content
