"""`/healthz` and `/readyz`: what they say, with parts there and parts gone."""

import json
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from opsconsole import health

KINDS = ("agents", "ordinary", "beat")


def ready(client: Client) -> tuple[int, dict[str, Any]]:
    response = client.get("/readyz")
    return response.status_code, json.loads(response.content)["parts"]


def see(kind: str, seconds_ago: float, *, gone: bool = False) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_worker (name, kind, in_flight, started_at, seen_at, gone_at) VALUES"
            " (%s, %s, 0, now(), now() - make_interval(secs => %s), CASE WHEN %s THEN now() END)",
            [f"{kind}-{seconds_ago}", kind, seconds_ago, gone],
        )


def test_healthz_asks_no_database(client: Client) -> None:
    assert client.get("/healthz").status_code == 200  # no database mark: a query would fail the test


@pytest.mark.django_db(transaction=True)
def test_it_is_ready_when_every_part_was_seen(client: Client) -> None:
    for kind in KINDS:
        see(kind, 3)
    status, parts = ready(client)
    assert (status, {name for name, part in parts.items() if not part["ok"]}) == (200, set())
    assert set(parts) == {"database", "migrations", "valkey", *KINDS}


@pytest.mark.django_db(transaction=True)
def test_a_silent_a_gone_and_a_missing_worker_are_each_said(client: Client) -> None:
    see("agents", 60)
    see("ordinary", 1, gone=True)
    status, parts = ready(client)
    assert status == 503
    assert parts["agents"]["says"] == "not seen for more than 10 s"
    assert parts["ordinary"]["says"] == parts["beat"]["says"] == "never seen"


@pytest.mark.django_db(transaction=True)
def test_one_living_worker_of_a_kind_is_enough(client: Client) -> None:
    see("agents", 3600)
    see("agents", 1)
    agents = ready(client)[1]["agents"]
    assert agents["ok"]
    assert 1.0 <= agents["seconds_ago"] < 3600


@pytest.mark.django_db(transaction=True)
def test_a_silent_worker_beside_a_living_one_is_counted(client: Client) -> None:
    see("agents", 60)
    see("agents", 1)
    agents = ready(client)[1]["agents"]
    assert (agents["ok"], agents["silent"]) == (True, 1)


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_is_not_applied_is_said(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'runs' AND name = '0001_initial'")
    try:
        assert ready(client)[1]["migrations"]["says"] == "1 not applied"
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES ('runs', '0001_initial', now())"
            )


def test_a_database_that_is_gone_is_said_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect("host=/nowhere", connect_timeout=1)

    monkeypatch.setattr(health, "_connect", refused)
    status, parts = ready(client)
    assert status == 503
    assert parts["database"]["says"] == "no answer"
    assert parts["valkey"]["ok"]


def test_a_valkey_that_is_gone_is_said_at_once(settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock"
    assert health._valkey() == {"ok": False, "says": "no answer"}
