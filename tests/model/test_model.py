"""Whatever is done in whatever order: the engine does what the reference says, and its record is without a fault."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.internal.conjecture.engine import ConjectureRunner
from hypothesis.stateful import run_state_machine_as_test
from pytest_django import Settings

from runs import live
from runs.engine.claimed import Claimed
from tests import factories
from tests.faults import counts, figures, history
from tests.model import AFTER_CUT, LEASE, clock, flows
from tests.model.machine import Machine

EXAMPLES = counts.of(fast=200, soak=20_000, name="model")
SHARDS = counts.of(fast=2, soak=10)  # of so many examples together; each may be run by another process
MOVES = 8
SEED = int(os.environ.get("MODEL_SEED") or (int.from_bytes(os.urandom(4)) if counts.soaking() else 4))


@pytest.fixture
def machine(
    transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[Machine]]:
    settings.SIMULATED_SECONDS = 0.0
    settings.RUNS_LEASE_SECONDS = LEASE
    # However long this process stands still: that is no failure, and no time of the model's.
    settings.RUNS_GATE_HOLD_MS = 10_000_000
    monkeypatch.setattr(Claimed, "left", lambda claimed: claimed.seconds_left)
    # Breakers have tests of their own; the reference knows no waiting for one.
    never = {"consecutive": 10**6, "least": 10**6, "slow_ms": 10**9}
    settings.RUNS_BREAKERS = {**settings.RUNS_BREAKERS, **never}
    monkeypatch.setattr("runs.engine.breakers.asked_to_wait", lambda *_: None)
    monkeypatch.setattr("runs.engine.settle.CUT_SECONDS", float(AFTER_CUT))
    monkeypatch.setattr("runs.engine.failpoints.hit", flows.hit)
    # Four in five examples would be made by repeating parts of others; new ones see more.
    monkeypatch.setattr(ConjectureRunner, "generate_mutations_from", lambda self, data: None)
    monkeypatch.setattr(
        Machine, "people", tuple(factories.person(name, "operator") for name in ("ada", "ben"))
    )
    history.watch()
    with clock.standing(), live.silent():  # nobody listens: a thread that sent hints would take turns
        # There are more statements than the hundred that a connection keeps prepared: a sixth of the time.
        connection.ensure_connection()
        connection.connection.prepared_max = 2000
        gc.freeze()  # a tenth of the time was spent on looking for garbage in what is loaded
        yield Machine
        gc.unfreeze()
    history.unwatch()


@pytest.mark.no_cover  # following every line of it takes as long again, and its figures say nothing
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_engine_does_what_the_reference_says(machine: type[Machine], shard: int) -> None:
    """A failing example is printed as the calls that lead to it; with this MODEL_SEED shard 0 makes the same ones."""
    print(f"MODEL_SEED={SEED + shard}: {EXAMPLES // SHARDS} examples of up to {MOVES} moves")
    made = machine.made
    shrinks = () if os.environ.get("MODEL_SHRINK") == "0" else (Phase.shrink,)
    run_state_machine_as_test(
        seeded(SEED + shard)(machine),
        settings=settings(
            max_examples=EXAMPLES // SHARDS,
            stateful_step_count=MOVES,
            phases=(Phase.generate, *shrinks),
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    made = machine.made - made
    figures.tell(
        f"model, shard {shard}, MODEL_SEED={SEED + shard}",
        target="none fails",
        measured="none failed",
        n=made,
    )
    assert made >= EXAMPLES // SHARDS
