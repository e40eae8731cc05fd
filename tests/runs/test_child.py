"""Steps in a child process of their own: done, wrong, dead, cut."""

from __future__ import annotations

import os
import threading

import pytest
from django.db import connection

from runs import bodies
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Run
from tests import patience
from tests.runs.conftest import advanced, question_of, start
from tests.runs.test_holds import engage

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_isolated_step_runs_in_a_process_group_of_its_own(runtime: Runtime) -> None:
    run = advanced(start("child"), runtime)
    assert run.state == "done"
    assert run.output is not None
    group = int(bodies.load(run.output)["text"].rpartition(" ")[2])
    assert group != os.getpgid(0)


def test_an_error_in_the_child_keeps_its_class_and_place(runtime: Runtime) -> None:
    run = advanced(start("child", plan="wrong"), runtime)
    attempt = Attempt.objects.filter(step__run=run).order_by("number")[0]
    assert (attempt.error_class, attempt.error, attempt.error_where) == (
        "data",
        "no such supplier",
        "supplier",
    )


def test_a_child_that_dies_without_a_word_is_an_unforeseen_error(runtime: Runtime) -> None:
    run = advanced(start("child", plan="die"), runtime)
    assert "died without a word" in question_of(run).title


def test_a_stop_kills_the_child_for_real(runtime: Runtime) -> None:
    beating = Runtime("child-worker", "agents")
    beating.start()
    run = start("child", plan="forever")

    def look() -> None:
        advance(run.pk, beating)
        connection.close()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        patience.until(_children)
        engage("stop", "run", str(run.pk))
        beating.nudge()
        patience.joined(looking)
        assert _children() == []
        assert Run.objects.get(pk=run.pk).hold == "stop"
        assert Attempt.objects.get(step__run=run).state == "cut"
    finally:
        beating.stop()


def _children() -> list[str]:
    """Spawned children of this process that are alive."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as command:
                parent, state = stat.read().rpartition(")")[2].split()[1::-1]
                if int(parent) == os.getpid() and state != "Z" and "spawn_main" in command.read():
                    found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
