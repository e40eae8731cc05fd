"""What the tests of outages share: runs whose model falls back, and time that passes for whoever waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from runs import registry
from runs.definitions import ErrorPolicy, Node, Policy
from runs.engine.worker.runtime import Runtime
from runs.models import Call, Run
from tests.flows import making
from tests.runs import flows
from tests.runs.conftest import advanced

FIRST = "simulated/writer"
NAME = "writing_outage"
_PASSES = (
    "UPDATE runs_breaker SET retry_at = retry_at - {0}, probe_until = probe_until - {0}",
    "UPDATE runs_wait SET until = until - {0}",
    "UPDATE runs_step SET due_at = due_at - {0} WHERE state = 'sleeping'",
    "UPDATE runs_run SET due_at = due_at - {0} WHERE state = 'sleeping'",
)


@contextmanager
def writing(recoverable: Policy, **more: Any) -> Iterator[str]:
    """A workflow of one agent, with this policy for errors that pass; its name."""
    node = Node(
        name="write",
        work=flows.agent("writer"),
        takes=flows.Order,
        gives=flows.Draft,
        errors=ErrorPolicy(recoverable=recoverable),
    )
    workflow = registry.register(making.pipeline(NAME, node, **more))
    try:
        yield NAME
    finally:
        registry.forget(workflow)


def passes(seconds: int) -> None:
    """So much time is over for breakers and for those that wait or sleep."""
    with connection.cursor() as cursor:
        for one in _PASSES:
            cursor.execute(one.format(f"interval '{seconds} s'"))


def woken(run: Run, runtime: Runtime) -> Run:
    """The run after it was looked at now, whenever it wanted to be looked at."""
    with connection.cursor() as cursor:
        for table, column in (("runs_step", "run_id"), ("runs_run", "id")):
            cursor.execute(
                f"UPDATE {table} SET due_at = clock_timestamp() WHERE state = 'sleeping' AND {column} = %s",
                [run.pk],
            )
    return advanced(run, runtime, times=1)


def asked(*runs: Run) -> list[str]:
    """The models that these runs asked, in order."""
    calls = Call.objects.filter(run__in=runs, kind="model").order_by("pk")
    return list(calls.values_list("model", flat=True))
