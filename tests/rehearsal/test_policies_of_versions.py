"""Whether a version's changed policies were rehearsed: said on its page and by `check_workflow`. Holds nothing back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from opsconsole import throwaway
from opsconsole.management.commands import check_workflow
from runs import registry
from runs.definitions import Agent, Ask, Compact, Pipeline, Retry, Workflow
from runs.models import RehearsedPolicy
from tests import factories
from tests.limits.conftest import signed_in
from tests.screens.reading import read

pytestmark = pytest.mark.django_db(transaction=True)
COMMAND = "manage.py rehearse policy writing write"


@pytest.fixture
def later() -> Iterator[Workflow]:
    """The next version of it, that asks a person sooner and compacts."""
    was = registry.newest("writing")
    assert was is not None
    (node,) = was.nodes
    assert isinstance(node.work, Agent)
    short = Agent(name="shortener", model="simulated/small", prompt="Say it shorter.", prompt_version="1")
    changed = replace(
        node,
        work=replace(node.work, when_full=Compact(by=short)),
        errors=replace(node.errors, recoverable=Retry(times=1, then=Ask())),
    )
    assert isinstance(was.pattern, Pipeline)
    workflow = replace(
        was,
        version=was.version + 1,
        pattern=replace(was.pattern, nodes=(changed,)),
        samples=lambda: ({"text": "a"},),
    )
    registry.register(workflow)
    yield workflow
    registry.forget(workflow)


def rehearsed(*words: str) -> None:
    call_command("rehearse", *words, stdout=StringIO(), stderr=StringIO())


def page() -> Any:
    ines = User.objects.filter(username="ines").first() or factories.person("ines", "admin")
    return read(signed_in(ines).get("/workflows/writing/"))


def checked(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(throwaway, "database", nullcontext)
    monkeypatch.setattr(check_workflow, "check", lambda *_, **__: ())
    out = StringIO()
    call_command("check_workflow", "writing", *words, stdout=out)
    return out.getvalue()


def test_the_page_says_which_policies_differ_and_that_nobody_rehearsed_them(later: Workflow) -> None:
    text = page().text
    assert "Policies that differ" in text
    assert "Errors at write" in text
    assert "retry 1, ask" in text
    assert text.count("Not rehearsed.") == 2
    assert COMMAND in text
    assert "manage.py rehearse when-full writer compact" in text


def test_who_rehearsed_them_when_and_with_which_result_is_said(later: Workflow) -> None:
    factories.advanced(factories.started("writing", plan="provider down"))
    rehearsed("policy", "writing", "write")
    one = RehearsedPolicy.objects.get()
    text = page().text
    assert f"Rehearsed {one.at:%Y-%m-%d %H:%M} UTC by command line (" in text
    assert f"{one.totals['differ']} of 1 runs would have gone otherwise" in text
    assert text.count("Not rehearsed.") == 1
    rehearsed("when-full", "writer", "compact", "--tokens", "12000")
    assert "Not rehearsed." not in page().text


def test_another_policy_or_traces_of_others_are_no_rehearsal_of_it(later: Workflow, tmp_path: Any) -> None:
    rehearsed("policy", "writing", "write", "--recoverable", "retry 2, ask")
    rehearsed("when-full", "writer", "ask")
    rehearsed("breaker", "model", "--consecutive", "2")
    assert page().text.count("Not rehearsed.") == 2
    assert RehearsedPolicy.objects.count() == 2


def test_where_no_policy_differs_nothing_is_said() -> None:
    assert "Policies that differ" not in page().text


def test_check_workflow_says_it_too(later: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    told = checked(monkeypatch)
    assert "Changed policy, errors at write: recoverable: " in told
    assert "-> recoverable: retry 1, ask. not rehearsed." in told
    assert COMMAND in told
    rehearsed("policy", "writing", "write")
    errors, full = json.loads(checked(monkeypatch, "--json"))["policies"]
    assert errors["rehearsed"]["result"] == "it covered no run"
    assert errors["rehearsed"]["by"].startswith("command line (")
    assert full["rehearsed"] is None
