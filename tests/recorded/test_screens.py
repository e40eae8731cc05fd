"""Every screen that shows a recorded run says *recorded*, and shows what was recorded as the text it is."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from runs.engine.worker.runtime import Runtime
from runs.models import Attempt, Call, Run, Step
from tests import factories
from tests.recorded.conftest import played, taken_in
from tests.recorded.traces import called, conversation, message, thought, trace

pytestmark = pytest.mark.django_db(transaction=True)
TAG = '<span class="tag">recorded</span>'
EVIL = "<script>alert('x')</script> {{ 7 }} \x00 \ud800 \u202e"


@pytest.fixture
def page() -> Client:
    client = Client()
    client.force_login(factories.person("tomasz", "auditor"))
    return client


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_of_runs_says_recorded(page: Client, runtime: Runtime) -> None:
    played(taken_in(conversation()), runtime)
    found = text(page, reverse("runs"))
    assert TAG in found
    assert "recorded:shop" in found


@pytest.mark.parametrize("done", [True, False])
def test_the_page_of_a_run_says_recorded(done: bool, page: Client, runtime: Runtime) -> None:
    run = taken_in(conversation())
    if done:
        run = played(run, runtime)
    found = text(page, reverse("run", args=[run.pk]))
    assert TAG in found
    assert "simulated" not in found
    assert "is not installed here" not in found


def test_every_attempt_and_call_can_be_looked_into(page: Client, runtime: Runtime) -> None:
    run = played(taken_in(conversation()), runtime)
    address = reverse("run-inspector", args=[run.pk])
    for attempt in Attempt.objects.filter(step__run=run):
        assert text(page, f"{address}?attempt={attempt.pk}")
    for call in Call.objects.filter(run=run):
        found = text(page, f"{address}?call={call.pk}")
        assert call.kind == "tool" or TAG in found
    said = Attempt.objects.get(step__run=run, step__seq=1)
    assert "A recorded message" in text(page, f"{address}?attempt={said.pk}")


def test_hostile_texts_are_shown_and_never_obeyed(page: Client, runtime: Runtime) -> None:
    line = trace(
        message(EVIL, agent=EVIL),
        thought(EVIL, agent=EVIL, model=EVIL),
        called(EVIL, {EVIL: EVIL}, EVIL, error=EVIL),
        goal=EVIL,
        workflow=EVIL,
        agents=[{"name": EVIL}],
    )
    run = played(taken_in(line), runtime)
    inspector, body = (
        reverse("run-inspector", args=[run.pk]),
        reverse("run-body", args=[run.pk, run.input_id]),
    )
    addresses = [reverse("runs"), reverse("run", args=[run.pk]), body, reverse("run-events", args=[run.pk])]
    addresses += [f"{inspector}?call={call.pk}" for call in Call.objects.filter(run=run)]
    for address in addresses:
        found = text(page, address)
        assert "<script>alert" not in found
        assert "\x00" not in found


def test_the_workflows_page_stands_with_recorded_runs_about(page: Client, runtime: Runtime) -> None:
    played(taken_in(conversation()), runtime)
    assert "recorded:shop" in text(page, reverse("workflows"))


def test_a_long_recording_has_a_page_of_few_queries(
    page: Client, runtime: Runtime, django_assert_max_num_queries: object
) -> None:
    run = played(taken_in(trace(*(message(f"item {n}") for n in range(120)))), runtime)
    assert Step.objects.filter(run=run).count() == 120
    with django_assert_max_num_queries(30):  # type: ignore[operator]
        text(page, reverse("run", args=[run.pk]))
    assert Run.objects.get(pk=run.pk).state == "done"
