"""The refund desk through the real engine: what each message ends in, who is asked and why, and what is written."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from opsconsole.shipped.refund_desk import books, terms
from opsconsole.shipped.refund_desk.messages import SAMPLES
from runs import registry
from runs.agents.misbehaviour import misbehaving
from runs.checks import problems
from runs.engine import edits, starts, verifying
from runs.engine.worker.runtime import Runtime
from runs.models import Call, Question, Run, Step

from .desk import advanced, answer, because, ended, output_of, question_of, refunded, started

pytestmark = pytest.mark.django_db(transaction=True)
EXPECTED: dict[str, dict[str, Any]] = json.loads((SAMPLES / "expected.json").read_text())


@pytest.fixture(autouse=True)
def _no_pauses(settings: Any, tmp_path: Path) -> None:
    settings.SIMULATED_SECONDS = 0.0


def nodes(run: Run) -> list[str]:
    return list(Step.objects.filter(run=run).order_by("seq").values_list("node", flat=True))


def test_the_definition_has_no_problems() -> None:
    workflow = registry.newest("refund_desk")
    assert workflow is not None
    assert list(problems(workflow)) == []
    assert workflow.simulated


def test_every_message_ends_as_expected_and_asks_for_the_expected_reasons(runtime: Runtime) -> None:
    """In one go and in order, because what was refunded before counts."""
    for file, expected in sorted(EXPECTED.items()):
        before = refunded()
        run, asked = ended(started(file), runtime)
        assert (file, asked) == (file, set(expected["asks"]))
        if expected["kind"] is None:
            assert (file, run.state) == (file, "ended")
            continue
        assert (file, run.state) == (file, "done")
        output = output_of(run)
        paid = {order: amount for order, amount in refunded().items() if order not in before}
        told = {one["order"]: one["amount"] for one in output["refunds"]}
        assert (file, output["kind"], paid, told) == (
            file,
            expected["kind"],
            expected["due"],
            expected["due"],
        )
        assert output["replied"]
    assert len(books.refunds().entries()) == sum(len(one["due"]) for one in EXPECTED.values())
    assert len(books.outbox().entries()) == sum(one["kind"] is not None for one in EXPECTED.values())


def test_an_amount_the_customer_claims_is_refused_by_accept_and_drafted_again(runtime: Runtime) -> None:
    run, asked = ended(started("29-asks-too-much.eml"), runtime)
    assert (asked, refunded()) == (set(), {"MP-10429": "45.00"})
    (draft,) = Step.objects.filter(run=run, node="draft")
    first, second = draft.attempts.order_by("number")
    assert "promises 95.00 EUR for MP-10429; reckoned is 45.00 EUR" in first.error
    assert second.error == ""
    (reply,) = books.outbox().entries()
    assert "MP-10429: 45.00 EUR" in reply.content.body
    assert "95.00" not in reply.content.body


def test_a_letter_that_grovels_is_drafted_again_once(runtime: Runtime) -> None:
    run, asked = ended(started("26-capital-letters.eml"), runtime)
    assert asked == set()
    assert nodes(run).count("draft") == 2
    (reply,) = books.outbox().entries()
    assert "never happen again" not in reply.content.body


def test_redrafting_is_bounded_and_then_a_person_drops_the_sentence(runtime: Runtime) -> None:
    run = advanced(started("60-liable.eml"), runtime)
    assert nodes(run) == ["read", "triage", "check", "phrases", *["draft", "review"] * 3, "verify"]
    run, asked = ended(run, runtime)
    assert (run.state, asked) == ("done", {"verify:claims"})
    assert "liable" not in books.outbox().entries()[0].content.body


def test_what_a_person_confirms_against_our_style_is_read_again_and_mended_before_it_is_sent(
    runtime: Runtime,
) -> None:
    run, claims = verify_question("60-liable.eml", runtime)
    confirmed = verifying.open_numbers(claims.action)
    answer(run, "approve", text="I know him", given=verifying.decided(claims.action, confirmed))
    run = advanced(run, runtime)
    question = question_of(run)
    assert because(question) == {"send:style"}
    arguments = question.action["arguments"]
    body = arguments["body"].replace("We admit that we are liable for what happened.\n\n", "")
    answer(run, "approve", given=edits.check(question, {**arguments, "body": body}))
    run = advanced(run, runtime)
    assert run.state == "done"
    assert "liable" not in books.outbox().entries()[0].content.body


def test_an_order_in_a_message_moves_the_cashier_and_not_the_money(runtime: Runtime) -> None:
    run = advanced(started("39-system-note.eml"), runtime)
    question = question_of(run)
    assert question.title.startswith("Refund 900.00 EUR of order MP-10439")
    assert "proposed 900.00, reckoned 19.90" in json.dumps(question.evidence)
    assert refunded() == {}


def test_a_refund_that_a_person_denies_is_not_paid_and_the_letter_says_so(runtime: Runtime) -> None:
    run = advanced(started("10-large-rug.eml"), runtime)
    answer(run, "reject", text="The photographs show another rug")
    run = advanced(run, runtime)
    question = question_of(run)
    assert because(question) == {"send:decided"}
    body = question.action["arguments"]["body"]
    assert "303.90" not in body
    assert terms.current().clause("A-6.5").text in body
    answer(run, "approve")
    run = advanced(run, runtime)
    assert (output_of(run)["kind"], output_of(run)["refunds"]) == ("refuse", [])
    assert refunded() == {}


def test_an_amount_that_a_person_edits_is_the_one_paid_and_the_one_told(runtime: Runtime) -> None:
    run = advanced(started("10-large-rug.eml"), runtime)
    question = question_of(run)
    answer(run, "approve", given=edits.check(question, {**question.action["arguments"], "amount": "150.00"}))
    run, asked = ended(run, runtime)
    assert asked == {"send:decided"}
    assert refunded() == {"MP-10410": "150.00"}
    assert output_of(run)["refunds"] == [{"order": "MP-10410", "amount": "150.00", "currency": "EUR"}]
    assert "MP-10410: 150.00 EUR" in books.outbox().entries()[0].content.body


def test_the_same_message_twice_at_once_is_paid_once(runtime: Runtime) -> None:
    """Both were checked before either paid: the book itself refuses the second."""
    first, second = started("10-large-rug.eml"), started("10-large-rug.eml", folder="samples")
    assert first.pk == second.pk  # the same start key is the same run
    again = advanced(_copy("10-large-rug.eml"), runtime)
    first = advanced(first, runtime)
    answer(first, "approve")
    advanced(first, runtime)
    answer(again, "approve")
    again = advanced(again, runtime)
    question = question_of(again)
    assert question.kind == "error"
    assert "is not refunded twice" in json.dumps(question.action)
    assert len(books.refunds().entries()) == 1


def _copy(file: str) -> Run:
    with transaction.atomic():
        given = {"folder": "samples", "file": file}
        return starts.start("refund_desk", given, start_key=f"{file} again", by="test").run


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("agent", ["refund_cashier", "refund_correspondent"])
def test_what_an_agent_says_it_did_is_held_against_the_books(runtime: Runtime, agent: str, seed: int) -> None:
    with misbehaving({agent: "plausible_wrong"}, seed=seed):
        run = advanced(started("01-kettle-leaks.eml"), runtime)
    if run.state == "waiting":
        assert because(question_of(run)) in ({"pay:contract"}, {"send:contract"})
        return
    output = output_of(run)
    assert output["replied"] == bool(books.outbox().entries())
    assert {one["order"]: one["amount"] for one in output["refunds"]} == refunded()


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ADVANCE = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[4]
django.setup()
settings.SIMULATED_SECONDS = 0.0
settings.REFUND_BOOK, settings.REFUND_OUTBOX = sys.argv[2], sys.argv[3]
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
advance(int(sys.argv[1]), Runtime("doomed", "agents"))
"""


def test_a_worker_killed_after_paying_does_not_pay_again(runtime: Runtime) -> None:
    """The refund is in the book, nobody recorded it: `find` tells the next worker that it happened."""
    run = started("01-kettle-leaks.eml")
    database = connection.settings_dict["NAME"]
    paths = [str(books.refunds().path), str(books.outbox().path)]
    doomed = subprocess.run(
        [sys.executable, "-c", ADVANCE, str(run.pk), *paths, database],
        env={**os.environ, "FAILPOINT": "after_effect_before_record:kill"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=60,
    )
    assert doomed.returncode == -signal.SIGKILL, doomed.stderr.decode()
    assert refunded() == {"MP-10401": "53.90"}
    Run.objects.filter(pk=run.pk).update(lease_until=LONG_AGO, due_at=LONG_AGO)
    run, asked = ended(run, runtime)
    assert (run.state, asked) == ("done", set())
    assert len(books.refunds().entries()) == 1
    assert len(books.outbox().entries()) == 1
    assert Call.objects.filter(run=run, kind="tool", name="refunds.pay", state="done").count() == 1


def verify_question(file: str, runtime: Runtime) -> tuple[Run, Question]:
    run = advanced(started(file), runtime)
    question = question_of(run)
    assert because(question) == {"verify:claims"}
    return run, question


def test_a_sentence_without_numbers_that_a_customer_talked_the_drafter_into_asks_a_person(
    runtime: Runtime,
) -> None:
    run, question = verify_question("61-covered-for-life.eml", runtime)
    (doubt,) = question.action[verifying.OPEN]
    assert doubt["text"].startswith("We confirm that our lamps are covered for life")
    assert "written by the customer" in doubt["why"]
    assert books.outbox().entries() == ()
    answer(run, "approve", given=verifying.decided(question.action, ()))
    run = advanced(run, runtime)
    assert run.state == "done"
    (reply,) = books.outbox().entries()
    assert "covered for life" not in reply.content.body
    assert reply.content.body.startswith(
        "Dear Nora Field,\n\nthank you for your question.\n\nOur terms say: “"
    )
    assert reply.content.body.endswith("\n\nKind regards\nMarrow & Pine")


def test_a_sentence_that_a_person_confirms_is_sent(runtime: Runtime) -> None:
    run, question = verify_question("61-covered-for-life.eml", runtime)
    (number,) = verifying.open_numbers(question.action)
    answer(run, "approve", text="Ms Brandt said so", given=verifying.decided(question.action, (number,)))
    assert advanced(run, runtime).state == "done"
    (reply,) = books.outbox().entries()
    assert "\n\nWe confirm that our lamps are covered for life" in reply.content.body


def test_no_money_leaves_before_every_sentence_of_its_letter_stands(runtime: Runtime) -> None:
    run, _ = verify_question("60-liable.eml", runtime)
    assert refunded() == {}
    answer(run, "reject", text="Write it yourself")
    assert advanced(run, runtime).state in ("failed", "ended")
    assert (refunded(), books.outbox().entries()) == ({}, ())


@pytest.mark.parametrize("seed", range(3))
def test_an_invented_fact_in_a_letter_is_sent_by_nobody(runtime: Runtime, seed: int) -> None:
    """A drafter that invents without a figure is found by its sentence; one with a figure sooner, by `accept`."""
    with misbehaving({"refund_drafter": "agreed_invention"}, seed=seed):
        run = advanced(started("35-danke.eml"), runtime)
        assert because(question_of(run)) in ({"verify:claims"}, {"draft:contract"})
    assert books.outbox().entries() == ()
