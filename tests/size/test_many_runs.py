"""Pages over many runs ask as many statements and touch as many blocks as over few: no page reads a table."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from escalations import inbox
from escalations.inbox import Wanted
from escalations.models import Escalation, JournalEntry
from runs.models import Question, Run
from runs.shown import tallies
from tests import factories
from tests.size import grown

FEW, MANY = 1_000, 12_000
OPEN = 1_200
QUERIES = {
    "/": 9,
    "/?filter=mine": 6,
    "/?filter=irreversible": 9,
    "/?filter=soon": 9,
    "/inbox/queue": 5,
    "/runs/": 7,
    "/runs/?state=waiting": 7,
    "/runs/?state=failed": 7,
    "/runs/?state=held": 7,
    "/runs/?workflow=paying": 7,
    "/runs/?workflow=paying&state=waiting": 7,
    "/runs/?workflow=paying&state=done": 7,
    "/runs/?q={run}": 9,
    "/runs/{run}": 12,
    "/runs/{run}/moving": 8,
    "/runs/{run}/events": 5,
    "/runs/{run}/people": 6,
    "/escalations/{escalation}": 9,
    "/workflows/": 5,
    "/workflows/plain/": 5,
    "/interventions/": 8,
    "/interventions/{entry}": 8,
    "/interventions/?person=marta": 8,
    "/interventions/?outcome=refused": 8,
    "/interventions/?from=2020-01-01&to=2020-02-01": 9,
    "/controls/": 9,
    "/search?q={run}": 9,
}


def looked_at(client: Client) -> dict[str, grown.Cost]:
    """What every page costs now, by its address; in the middle of what there is."""
    names = {
        "run": Run.objects.filter(workflow="plain").order_by("pk")[Run.objects.count() // 3].pk,
        "escalation": Escalation.objects.filter(state="open").order_by("pk")[OPEN // 2].pk,
        "entry": JournalEntry.objects.count() // 2,
    }
    return {where: grown.cost(client, where.format(**names)) for where in QUERIES}


def over(newest: int) -> None:
    """What was asked after that escalation is over: the journal has grown, the queue has not."""
    later = Escalation.objects.filter(pk__gt=newest)
    Question.objects.filter(escalation__in=later).update(state="withdrawn")
    Run.objects.filter(escalations__in=later).update(state="ended", due_at=None)
    later.update(state="withdrawn")


def dearer(few: dict[str, grown.Cost], many: dict[str, grown.Cost]) -> dict[str, object]:
    """By address what is read of the pages that read more, with their heaviest statements."""
    return {
        where: (few[where].blocks, one.blocks, one.statements)
        for where, one in many.items()
        if one.blocks > 1.3 * few[where].blocks + 150
    }


def test_pages_cost_as_much_over_many_runs_as_over_few(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("runs.shown.listing", "escalations.inbox"):
        monkeypatch.setattr(f"{place}.LOOK", FEW // 2)  # what a page looks through for a text
    done, asked = factories.advanced(factories.started("plain")), factories.approval().run
    grown.copied(asked, OPEN)
    grown.copied(done, FEW)
    few = looked_at(operator)
    newest = Escalation.objects.latest("pk").pk
    grown.copied(asked, OPEN)  # with their entries of the journal
    over(newest)
    grown.copied(done, MANY - FEW)
    many = looked_at(operator)
    assert {where: one.queries for where, one in many.items()} == QUERIES
    dear = dearer(few, many)
    if dear:  # somebody's older look, say an autovacuum's, may have kept dead rows: what is dear stays so without them
        grown.tidied()
        dear = dearer(few, looked_at(operator))
    assert not dear
    assert max(one.size for one in many.values()) < 300_000


def test_the_queue_is_paged_by_its_order_without_gap_or_repeat(marta: User) -> None:
    kinds = [factories.approval(), factories.broken_contract(), factories.unknown_effect()]
    for escalation in kinds:
        grown.copied(Run.objects.get(pk=escalation.run_id), 120)
    seen: list[Escalation] = []
    after: int | None = None
    while True:
        items, after = inbox.page(marta, Wanted(after=after))
        seen += items
        if after is None:
            break
    assert len(seen) == len({one.pk for one in seen}) == Escalation.objects.filter(state="open").count()
    assert [one.question.kind for one in seen] == sorted(
        (one.question.kind for one in seen), key=["unknown", "approval", "contract"].index
    )


def test_counts_stop_at_a_thousand_and_say_so(operator: Client) -> None:
    done = factories.advanced(factories.started("plain"))
    grown.copied(done, 1_200)
    assert tallies.by_kind("plain") == {("plain", 1): {"done": 1_000}}
    assert b"999+" in operator.get("/workflows/").content
