"""The lanes of the hot path: few connections, given from hand to hand, mended when they break."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DataError, OperationalError, connection

from runs.engine import lanes
from runs.engine.plainly import STEP
from runs.models import Body, Run, Step
from tests.factories import started

pytestmark = pytest.mark.django_db(transaction=True)
_PID = "SELECT pg_backend_pid()"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Lanes of this test alone."""
    lanes.close()
    yield
    lanes.close()


def pid() -> int:
    found = lanes.row(_PID, [])
    assert found is not None
    return int(found[0])


def slow(seconds: float) -> int:
    found = lanes.row("SELECT pg_backend_pid() FROM pg_sleep(%s)", [seconds])
    assert found is not None
    return int(found[0])


def ended(backend: int) -> None:
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as beside:
        beside.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])


def test_one_after_another_uses_the_same_connection() -> None:
    assert len({pid() for _ in range(20)}) == 1


def test_more_threads_than_lanes_are_all_served_and_there_are_never_more_lanes() -> None:
    with ThreadPoolExecutor(4 * lanes.MOST) as threads:
        used = list(threads.map(slow, [0.01] * 40 * lanes.MOST))
    assert 1 < len(set(used)) <= lanes.MOST


def test_who_waits_for_a_lane_gets_the_first_that_is_free() -> None:
    with ThreadPoolExecutor(lanes.MOST + 1) as threads:
        holding = [threads.submit(slow, 1.0) for _ in range(lanes.MOST)]
        last = threads.submit(slow, 0.0).result()
        assert last in {one.result() for one in holding}


def test_a_connection_that_broke_in_use_is_told_once_and_replaced() -> None:
    first = pid()
    ended(first)
    with pytest.raises(OperationalError):
        lanes.row(_PID, [])
    assert pid() != first


def test_a_connection_that_broke_while_nobody_used_it_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pid()
    ended(first)
    monkeypatch.setattr(lanes, "ASK_AFTER_SECONDS", -1.0)
    assert pid() != first


def test_a_statement_that_fails_leaves_its_connection_usable() -> None:
    first = pid()
    with pytest.raises(Exception, match="division by zero"):
        lanes.row("SELECT 1 / %s::int", [0])
    assert pid() == first


def test_an_instance_made_of_values_is_what_the_model_would_give() -> None:
    run = started()
    given = Body.objects.get(pk=run.input_id)
    saved = Step.objects.create(run=run, seq=1, node="first", input=given)
    values: list[Any] = [saved.pk, run.pk, 1, "first", "running", given.pk, 0]
    made = STEP.made(values, run=run, input=given)
    assert made == Step.objects.get(pk=saved.pk)
    assert made.run is run
    assert made.input is given
    assert made.get_deferred_fields() == Step.from_db(None, STEP.names, values).get_deferred_fields()
    assert made.started_at == Step.objects.get(pk=saved.pk).started_at  # fetched when somebody asks for it
    made.node = "second"
    made.save(update_fields=["node"])
    assert Step.objects.get(pk=saved.pk).node == "second"
    assert Run.objects.get(pk=run.pk).steps.count() == 1


def test_values_arrive_as_they_were_given() -> None:
    given = [-(2**40), "ä €\n'%", timedelta(days=1, seconds=2.5), None]
    assert lanes.row("SELECT %s::bigint, %s::text, %s::interval, %s::int", given) == tuple(given)


def test_a_text_with_nul_is_refused_and_never_cut_short() -> None:
    with pytest.raises(DataError, match="NUL"):
        lanes.row("SELECT %s::text", ["before\x00after"])
    assert lanes.row("SELECT %s::text", ["whole"]) == ("whole",)


def test_values_of_other_types_arrive_too() -> None:
    assert lanes.row("SELECT %s::text[], %s::float8", [["a", "b"], 0.5]) == (["a", "b"], 0.5)
