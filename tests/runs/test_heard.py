"""A worker hears of controls and of answers with the commit itself: no heartbeat, no Valkey, nobody nudges."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from pytest_django import Settings

from escalations import controls
from runs.engine import answers, holds
from runs.engine.advance import advance
from runs.engine.outcomes import CutInFlight
from runs.engine.worker import heart, obeying
from runs.engine.worker.runtime import Runtime
from runs.models import Control, Run
from tests import factories, patience
from tests.runs.conftest import advanced, question_of, start

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 20


@pytest.fixture
def hearing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    settings.RUNS_HEARTBEAT_SECONDS = 3600  # what is heard does not wait for it
    settings.RUNS_LEASE_SECONDS = 3600
    runtime = Runtime("hearing-worker", "agents")
    listens, hear = threading.Event(), runtime._hear

    def heard(controls: list[Control]) -> None:
        hear(controls)
        listens.set()  # it is told once what is engaged when it begins

    monkeypatch.setattr(runtime, "_hear", heard)
    runtime.start()
    try:
        assert listens.wait(patience.SECONDS)
        yield runtime
    finally:
        runtime.stop()


def test_a_stop_cuts_what_is_in_flight_without_a_heartbeat(hearing: Runtime, settings: Settings) -> None:
    settings.SIMULATED_SECONDS = 600.0
    run = start("writing")

    def look() -> None:
        advance(run.pk, hearing)
        connection.close()

    looking = threading.Thread(target=look)
    looking.start()
    patience.until(lambda: run.calls.filter(state="permitted").exists())
    with transaction.atomic():
        holds.engage("stop", "run", str(run.pk), by="test")
    patience.joined(looking)
    assert run.calls.get().state == "cut"


def test_a_stop_is_cut_by_what_its_notice_says_and_read_where_it_says_nothing(
    hearing: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    read: list[int] = []
    monkeypatch.setattr(hearing.obeying, "hear", lambda controls: told.append([str(one) for one in controls]))

    def reads(own: object) -> list[Control]:
        read.append(1)
        return []

    monkeypatch.setattr(heart, "_read_controls", reads)
    with transaction.atomic():
        holds.engage("stop", "workflow", "writing", by="Marta \u201cM\u201d Oliveira")
    patience.until(lambda: bool(told))
    assert (told, read) == ([["stop workflow writing"]], [])
    with transaction.atomic():
        holds.engage("stop", "workflow", "writing", by="Ines")  # it is engaged already
    patience.until(lambda: len(told) == 2)
    assert (told[1:], read) == ([[]], [1])


def test_gate_and_control_of_a_stop_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Psycopg waits for roles, subject, gate with control, entry and COMMIT, and says that it turns
    autocommit off and on; marking comes afterwards."""
    marta, run = factories.person("marta", "operator"), start("writing")
    monkeypatch.setattr(controls, "_for_a_while", lambda turn: None)
    for _ in range(5):  # until each statement is prepared
        controls.engage(actor=marta, kind="pause", scope_kind="run", scope=str(run.pk))
    sent: list[object] = []
    wait = psycopg.Connection.wait

    def waits(self: Any, *given: Any) -> Any:
        sent.append(1)
        return wait(self, *given)

    monkeypatch.setattr(psycopg.Connection, "wait", waits)
    controls.engage(actor=marta, kind="stop", scope_kind="run", scope=str(run.pk))
    assert len(sent) == 7


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
    patience.until(lambda: heard == [run.pk])


def _approve(run: Run) -> None:
    question = answers.lock(question_of(run).pk)
    answers.answer(question, verb="approve", answer=question.action, by="test")


def test_the_last_of_many_is_cut_before_the_first_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obeying, "ASIDE_SECONDS", patience.SECONDS)  # busy cores
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
            flight.wait(call, 60)
        except CutInFlight:
            went_on.append(time.monotonic())

    threads = [threading.Thread(target=perform, args=(flight,)) for flight in flights]
    for thread in threads:
        thread.start()
    patience.until(lambda: len(under_way) == MANY)
    runtime.obeying.cut_together(flights, "everything stops")
    for thread in threads:
        patience.joined(thread)
    runtime.stop()
    assert (len(ended), len(went_on)) == (MANY, MANY)
    assert min(went_on) > max(ended)


def test_a_call_that_has_no_time_left_is_not_begun() -> None:
    """And nothing of it is left over for Python to complain about."""
    begun: list[str] = []

    async def call() -> None:
        begun.append("call")

    runtime = Runtime("hurried", "agents")
    try:
        with runtime.fly(1, "", 1) as flight, pytest.raises(TimeoutError):
            flight.wait(call, 0.0)
    finally:
        runtime._end_loop()
    gc.collect()
    assert begun == []
