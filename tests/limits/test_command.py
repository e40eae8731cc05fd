"""`manage.py limit`: lists, sets, lowers, and never allows more."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from runs.models import Limit
from tests.factories import journal
from tests.limits.setting import made, says

pytestmark = pytest.mark.django_db(transaction=True)


def told(*words: str) -> str:
    out = StringIO()
    call_command("limit", *words, stdout=out)
    return out.getvalue()


def test_it_sets_a_limit_and_the_same_again_lowers_it() -> None:
    assert "turns a run is 12, enforce" in told("turns/run", "workflow:refund_desk", "12")
    told("turns/run", "workflow:refund_desk", "8", "--reason", "tonight")
    number = Limit.objects.get(first=None).pk
    assert says(number) == [(8, "enforce")]
    assert [(entry.act, entry.actor_name[:12]) for entry in journal()] == [
        ("set limit", "command line"),
        ("change limit", "command line"),
    ]


def test_its_entry_says_that_nothing_was_rehearsed() -> None:
    told("turns/run", "workflow:refund_desk", "20")
    (entry,) = journal()
    assert '"rehearsal":"none"' in entry.body.replace(" ", "")


def test_it_never_allows_more_and_the_attempt_is_on_record(ines: User) -> None:
    number = made(ines)
    with pytest.raises(CommandError, match="may only lower limits: turns a run: from 12 to 20"):
        told("turns/run", "workflow:refund_desk", "20", "--reason", "please")
    assert says(number) == [(12, "enforce")]
    assert journal()[-1].outcome == "refused"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["turns/run"], "Give all three"),
        (["turns/run", "workflow:refund_desk"], "Give all three"),
        (["wings", "organisation", "3"], "Choose what is limited."),
        (["turns/run", "workflow:nobody", "3"], "There is no workflow called 'nobody'."),
        (["cost/day", "organisation", "much"], "Write an amount in US dollars"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_set(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        told(*words)
    assert not Limit.objects.exists()


def test_it_lists_what_holds_for_people_and_for_programs(ines: User) -> None:
    number = made(ines)
    assert "turns/run" in told()
    assert "workflow:refund_desk" in told()
    found = json.loads(told("--json"))
    assert (found["limit"], found["value"], found["scope"], found["until"]) == (
        number,
        12,
        "refund_desk",
        None,
    )
