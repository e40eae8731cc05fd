"""Every sample invoice against the table in the samples' README, and what that table promises about itself."""

import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import pairwise

import pytest
from pydantic import ValidationError

from opsconsole.shipped.invoice_intake import agents, approval, ledger, posting
from opsconsole.shipped.invoice_intake.contracts import PostInvoice
from opsconsole.shipped.invoice_intake.documents import SAMPLES
from opsconsole.shipped.invoice_intake.notes import hidden_characters

from .intake import OpenGate, closed, extracted, proposed, request, take_in

ROW = re.compile(r"^\| (?P<file>\d\d-\S+) \| (?P<wrong>.+?) \| (?P<does>.+?) \|$", re.MULTILINE)
TABLE = {m["file"]: (m["wrong"], m["does"]) for m in ROW.finditer((SAMPLES / "README.md").read_text())}


def test_the_table_names_every_file_and_only_those() -> None:
    files = {path.name for path in (SAMPLES / "invoices").iterdir()}
    assert set(TABLE) == files
    assert len(files) >= 44
    kinds = [name.rsplit(".")[-1] for name in files]
    assert min(kinds.count("xml"), kinds.count("txt")) >= 22
    wrong = [name for name, (what, _) in TABLE.items() if what != "–"]
    assert 0.3 <= len(wrong) / len(files) <= 0.45


def test_every_invoice_does_what_the_table_says() -> None:
    """In one go and in order, because duplicates and orders depend on what was posted before."""
    said = {file: does for file, (_, does) in sorted(TABLE.items())}
    done = {file: take_in(file) for file in said}
    assert done == {file: _sorted(does) for file, does in said.items()}
    assert len(ledger.current().entries()) == sum(does == "posts it" for does in said.values())


def _sorted(does: str) -> str:
    if not does.startswith("asks: "):
        return does
    return f"asks: {', '.join(sorted(does.removeprefix('asks: ').split(', ')))}"


@pytest.mark.parametrize(
    ("good", "again"), [("03-halden.xml", "18-halden-again.xml"), ("24-rhone.xml", "46-rhone.xml")]
)
def test_the_second_of_a_pair_is_the_duplicate_whichever_comes_first(good: str, again: str) -> None:
    assert take_in(again) == "posts it"
    assert take_in(good) == "asks: duplicate"


def test_an_order_is_used_up_by_what_is_posted() -> None:
    """Two odd copies of one invoice fit the order, a third would not: postings count against it."""
    for copy in ("one", "two"):
        proposal = proposed("02-northgate.txt")
        arguments = proposal.arguments.model_copy(update={"invoice_number": f"NG-{copy}"})
        ledger.current().post(arguments, key=copy, hand_over=lambda send: send(0.25))
    third = proposed("02-northgate.txt")
    assert "open_amount" in third.failed


def checked_now(number: str) -> PostInvoice:
    """Of an order that two such invoices use up: one with its checks as they are at this moment."""
    proposal = proposed("02-northgate.txt")
    return proposal.arguments.model_copy(update={"invoice_number": number})


def test_of_invoices_checked_at_the_same_moment_only_those_are_posted_that_the_order_covers() -> None:
    three = [checked_now(f"NG-{n}") for n in range(3)]
    for n, invoice in enumerate(three[:2]):
        assert posting.post(invoice, OpenGate(key=f"k{n}"))["entry"] == n + 1
    late = OpenGate(key="k2")
    with pytest.raises(posting.OrderUsedUp, match=r"Since this invoice was checked, .* were posted against"):
        posting.post(three[2], late)
    assert late.handed == 0
    assert len(ledger.current().entries()) == 2
    assert posting.post(three[1], OpenGate(key="k1"))["entry"] == 2  # the same key again is no other posting


def test_two_at_once_over_one_ledger_never_post_more_than_the_order_covers() -> None:
    five = [checked_now(f"NG-{n}") for n in range(5)]

    def post(n: int) -> bool:
        try:
            posting.post(five[n], OpenGate(key=f"k{n}"))
        except posting.OrderUsedUp:
            return False
        return True

    with ThreadPoolExecutor(5) as threads:
        assert sum(threads.map(post, range(5))) == 2


def test_what_a_person_agreed_to_although_the_order_is_used_up_is_posted() -> None:
    for n in range(2):
        posting.post(checked_now(f"NG-{n}"), OpenGate(key=f"k{n}"))
    known = checked_now("NG-2")  # its card says that the order is used up
    assert posting.post(known, OpenGate(key="k2"))["entry"] == 3


def test_a_clerk_who_says_something_else_was_posted_against_the_order_is_caught() -> None:
    proposal = proposed("02-northgate.txt")
    lying = proposal.arguments.model_copy(update={"order_posted": Decimal("1.00")})
    asked = approval.asks_for(lying, proposal.matched)
    assert asked is not None
    assert "The proposal differs from the invoice" in asked.reason


@pytest.mark.parametrize("file", ["33-cascade.txt", "34-odenthal.xml"])
def test_a_clerk_that_is_talked_into_another_account_is_caught_by_the_evidence(file: str) -> None:
    proposal = proposed(file)
    assert proposal.matched.supplier is not None
    assert proposal.matched.invoice.iban == proposal.matched.supplier.iban, "the invoice itself is in order"
    assert proposal.arguments.iban != proposal.matched.supplier.iban, "the clerk is gullible"
    assert proposal.approval is not None
    first = next(one for one in proposal.approval.evidence if not one.ok)
    assert first.title == "Account the agent proposes does not match the supplier on file"
    assert proposal.approval.priority == 90


def test_hidden_characters_of_a_note_reach_the_person_as_names_and_the_words_unchanged() -> None:
    proposal = proposed("34-odenthal.xml")
    assert "\u202e" in proposal.words
    named = hidden_characters(proposal.matched.invoice.note)
    assert "U+202E RIGHT-TO-LEFT OVERRIDE" in named
    shown = [value for one in proposal.matched.checks if one.name == "note" for _, value in one.details]
    assert set(named) <= set(shown)


def test_a_note_that_claims_approval_does_not_avoid_the_question() -> None:
    proposal = proposed("35-pilatus.txt")
    assert proposal.approval is not None
    assert "The note tries to steer who reads it" in proposal.approval.reason


def test_an_unreadable_amount_breaks_the_contract_at_that_amount() -> None:
    for file, path in (
        ("29-halden.txt", "gross"),
        ("30-tulder.xml", "gross"),
        ("41-northgate.txt", "issue_date"),
    ):
        with pytest.raises(ValidationError) as broken:
            extracted(file)
        assert path in {error["loc"][0] for error in broken.value.errors()}


def test_the_limit_is_ten_thousand_and_not_a_cent_less() -> None:
    at, above = proposed("44-tulder.txt"), proposed("45-norrland.txt")
    assert (at.arguments.amount, at.approval) == (approval.LIMIT, None)
    assert above.approval is not None
    assert above.approval.reason == "10,000.01 EUR is above 10,000.00 EUR"


def test_both_forms_of_one_invoice_say_the_same() -> None:
    one, other = extracted("02-northgate.txt"), extracted("21-northgate-copy.txt")
    # One layout does not state the base of the VAT.
    same = {"invoice_number": "", "taxes": ()}
    assert one.model_copy(update=same) == other.model_copy(update=same)


def test_the_agents_answer_the_same_twice() -> None:
    proposal = proposed("33-cascade.txt")
    asked = request("ledger_clerk", proposal.matched)
    assert agents.ledger_clerk(asked) == agents.ledger_clerk(asked)


@pytest.mark.parametrize(
    ("answer", "posted", "entry", "reason", "word"),
    [
        ({"entry": 7, "posted_at": "2026-10-01T00:00:00Z"}, True, 7, "", "entry 7"),
        ({"entry": 8, "edited_by_operator": {"iban": "x"}}, True, 8, "", "as a person corrected it"),
        (
            {"denied": "Wrong account", "done": False, "by": "anna"},
            False,
            None,
            "Wrong account",
            "not posted",
        ),
        ({"answer": "Ask again in May", "done": False}, False, None, "Ask again in May", "not posted"),
        ({"done": True, "recorded_by": "anna", "note": "paid by hand"}, True, None, "paid by hand", "posted"),
        ({}, False, None, "The posting was not carried out.", "not posted"),
    ],
)
def test_the_clerk_reports_what_it_was_told(
    answer: dict[str, object], posted: bool, entry: int | None, reason: str, word: str
) -> None:
    matched = proposed("02-northgate.txt").matched
    first = agents.ledger_clerk(request("ledger_clerk", matched))
    output, text = closed(matched, first, answer)
    assert (output.posted, output.entry, output.reason) == (posted, entry, reason)
    assert word in text


def test_file_numbers_run_through_without_a_gap() -> None:
    numbers = sorted(int(name[:2]) for name in TABLE)
    assert all(later - earlier == 1 for earlier, later in pairwise(numbers))
