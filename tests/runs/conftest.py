"""Starting and advancing runs of the test workflows, in this process, without a worker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from runs.engine import answers, starts
from runs.engine.advance import advance
from runs.engine.claimed import Claimed, Next
from runs.engine.worker.runtime import Runtime
from runs.models import Question, Run
from tests.runs import flows


@pytest.fixture(autouse=True)
def _no_pauses(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIMULATED_SECONDS = 0.0
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 0.0)  # back-off: at once


@pytest.fixture(autouse=True)
def _empty_cashbox() -> Iterator[None]:
    flows.CASHBOX.paid.clear()
    flows.CASHBOX.break_after_send = 0
    yield
    flows.CASHBOX.break_after_send = 0
    flows.CASHBOX.lose = False


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime("test-worker", "agents")


def start(workflow: str, key: str = "", **order: Any) -> Run:
    """A new run of a test workflow."""
    with transaction.atomic():
        return starts.start(workflow, order, start_key=key or uuid.uuid4().hex, by="test").run


def advanced(run: Run, runtime: Runtime, times: int = 10) -> Run:
    """Look at the run until it waits, is held or is final (sleeping runs of the tests are due at once)."""
    for _ in range(times):
        if advance(run.pk, runtime).why not in ("later",):
            break
    return Run.objects.get(pk=run.pk)


def question_of(run: Run) -> Question:
    return Question.objects.select_related("run", "step").get(run=run, state="open")


def only(claims: Next) -> Claimed:
    """The one attempt that was claimed."""
    assert isinstance(claims, tuple), claims
    (claimed,) = claims
    return claimed


def answered(
    run: Run, verb: str, text: str = "", answer: Any = None, *, question: Question | None = None
) -> Question:
    """Answer the run's open question, or that one."""
    with transaction.atomic():
        locked = answers.lock((question or question_of(run)).pk)
        given = answer if answer is not None else (locked.action if verb == "approve" else None)
        return answers.answer(locked, verb=verb, answer=given, text=text, by="Marta")
