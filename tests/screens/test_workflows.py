"""The Workflows pages: what is installed, what only runs know, how runs ended, and what a version says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs import registry
from runs.definitions import Workflow
from runs.models import Run
from tests import factories
from tests.runs import flows
from tests.screens import patterns
from tests.screens.reading import Page, read
from tests.screens.test_pages import MOST_QUERIES, well_made

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def registered(workflow: Workflow) -> Iterator[None]:
    """Installed for the length of a test."""
    registry.register(workflow)
    try:
        yield
    finally:
        registry.forget(workflow)


@contextmanager
def gone(workflow: Workflow) -> Iterator[None]:
    back = registry.forget(workflow)
    try:
        yield
    finally:
        back()


def row(page: Page, name: str) -> str:
    """The text of the list from that workflow's name on."""
    return page.text[page.text.index(f" {name} v") :]


def test_the_list_names_pattern_agents_team_and_starts_of_the_newest_version(operator: Client) -> None:
    page = read(operator.get("/workflows/"))
    well_made(page, "/workflows/")
    desk = row(page, "screens_desk")
    for words in (
        "v2 simulated",
        "Refund desk of the tests",
        "orchestrated",
        "7 rules over outputs",
        "classifier",
        "simulated/writer-1",
        "Customer Care",
        "by hand",
    ):
        assert words in desk[: desk.index("screens_fan")], words
    assert "/workflows/screens_desk/v1" in page.links()
    assert "folder dropped" in row(page, "invoice_intake")[:400]


def test_runs_are_counted_by_outcome_and_lead_to_exactly_those_runs(operator: Client) -> None:
    for _ in range(2):
        factories.advanced(factories.started("plain"))
    factories.started("plain")
    other = factories.advanced(factories.started("plain"))
    Run.objects.filter(pk=other.pk).update(version=9)
    page = read(operator.get("/workflows/"))
    done = "/runs/?workflow=plain&version=1&state=done"
    assert done in page.links()
    assert "/runs/?workflow=plain&version=1&state=ready" in page.links()
    assert "2 done" in row(page, "plain")
    listed = read(operator.get(done))
    assert len([one for one in listed.ids() if one.startswith("run-")]) == 2
    assert f"run-{other.pk}" not in listed.ids()


def test_a_version_that_runs_need_and_is_gone_is_marked_and_explained(operator: Client) -> None:
    run = factories.approval().run
    with gone(flows.PAYING):
        listed = read(operator.get("/workflows/"))
        assert "gone" in row(listed, "paying")[:40]
        page = read(operator.get("/workflows/paying/v1"))
        well_made(page, "gone")
        assert "paying v1 is not installed here. 1 run needs it." in page.text
        assert f"/runs/?workflow=paying&version=1&state={run.state}" in page.links()
        assert "Start a run" not in page.text


def test_a_version_that_is_gone_and_nobody_needs_is_only_said_to_be_not_installed(operator: Client) -> None:
    run = factories.advanced(factories.started("plain"))
    Run.objects.filter(pk=run.pk).update(version=7)
    page = read(operator.get("/workflows/"))
    assert "v7 not installed Only runs that are over know it." in page.text
    assert "Its runs are over" in read(operator.get("/workflows/plain/v7")).text


def test_an_older_version_says_so_and_is_not_started(operator: Client) -> None:
    page = read(operator.get("/workflows/screens_desk/v1"))
    assert "older; new runs take v2" in page.text
    assert "/runs/start/screens_desk" not in page.links()
    assert "only the newest version is started" in page.text
    assert "/runs/start/screens_desk" in read(operator.get("/workflows/screens_desk/")).links()


def test_the_page_of_a_version_says_everything_that_bounds_and_checks_it(operator: Client) -> None:
    page = read(operator.get("/workflows/screens_desk/"))
    well_made(page, "screens_desk")
    for words in (
        "retry 3 times, 1 s to 30 s apart, then model simulated/writer-2, then model simulated/writer-3, then",
        "another agent, second_writer, then a verifier, verifier",
        "policy_reader on simulated/policy_reader-1",
        "Asked by writer",
        "payments.refund",
        "Irreversible",
        "yes, by its rule",
        "and a check of its own beyond the contract",
        "3× in a run, at most",
        "1 to 4000 characters As it came, nothing taken away.",
        "list of Line",
        "One line of an order.",
        "Changed since v1",
        "2×",
    ):
        assert words in page.text, words


def test_every_box_of_the_drawing_leads_to_its_node(operator: Client) -> None:
    for name in ("screens_desk", "screens_fan", "plain"):
        page = read(operator.get(f"/workflows/{name}/"))
        anchors = {attributes["href"] for tag, attributes in page.tags if tag == "a" and "href" in attributes}
        boxes = {one for one in anchors if one.startswith("#node-")}
        newest = registry.newest(name)
        assert newest is not None
        assert len(boxes) == len(newest.nodes)
        assert boxes <= {f"#{one}" for one in page.ids()}


def test_contracts_that_are_only_named_lead_to_where_they_are_written_out(operator: Client) -> None:
    for name in ("screens_desk", "screens_fan", "invoice_intake"):
        page = read(operator.get(f"/workflows/{name}/"))
        wanted = {one for one in page.links() if one.startswith("#contract-")}
        assert wanted <= {f"#{one}" for one in page.ids()}


def test_a_fan_out_is_drawn_as_one(operator: Client) -> None:
    page = read(operator.get("/workflows/screens_fan/"))
    assert "fan" in page.classes()
    assert "up to 50 tasks, 4 side by side" in page.text
    assert "joined when 1 is done, the others settle first" in page.text
    assert "in a process of its own that a stop kills, at most 30 s" in page.text


@pytest.mark.parametrize("where", ["/workflows/none/", "/workflows/plain/v99", f"/workflows/plain/v{10**25}"])
def test_what_is_not_there_says_so(where: str, operator: Client) -> None:
    assert "There is no" in read(operator.get(where), status=404).text


def test_far_too_much_is_folded_bounded_and_well_made(operator: Client) -> None:
    long = patterns.long_chain()
    for number in range(12):
        run = factories.started("plain")
        Run.objects.filter(pk=run.pk).update(version=20 + number)
    Run.objects.filter(pk=factories.started("plain").pk).update(workflow="gone " + "w" * 70, version=3)
    with registered(long):
        for where in ("/workflows/", f"/workflows/{long.name}/", "/workflows/plain/", "/workflows/plain/v31"):
            response = operator.get(where)
            well_made(read(response), where)
            assert len(response.content) < 250_000, where
        assert "and 8 older versions" in read(operator.get("/workflows/")).text
        assert "and 24 more" in read(operator.get("/workflows/")).text
        folded = [one for tag, one in read(operator.get(f"/workflows/{long.name}/")).tags if tag == "details"]
        assert len(folded) > 60
        assert not [one for one in folded if "open" in one]


@pytest.mark.parametrize(
    "where",
    [
        "/workflows/",
        "/workflows/list",
        "/workflows/screens_desk/",
        "/workflows/screens_desk/v1",
        "/workflows/invoice_intake/",
        "/workflows/plain/v1/versions",
    ],
)
def test_a_page_costs_few_queries_however_many_workflows_and_runs_there_are(
    where: str, operator: Client
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            read(operator.get(where))
            return len(queries)

    before = cost()
    for number in range(6):
        factories.advanced(factories.started("plain", text=str(number)))
    Run.objects.filter(pk=factories.started("plain").pk).update(workflow="known from a run only")
    after = cost()
    assert after <= before + 1 <= MOST_QUERIES  # one more for the team of what only a run knows


def test_what_only_runs_know_keeps_the_team_of_its_runs(operator: Client) -> None:
    Run.objects.filter(pk=factories.started("plain").pk).update(workflow="known from a run only")
    assert "Testers" in row(read(operator.get("/workflows/")), "known from a run only")[:300]


def test_names_from_runs_stay_text(operator: Client) -> None:
    name = "<b>x</b>/../?a=1&b#c"
    Run.objects.filter(pk=factories.started("plain").pk).update(workflow=name)
    page = read(operator.get("/workflows/"))
    (link,) = [one for one in page.links() if one.startswith("/workflows/%3Cb%3E")]
    assert name in read(operator.get(link)).text
    counted = next(one for one in page.links() if "%3Cb%3E" in one and one.startswith("/runs/"))
    assert len([one for one in read(operator.get(counted)).ids() if one.startswith("run-")]) == 1


def test_recorded_workflows_stand_below_those_that_people_work_on(operator: Client) -> None:
    Run.objects.filter(pk=factories.started("plain").pk).update(workflow="recorded:airline")
    listed = [one for one in read(operator.get("/workflows/")).links() if one.startswith("/workflows/")]
    assert listed.index("/workflows/screens_desk/") < listed.index("/workflows/recorded:airline/")
    assert listed[-1] == "/workflows/recorded:airline/"
