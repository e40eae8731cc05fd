"""The card of a run whose version is gone, as a page and as a form that needs no script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.test import Client

from escalations.models import Escalation
from runs.models import Run
from tests.deploys.flows import (
    CLOSE,
    DRAFT,
    STRICT,
    TWO,
    Strict,
    installed,
    paying,
    pipeline,
    without_its_version,
)
from tests.factories import person

pytestmark = pytest.mark.django_db(transaction=True)

THREE = pipeline(3, DRAFT, STRICT, replace(paying(name="settle"), takes=Strict), CLOSE)


@pytest.fixture
def gone() -> Iterator[Escalation]:
    escalation = without_its_version()
    with installed(TWO, THREE):
        yield escalation


def _signed_in(role: str) -> Client:
    client = Client()
    client.force_login(person(role, role))
    return client


def _page(client: Client, escalation: Escalation) -> str:
    response = client.get(f"/escalations/{escalation.pk}")
    assert response.status_code == 200
    return response.content.decode()


def _form(html: str) -> dict[str, str]:
    """What a browser would send of the form as it is shown."""
    form = html[html.index('id="migrate"') :]
    form = form[: form.index("</form>")]
    hidden = dict(re.findall(r'name="(version|digest)"\s+value="([^"]*)"', form))
    (place,) = re.findall(r'name="place" value="([^"]*)" required\s+checked', form)
    return {**hidden, "place": place, "reason": "v1 is switched off"}


def test_the_card_shows_where_the_run_could_go_on_and_why_not_elsewhere(gone: Escalation) -> None:
    html = _page(_signed_in("operator"), gone)
    assert "deployed v1 is not installed as the run knows it" in html
    assert "Where it stands: pay (step 3)" in html
    assert "suggested" in html
    assert html.index("deployed v2</b>") < html.index("deployed v3</b>")  # the suggested one first
    assert "it has no node pay" in html
    assert "what review gave (step 2) does not fit: currency of the input: Field required" in html
    assert 'form="migrate"' in html


def test_the_form_works_without_a_script(gone: Escalation) -> None:
    client = _signed_in("operator")
    sent = client.post(f"/escalations/{gone.pk}/migrate", _form(_page(client, gone)))
    assert sent.status_code == 302
    assert (Run.objects.get(pk=gone.run_id).version, Escalation.objects.get(pk=gone.pk).state) == (
        2,
        "decided",
    )
    assert "answered this" in _page(client, gone)


def test_without_a_place_the_card_says_so_and_keeps_what_was_written(gone: Escalation) -> None:
    client = _signed_in("operator")
    form = _form(_page(client, gone)) | {"place": ""}
    sent = client.post(f"/escalations/{gone.pk}/migrate", form)
    assert sent.status_code == 422
    assert "Choose where the run goes on." in sent.content.decode()
    assert "v1 is switched off" in sent.content.decode()
    assert Run.objects.get(pk=gone.run_id).version == 1


def test_a_place_that_is_not_there_any_more_is_a_conflict(gone: Escalation) -> None:
    client = _signed_in("operator")
    form = _form(_page(client, gone)) | {"place": "2:000000000000:"}
    sent = client.post(f"/escalations/{gone.pk}/migrate", form)
    assert sent.status_code == 409
    assert "was not migrated" in sent.content.decode()


def test_an_auditor_reads_the_places_and_chooses_none(gone: Escalation) -> None:
    client = _signed_in("auditor")
    html = _page(client, gone)
    assert "Where it stands: pay (step 3)" in html
    assert 'form="migrate"' not in html
    assert re.search(r"<fieldset\s+disabled", html)


def test_with_nothing_installed_the_card_says_what_to_do() -> None:
    escalation = without_its_version()
    html = _page(_signed_in("operator"), escalation)
    assert "No version of deployed is installed here. Install v1 again" in html
    assert 'id="go-on"' not in html


def test_the_run_page_says_both_versions(gone: Escalation) -> None:
    client = _signed_in("operator")
    client.post(f"/escalations/{gone.pk}/migrate", _form(_page(client, gone)))
    html = client.get(f"/runs/{gone.run_id}").content.decode()
    told = re.sub(r"<[^>]*>", "", html[html.index("v1 until") :])
    assert re.match(r"v1 until .*: operator migrated it to v2 at pay \(step 3\)", told)
