"""The limits page: who sees what, what its forms ask for, and what it costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from escalations import controls
from escalations.models import LimitProposal
from runs.models import Limit
from tests.limits.conftest import signed_in
from tests.limits.setting import TURNS, change, made, says, seen
from tests.screens.reading import read

pytestmark = pytest.mark.django_db(transaction=True)


def test_everybody_with_a_role_reads_it_and_admins_alone_have_forms(
    ines: User, marta: User, tomasz: User
) -> None:
    number = made(ines)
    for person in (ines, marta, tomasz):
        page = read(signed_in(person).get(f"/limits/{number}"))
        assert "turns a run" in page.text
        assert (f"/limits/{number}/change" in page.forms) == (person == ines)
        assert (f"/limits/{number}/end" in page.forms) == (person == ines)
    assert "/limits/set" in read(signed_in(ines).get("/limits/new")).forms
    assert "/limits/set" not in read(signed_in(marta).get("/limits/new")).forms


def test_without_any_limit_the_definitions_bounds_stand_there(ines: User) -> None:
    page = read(signed_in(ines).get("/limits/"))
    for words in ("wall time a run", "retries a run", "turns a try", "tasks a plan", "runs under way"):
        assert words in page.text
    assert "refund_desk v" in page.text
    assert "the settings" in page.text


def test_an_admin_sets_changes_and_ends_a_limit_by_its_forms(ines: User) -> None:
    client = signed_in(ines)
    first = client.post("/limits/set", TURNS | {"reason": "tonight"})
    page = read(client.get(first["Location"]))
    assert "No run that it covers began in that time." in page.text
    assert not Limit.objects.exists()
    answer = client.post("/limits/set", page.forms["/limits/set"] | TURNS)
    number = Limit.objects.get().pk
    assert (answer.status_code, answer["Location"]) == (302, f"/limits/{number}")
    form = read(client.get(f"/limits/{number}")).forms[f"/limits/{number}/change"]
    assert (form["value"], form["seen"]) == ("12", str(number))
    client.post(f"/limits/{number}/change", form | {"mode": "enforce", "value": "8"})
    assert says(number) == [(8, "enforce")]
    client.post(
        f"/limits/{number}/change", {"seen": seen(number), "mode": "warn", "value": "8", "reason": "try"}
    )
    assert says(number) == [(8, "enforce")]
    assert LimitProposal.objects.get().after["mode"] == "warn"


def test_what_is_wrong_is_said_beside_its_field_and_what_was_typed_is_kept(ines: User) -> None:
    client = signed_in(ines)
    answer = client.post("/limits/set", TURNS | {"value": "many", "scope": "nobody", "reason": "because"})
    page = read(answer, 422)
    assert "Write a whole number, such as 12 or 1,500." in page.text
    form = page.forms["/limits/set"]
    assert (form["value"], form["scope"], form["reason"]) == ("many", "nobody", "because")
    number = made(ines)
    raised = {"seen": seen(number), "value": "20", "mode": "enforce"}
    page = read(client.post(f"/limits/{number}/change", raised), 422)
    assert "Say why: it allows more (turns a run: from 12 to 20)." in page.text
    assert page.forms[f"/limits/{number}/change"]["value"] == "20"


def test_before_it_is_sent_the_form_says_what_it_asks_for(ines: User) -> None:
    number = made(ines)
    client = signed_in(ines)

    def asks(**given: str) -> str:
        fields = {"value": "12", "mode": "enforce"} | given
        return read(client.get(f"/limits/{number}/asks", fields)).text

    assert "Nothing would change." in asks()
    assert "done at once, without a reason" in asks(value="8")
    assert "from 12 to 20) and asks for a reason. You may do it alone." in asks(value="20")
    assert "than one admin may allow alone (50)" in asks(value="51")
    assert "another admin must agree within 24 hours" in asks(mode="warn")
    assert "Write a whole number" in asks(value="x")
    whole = client.get(f"/limits/{number}", {"value": "8", "mode": "enforce"})
    assert "done at once, without a reason" in read(whole).text
    assert says(number) == [(12, "enforce")]


def test_what_the_form_says_is_what_happens(ines: User) -> None:
    """The sentence, and then the act, over every kind of change."""
    client = signed_in(ines)
    later = (timezone.now() + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")
    number = made(ines)
    for given in (
        {"value": "8"},
        {"value": "20"},
        {"value": "60"},
        {"mode": "warn"},
        {"value": "20", "until": later},
        {"value": "8", "until": later, "then": "nothing"},
    ):
        LimitProposal.objects.all().delete()
        before = says(number)
        fields = {
            "value": str(before[0][0]),
            "mode": before[0][1],
            "since": "",
            "until": "",
            "then": "",
        } | given
        told = read(client.get(f"/limits/{number}/asks", fields)).text
        client.post(f"/limits/{number}/change", fields | {"seen": seen(number)})
        without_reason = says(number) != before
        client.post(f"/limits/{number}/change", fields | {"seen": seen(number), "reason": "why"})
        with_reason = says(number) != before
        proposed = LimitProposal.objects.exists()
        assert ("without a reason" in told) == without_reason
        assert ("You may do it alone" in told) == (with_reason and not without_reason)
        assert ("another admin must agree" in told) == proposed


def test_a_second_admin_sees_what_waits_and_agrees(ines: User, aisha: User, marta: User) -> None:
    number = made(ines)
    change(ines, number, "a long case", value="60")
    proposal = LimitProposal.objects.get()
    where = f"/limits/proposals/{proposal.pk}/agree"
    mine, theirs = (read(signed_in(one).get("/limits/")) for one in (ines, aisha))
    assert where not in mine.forms
    assert "Take it back" in mine.text
    assert "turns a run: from 12 to 60" in theirs.text
    assert "a long case" in theirs.text
    assert "Agree to 60" in theirs.text
    assert where not in read(signed_in(marta).get("/limits/")).forms
    signed_in(aisha).post(where, theirs.forms[where])
    assert says(number) == [(60, "enforce")]


def test_what_waits_is_told_in_the_words_of_the_table_however_it_was_typed(ines: User, aisha: User) -> None:
    number = made(ines, what="tokens/run", value="20k")
    change(ines, number, "a long letter", value="2m", until="2036-01-01T06:00", then="as before")
    told = read(signed_in(aisha).get("/limits/")).text
    assert "Agree to 2,000,000" in told
    assert "from 1 Jan 2036 06:00:00 on: as before" in told


def test_whoever_was_second_sees_the_difference(ines: User, aisha: User) -> None:
    number = made(ines)
    stale = {"seen": seen(number), "value": "10", "mode": "enforce", "reason": "x"}
    change(aisha, number, value="8")
    answer = signed_in(ines).post(f"/limits/{number}/change", stale)
    page = read(answer, 409)
    assert "was changed by Aisha Rahman at" in page.text
    assert page.forms[f"/limits/{number}/change"]["seen"] == seen(number)
    assert says(number) == [(8, "enforce")]


def test_what_applies_at_a_place_is_told_with_its_reason(ines: User) -> None:
    wide = made(ines, scope_kind="organisation", scope="", value="20")
    narrow = made(ines, value="12")
    client = signed_in(ines)
    page = read(client.get("/limits/?workflow=refund_desk"))
    assert "Strictest of 2: the organisation 20." in page.text
    assert f"/limits/{narrow}#limit" in page.links()
    page = read(client.get("/limits/?workflow=invoice_intake"))
    assert "The only one that is enforced here." in page.text
    assert f"/limits/{wide}#limit" in page.links()


def test_any_row_of_a_limit_leads_to_it_and_what_is_none_is_not_found(ines: User) -> None:
    number = made(ines)
    change(ines, number, value="8")
    later = Limit.objects.exclude(pk=number).get().pk
    client = signed_in(ines)
    assert client.get(f"/limits/{later}")["Location"] == f"/limits/{number}"
    for path in ("/limits/4711", f"/limits/{10**30}", "/limits/4711/asks?value=1"):
        assert client.get(path).status_code == 404
    assert client.post("/limits/4711/end", {"seen": "", "reason": "x"}).status_code == 404


def test_what_admins_write_is_never_markup(ines: User) -> None:
    number = made(ines)
    limits_reason = "<script>alert(1)</script>\u202egnp"
    change(ines, number, limits_reason, value="20")
    change(ines, number, limits_reason, value="60")
    answer = signed_in(ines).get(f"/limits/{number}", {"value": '"><script>', "mode": "<b>"})
    page = read(answer)
    assert "<script>alert" not in answer.content.decode()
    assert [given for tag, given in page.tags if tag == "script" and "src" not in given] == []


@pytest.mark.parametrize("count", [0, 200])
def test_the_page_asks_the_database_at_most_twelve_times(ines: User, count: int) -> None:
    number = made(ines)
    many(count)
    change(ines, number, "a long case", value="60")
    controls.engage(actor=ines, kind="pause", scope_kind="workflow", scope="plain")
    client = signed_in(ines)
    for path in (f"/limits/{number}?value=9&mode=warn", "/limits/new", "/limits/?workflow=refund_desk"):
        client.get(path)
        with CaptureQueriesContext(connection) as asked:
            page = read(client.get(path))
        assert len(asked) <= 12, [one["sql"] for one in asked.captured_queries]
        assert not any("toolsets" in one["sql"] for one in asked.captured_queries)
        assert page.text.count(", from wide to narrow") == 1


def many(count: int) -> None:
    given: dict[str, Any] = {"kind": "cost", "window": "month", "scope_kind": "agent", "mode": "enforce"}
    now = timezone.now()
    Limit.objects.bulk_create(
        Limit(**given, scope=f"agent {n}", value=10**6, valid_from=now, set_by="Ines") for n in range(count)
    )


def test_the_table_is_narrowed_by_scope_kind_origin_and_words(ines: User) -> None:
    made(ines)
    many(3)
    client = signed_in(ines)

    def found(query: str) -> str:
        page = client.get(f"/limits/list?{query}")
        return read(page).text

    assert "agent 2" in found("by_scope=agent")
    assert "refund_desk" not in found("by_scope=agent&by=people")
    assert "turns a run" in found("by_what=turns/run")
    assert "cost a month" not in found("by_what=turns/run")
    assert "turns a run" not in found("by=definitions")
    assert "refund_desk" in found("text=REFUND turns")
    assert "No limit is like that." in found("text=nothing+like+it")


def test_limits_that_are_over_are_found_with_their_history(ines: User) -> None:
    number = made(ines, mode="warn")
    client = signed_in(ines)
    client.post(f"/limits/{number}/end", {"seen": seen(number), "reason": "too loud at night"})
    assert f"/limits/{number}#limit" not in read(client.get("/limits/")).links()
    assert f"/limits/{number}#limit" in read(client.get("/limits/?by=over")).links()
    page = read(client.get(f"/limits/{number}"))
    assert "Ended by Ines Okafor: “too loud at night”" in page.text
    assert f"/limits/{number}/change" not in page.forms
