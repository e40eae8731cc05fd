"""The controls page says which workers are silent: whoever stops something should know who may not hear of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from escalations import holding
from runs.engine.record import now
from runs.models import Worker, WorkerKind

pytestmark = pytest.mark.django_db(transaction=True)


def worker(name: str, *, seconds_ago: float, kind: str = WorkerKind.AGENTS, gone: bool = False) -> Worker:
    made = Worker.objects.create(name=name, kind=kind, gone_at=now() if gone else None)
    Worker.objects.filter(pk=made.pk).update(seen_at=now() - timedelta(seconds=seconds_ago))
    return made


def test_only_workers_that_should_be_heard_of_and_are_not_are_silent() -> None:
    worker("lively", seconds_ago=1)
    worker("left in order", seconds_ago=60, gone=True)
    worker("of another day", seconds_ago=90_000)
    worker("beat", seconds_ago=60, kind=WorkerKind.BEAT)  # it has its own row in /readyz
    assert holding.silent() == ()
    silent = [worker("frozen", seconds_ago=30), worker("ordinary", seconds_ago=15, kind=WorkerKind.ORDINARY)]
    assert [one.name for one in holding.silent()] == [one.name for one in silent]


def test_the_controls_page_names_them_and_looks_again_by_itself(operator: User) -> None:
    client = Client()
    client.force_login(operator)
    worker("agents-lively-1", seconds_ago=1)
    assert "silent" not in client.get("/controls/held").content.decode()
    worker("agents-frozen-2", seconds_ago=30)
    page = client.get("/controls/").content.decode()
    assert "1 worker is silent." in page
    assert "agents-frozen-2" in page
    assert "every 5s" in client.get("/controls/held").content.decode()
