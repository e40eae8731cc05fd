"""A worker hears of controls and of answers with the commit itself: no heartbeat, no Valkey, nobody nudges."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from runs.engine import answers, holds
from runs.engine.advance import advance
from runs.engine.outcomes import CutInFlight
from runs.engine.runtime import Runtime
from runs.models import Control, Run
from tests.runs.conftest import advanced, question_of, start
from tests.runs.test_holds import until

pytestmark = pytest.mark.django_db(transaction=True)

QUICKLY = 3.0  # seconds; the next heartbeat is a minute away
MANY = 20


@pytest.fixture
def hearing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    settings.RUNS_HEARTBEAT_SECONDS = 60
    settings.RUNS_LEASE_SECONDS = 3600
    runtime = Runtime("hearing-worker", "agents")
    listens, hear = threading.Event(), runtime._hear

    def heard(controls: list[Control]) -> None:
        hear(controls)
        listens.set()  # it is told once what is engaged when it begins

    monkeypatch.setattr(runtime, "_hear", heard)
    runtime.start()
    try:
        assert listens.wait(10)
        yield runtime
    finally:
        runtime.stop()


def test_a_stop_cuts_what_is_in_flight_without_a_heartbeat(hearing: Runtime, settings: Settings) -> None:
    settings.SIMULATED_SECONDS = 30.0
    run = start("writing")

    def look() -> None:
        advance(run.pk, hearing)
        connection.close()

    looking = threading.Thread(target=look)
    looking.start()
    assert until(lambda: run.calls.filter(state="permitted").exists())
    with transaction.atomic():
        holds.engage("stop", "run", str(run.pk), by="test")
    looking.join(QUICKLY)
    assert not looking.is_alive()
    assert run.calls.get().state == "cut"


def test_an_answer_is_heard_with_its_commit_and_not_before(hearing: Runtime, runtime: Runtime) -> None:
    run = advanced(start("paying", amount=500), runtime)
    heard: list[int] = []
    hearing.look_at = heard.append
    with transaction.atomic():
        _approve(run)
        transaction.set_rollback(True)
    with transaction.atomic():
        _approve(run)
        time.sleep(0.1)  # as long as it is not committed, there is nothing to hear
        assert heard == []
    assert until(lambda: heard == [run.pk], QUICKLY), heard


def _approve(run: Run) -> None:
    question = answers.lock(question_of(run).pk)
    answers.answer(question, verb="approve", answer=question.action, by="test")


def test_the_last_of_many_is_cut_before_the_first_goes_on() -> None:
    runtime = Runtime("cutting-worker", "agents")
    flights = [runtime.take_off(number, "any", 1) for number in range(MANY)]
    under_way, ended, went_on = [], [], []

    async def call() -> None:
        under_way.append(1)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            time.sleep(0.005)  # noqa: ASYNC251  # what closing a connection takes
            ended.append(time.monotonic())
            raise

    def perform(flight: Any) -> None:
        try:
            flight.wait(call(), 60)
        except CutInFlight:
            went_on.append(time.monotonic())

    threads = [threading.Thread(target=perform, args=(flight,)) for flight in flights]
    for thread in threads:
        thread.start()
    assert until(lambda: len(under_way) == MANY)
    runtime.obeying.cut_together(flights, "everything stops")
    for thread in threads:
        thread.join(5)
    runtime.stop()
    assert (len(ended), len(went_on)) == (MANY, MANY)
    assert min(went_on) > max(ended)
