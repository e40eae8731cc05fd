"""What a benchmark says: the object's form, medians, percentiles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from opsconsole.bench.catalogue import BENCHES, named, usual
from opsconsole.bench.figures import of_parts, of_rounds, percentile
from opsconsole.bench.order import Order, parse
from opsconsole.environment import REPOSITORY

KEYS = [
    "bench",
    "rounds",
    "n",
    "value",
    "unit",
    "min",
    "max",
    "p50_ms",
    "p95_ms",
    "max_ms",
    "floor",
    "ratio",
    "load1",
    "detail",
]


def test_an_object_has_every_key_and_null_where_one_does_not_apply() -> None:
    told = json.loads(of_rounds("solo", n=4, unit="ms", values=[2.0, 9.0, 4.0]).line())
    assert list(told) == KEYS
    assert (told["value"], told["min"], told["max"], told["rounds"]) == (4.0, 2.0, 9.0, 3)
    assert [told[key] for key in ("p50_ms", "p95_ms", "max_ms", "floor", "ratio")] == [None] * 5


def test_percentiles_are_medians_of_the_rounds_and_the_worst_sample_is_kept() -> None:
    rounds = [[float(number) for number in range(1, 101)], [1000.0] * 100, [7.0] * 100]
    figures = of_rounds("resume", n=100, unit="ms", values=[1.0, 2.0, 3.0], samples_ms=rounds)
    assert (figures.p50_ms, figures.p95_ms, figures.max_ms) == (50.0, 95.0, 1000.0)


def test_a_benchmark_of_several_parts_says_its_headline_under_its_own_name() -> None:
    parts = [
        of_rounds(f"stop-{name}", n=4, unit="ms", values=[one])
        for name, one in (("call", 2.0), ("child", 9.0))
    ]
    told = json.loads(of_parts("stop", parts, parts[0]).line())
    assert list(told) == KEYS
    assert (told["bench"], told["value"], told["detail"]["headline"]) == ("stop", 2.0, "stop-call")
    assert told["detail"]["parts"]["stop-child"]["value"] == 9.0


def test_a_ratio_compares_with_the_floor_of_the_same_round() -> None:
    figures = of_rounds("steps", n=1, unit="steps/s", values=[10.0, 20.0, 30.0], floors=[100.0, 20.0, 60.0])
    assert (figures.floor, figures.ratio) == (60.0, 0.5)


def test_no_round_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no round"):
        of_rounds("steps", n=1, unit="steps/s", values=[])


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 2.0), (75, 3.0), (95, 4.0), (100, 4.0)])
def test_a_percentile_is_a_sample_that_was_measured(percent: float, expected: float) -> None:
    assert percentile([4.0, 2.0, 3.0, 1.0], percent) == expected


def test_an_order_travels_as_text_and_keeps_what_it_was_told(tmp_path: Path) -> None:
    order = Order(bench="push", folder=tmp_path, rounds=5, n=7, load1=1.234, port=80)
    assert parse(order.text()) == order
    figures = of_rounds("push-7", n=7, unit="ms", values=[1.0], detail={"signed_in": 5})
    order.tell(figures)
    assert order.told() == [replace(figures, load1=1.23)]


def test_peers_the_profile_and_one_connection_run_only_when_they_are_named() -> None:
    assert {bench.name for bench in BENCHES} - {bench.name for bench in usual()} == {
        "backend",
        "peers",
        "profile",
    }
    assert named("peers")
    assert named("nothing") is None


def test_nothing_of_production_imports_the_benchmarks() -> None:
    """`manage.py` alone does, when it is asked for them."""
    ours = [
        path for app in ("runs", "escalations", "opsconsole") for path in (REPOSITORY / app).rglob("*.py")
    ]
    production = [path for path in ours if not path.is_relative_to(REPOSITORY / "opsconsole" / "bench")]
    assert len(production) > 100
    assert [path for path in production if "opsconsole.bench" in path.read_text()] == []
