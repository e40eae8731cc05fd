"""How long a stop takes while two worker processes settle and claim eight runs as fast as they can."""

from __future__ import annotations

import os
import statistics
import time

import pytest
from django.contrib.auth.models import User

from escalations import controls
from runs.engine import holds
from runs.models import Control, Event, Run
from tests import factories
from tests.faults import acknowledged, figures, workflows
from tests.faults.acts import engage, start
from tests.faults.broker import Broker
from tests.faults.fleet import Fleet, until
from tests.faults.history import CLAIMS

STOPS = 20
HOT_RUNS = 8
CLAIMS_BETWEEN = 32  # two or three steps of each run


def test_a_stop_of_eight_hot_runs_takes_less_than_a_second_and_nothing_is_claimed_after_it(
    fleet: Fleet, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    """That nothing is claimed is checked with the whole record at the end, by PostgreSQL's clock."""
    marta = factories.person("marta", "operator")
    for name in ("left", "right"):
        fleet.agents(name, threads=4)
    runs = [start(workflows.HOT.name) for _ in range(HOT_RUNS)]
    broker.hint(*(run.pk for run in runs))
    in_force, answered, claims = [], [], 0
    for _ in range(STOPS):
        _until_hot(claims + CLAIMS_BETWEEN)
        began = time.time()
        control = controls.engage(actor=marta, kind="stop", scope_kind="everything")
        acknowledged.engaged(control.pk, "stop", "everything", "")
        answered.append((time.time() - began) * 1000)
        # The entry is the last statement before the commit. Marking the runs comes after it, up to half a second.
        in_force.append((factories.journal(act="engage stop")[-1].at.timestamp() - began) * 1000)
        claims = _claims()
        _let_go_on(control, broker, marta)
    with capsys.disabled():
        _tell(in_force, answered, claims)
    assert max(in_force) < figures.room(1000)
    assert Run.objects.filter(state="done").count() == 0, "they were hot to the end"
    assert Run.objects.filter(fence__gt=STOPS // 2).count() == HOT_RUNS, "each was cut again and again"
    while holds.mark(engage("stop", "workflow", workflows.HOT.name).pk):  # else they would never be done
        continue


def _claims() -> int:
    return Event.objects.filter(kind__in=CLAIMS).count()


def _until_hot(claims: int) -> None:
    until(lambda: _claims() >= claims, f"{claims} claims in all")


def _let_go_on(control: Control, broker: Broker, marta: User) -> None:
    controls.release(actor=marta, control_id=control.pk, reason="next round")
    acknowledged.released(control.pk)
    controls.resume_all(actor=marta, control_id=control.pk)
    broker.hint(*Run.objects.values_list("pk", flat=True))


def _tell(in_force: list[float], answered: list[float], claims: int) -> None:
    print(
        f"\n  {STOPS} stops among {claims} claims of {HOT_RUNS} hot runs: in force after {_figures(in_force)};"
        f" answered, runs marked, after {_figures(answered)}; load {os.getloadavg()[0]:.0f}"
    )


def _figures(took: list[float]) -> str:
    p95 = statistics.quantiles(took, n=20)[-1]
    return f"p50 {statistics.median(took):.0f}, p95 {p95:.0f}, max {max(took):.0f} ms"
