"""Whoever stands still between a stop and its gate: a holder behind a frozen transaction, a request that left late."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from runs.engine import gate, holds
from runs.engine.claim import claim
from runs.engine.outcomes import Refused
from runs.engine.tools.actions import Action
from runs.engine.tools.gateway import Gateway
from runs.engine.worker.runtime import Runtime
from runs.models import Event, Run
from tests import patience
from tests.runs import flows
from tests.runs.conftest import only, start

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def frozen_with_the_row_of(run: Run) -> Iterator[threading.Thread]:
    """Somebody has written a run's row, and says nothing more until the end."""
    wrote, done = threading.Event(), threading.Event()

    def stand_still() -> None:
        with suppress(Exception), transaction.atomic():  # a stop ends its connection
            Run.objects.select_for_update().get(pk=run.pk)
            wrote.set()
            done.wait(patience.SECONDS)
        connection.close()

    thread = threading.Thread(target=stand_still)
    thread.start()
    wrote.wait()
    yield thread
    done.set()
    thread.join()


@contextmanager
def behind_it_with_the_gate(run: Run) -> Iterator[None]:
    """Somebody has passed the gate, and waits for that row: busy, as the database sees it."""
    passed = threading.Event()

    def wait_for_the_row() -> None:
        try:
            with transaction.atomic():
                gate.shared()
                passed.set()
                Run.objects.select_for_update().get(pk=run.pk)
        finally:
            connection.close()

    thread = threading.Thread(target=wait_for_the_row)
    thread.start()
    passed.wait()
    yield
    thread.join()


def test_who_is_frozen_with_a_row_that_a_holder_of_the_gate_waits_for_cannot_starve_a_stop(
    settings: Settings,
) -> None:
    settings.RUNS_GATE_HOLD_MS = 250
    run = start("plain")
    with frozen_with_the_row_of(run) as frozen, behind_it_with_the_gate(run):
        with transaction.atomic():
            holds.engage("stop", "everything", by="Ines")
        assert frozen.is_alive(), "the stop came only after who stood in its way had ended"


def test_a_request_that_may_have_left_after_a_stop_says_so_on_its_run(
    runtime: Runtime, settings: Settings
) -> None:
    settings.RUNS_GATE_HOLD_MS = 10_000  # busy cores
    claimed = only(claim(start("paying", amount=500).pk, worker=runtime.name))
    tool = flows.tool()
    action = Action(tool=tool, arguments=flows.Payment(amount=50), key="late")
    gateway = Gateway(claimed=claimed, action=action, began=time.monotonic())

    def leave_late(seconds: float) -> None:
        assert connection.connection is not None
        connection.connection.pgconn.finish()  # as a stop ends who holds the gate for too long

    gateway.hand_over(leave_late)
    (told,) = Event.objects.filter(run=claimed.run, kind="guard")
    assert told.data["guard"] == "gate"
    assert "may have left after a stop" in told.data["says"]


def test_who_stands_still_just_after_its_look_at_the_gate_sends_nothing(
    runtime: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have taken the run meanwhile, looked for the effect in vain and sent it: it would arrive twice."""
    settings.RUNS_GATE_HOLD_MS = 10_000  # busy cores
    claimed = only(claim(start("paying", amount=500).pk, worker=runtime.name))
    action = Action(tool=flows.tool(), arguments=flows.Payment(amount=50), key="stood")
    gateway = Gateway(claimed=claimed, action=action, began=time.monotonic())
    held = gate.is_held

    def stands_still() -> bool:
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
        monkeypatch.setattr("runs.engine.tools.gateway.time", later)
        return held()

    monkeypatch.setattr(gate, "is_held", stands_still)
    sent: list[float] = []
    with pytest.raises(Refused, match="aborted unsent"):
        gateway.hand_over(sent.append)
    assert sent == []
