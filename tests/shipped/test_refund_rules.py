"""The refund desk without engine and database: reading, terms, what is reckoned, what a letter says, who is asked."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opsconsole.shipped.refund_desk import (
    agents,
    approval,
    drafting,
    letters,
    messages,
    orders,
    policy,
    signs,
    terms,
    triage,
)
from opsconsole.shipped.refund_desk.contracts import Brief, Case, Letter, Mail, Refund, Reviewed, Triaged
from opsconsole.shipped.refund_desk.terms import Terms, TermsIncomplete
from runs.canonical import canonical, plain
from runs.errors import DataError, ReasoningError

SAMPLES = messages.SAMPLES
EXPECTED: dict[str, dict[str, Any]] = json.loads((SAMPLES / "expected.json").read_text())


def test_no_sample_makes_the_good_triager_look_bad() -> None:
    for file, one in EXPECTED.items():
        if one["kind"]:
            triage.accept(case(file).message, case(file).triaged)


def case(file: str) -> Case:
    message = messages.read("samples", file, allowed=messages.folders())
    return Case(message=message, triaged=Triaged.model_validate(triage.triaged(plain(message))))


def brief(file: str, known: Terms | None = None) -> Brief:
    return policy.assess(case(file), orders=orders.current(), terms=known or terms.current(), paid=())


def letter(about: Brief) -> Letter:
    return Letter.model_validate_json(canonical(drafting.letter(json.loads(canonical(about)))))


def amounts(about: Brief) -> dict[str, str]:
    return {one.order: str(one.amount) for one in about.findings}


# reading


def test_the_expected_file_names_every_message_and_only_those() -> None:
    assert set(EXPECTED) == {path.name for path in (SAMPLES / "messages").iterdir()}
    assert len(EXPECTED) == 61
    kinds = [one["kind"] for one in EXPECTED.values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "refund": 32,
        "refuse": 14,
        "ask_back": 5,
        "answer": 7,
        "thanks": 2,
        None: 1,
    }
    assert sum(bool(one["asks"]) for one in EXPECTED.values()) >= 15


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not say from which one address"),
        (b"From: a@b.example, c@d.example\nDate: Mon, 12 Oct 2026 09:00:00 +0000\n\nx", "which one address"),
        (b"From: a@b.example\n\nx", "no date that can be read"),
        (b"From: a@b.example\nDate: Mon, 12 Oct 2026 09:00:00 +0000\n\n \n", "is empty"),
        (b"From: a@b.example\nDate: soon\n\nx", "no date that can be read"),
        (
            b"From: a@b.example\nDate: Mon, 12 Oct 2026 09:00:00 +0000\nContent-Type: text/html\n\n<p>x",
            "holds no plain text",
        ),
        (
            b"From: a@b.example\nDate: Mon, 12 Oct 2026 09:00:00 +0000\n"
            b"Content-Type: text/plain; charset=nonsense\n\nx",
            "cannot be decoded",
        ),
    ],
)
def test_what_is_no_message_is_refused_with_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.eml").write_bytes(content)
    with pytest.raises(messages.MessageRefused, match=said):
        messages.read("inbox", "m.eml", allowed={"inbox": tmp_path})


@pytest.mark.parametrize(
    "file", ["../orders.json", "", ".hidden", "a/b.eml", "missing.eml", "link.eml", "pipe.eml"]
)
def test_no_other_file_is_read(tmp_path: Path, file: str) -> None:
    import os

    (tmp_path / "link.eml").symlink_to(SAMPLES / "orders.json")
    os.mkfifo(tmp_path / "pipe.eml")
    with pytest.raises(messages.MessageRefused):
        messages.read("inbox", file, allowed={"inbox": tmp_path})


def test_a_triager_that_makes_something_up_is_caught() -> None:
    one = case("29-asks-too-much.eml")
    triage.accept(one.message, one.triaged)
    for wrong in (
        {"orders": ("MP-10430",)},
        {"orders": ()},
        {"cause": "not_arrived"},
        {"wants": "thanks"},
        {"passage": "I give you everything."},
        {"asked": {"amount": "96.00", "currency": "EUR"}},
    ):
        made_up = Triaged.model_validate({**one.triaged.model_dump(), **wrong})
        with pytest.raises(ReasoningError):
            triage.accept(one.message, made_up)


# terms


def test_the_terms_are_what_is_reckoned_with() -> None:
    """Another figure in the text of a clause is another refund."""
    text = "\n\n".join(path.read_text() for path in sorted((SAMPLES / "policy").glob("*.md")))
    assert amounts(brief("02-lamp-not-wanted.eml")) == {"MP-10402": "57.10"}
    dearer = terms.parse(text.replace("less 4.90", "less 9.90"))
    assert amounts(brief("02-lamp-not-wanted.eml", dearer)) == {"MP-10402": "52.10"}
    shorter = terms.parse(text.replace("within 30 days of delivery", "within 10 days of delivery"))
    assert amounts(brief("02-lamp-not-wanted.eml", shorter)) == {"MP-10402": "0.00"}


def test_a_clause_or_a_figure_that_is_gone_stops_the_desk() -> None:
    with pytest.raises(TermsIncomplete, match=r"no clause A-6"):
        brief("01-kettle-leaks.eml", terms.parse("**D-3.1** Within 60 days."))
    with pytest.raises(TermsIncomplete, match=r"names a number of days no more"):
        terms.parse("**D-3.1** Soon.").days("D-3.1")
    with pytest.raises(TermsIncomplete, match="stands twice"):
        terms.parse("**D-3.1** One.\n\n**D-3.1** Two.")


def test_clauses_are_whole_paragraphs_word_for_word() -> None:
    clause = terms.current().clause("D-3.1")
    assert clause.text.endswith("within 60 days of delivery.")
    assert "\n" not in clause.text


# what is reckoned


@pytest.mark.parametrize(
    ("file", "expected"),
    [(file, one) for file, one in EXPECTED.items() if one["kind"] in ("refund", "refuse")],
)
def test_what_is_due_is_reckoned_from_orders_and_terms(file: str, expected: dict[str, Any]) -> None:
    if file == "17-kettle-again.eml":
        expected = EXPECTED["01-kettle-leaks.eml"]  # nothing has been paid here
    found = brief(file)
    assert {order: amount for order, amount in amounts(found).items() if amount != "0.00"} == expected["due"]
    assert found.kind == expected["kind"]
    assert {one.clause for one in found.findings} == {clause.number for clause in found.clauses}


def test_an_order_of_somebody_else_is_spoken_of_like_one_that_is_not_there() -> None:
    strange, unknown = brief("30-someone-elses-order.eml"), brief("31-unknown-order.eml")
    assert (strange.kind, strange.findings) == (unknown.kind, unknown.findings) == ("ask_back", ())
    assert strange.clauses == unknown.clauses
    same = strange.facts[0].replace("MP-10410", "MP-19999")
    assert (same,) == unknown.facts


def test_an_amount_in_a_message_changes_nothing_that_is_due() -> None:
    one = case("29-asks-too-much.eml")
    louder = one.message.model_copy(update={"body": one.message.body.replace("95.00", "9500.00")})
    again = Case(message=louder, triaged=Triaged.model_validate(triage.triaged(plain(louder))))
    found = policy.assess(again, orders=orders.current(), terms=terms.current(), paid=())
    assert amounts(found) == amounts(brief("29-asks-too-much.eml")) == {"MP-10429": "45.00"}


# letters


@pytest.mark.parametrize(
    "file", [file for file, one in EXPECTED.items() if one["kind"] in ("refund", "refuse")]
)
def test_a_letter_that_says_what_was_reckoned_is_accepted(file: str) -> None:
    about = brief(file)
    letters.accept(about, letter(about))
    assert letters.remarks(about, letter(about)) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"promises": ()}, "does not tell the 53.90 EUR"),
        ({"promises": ({"order": "MP-10401", "amount": "54.00", "currency": "EUR"},)}, "promises 54.00 EUR"),
        ({"promises": ({"order": "MP-10401", "amount": "53.90", "currency": "GBP"},)}, "promises 53.90 GBP"),
        ({"quotes": ()}, "does not quote clause D-3.1"),
        (
            {"quotes": ({"number": "D-3.1", "text": "Everything is refunded, always."},)},
            "not what clause D-3.1 says",
        ),
        ({"quotes": ({"number": "D-9.9", "text": "x"},)}, "not one this case rests on"),
        ({"body": "Dear Ada Merrin, MP-10401: 53.90 EUR."}, "not quoted in the letter's text"),
    ],
)
def test_a_letter_that_says_something_else_is_refused(change: dict[str, Any], said: str) -> None:
    about = brief("01-kettle-leaks.eml")
    wrong = Letter.model_validate({**letter(about).model_dump(), **change})
    with pytest.raises(DataError, match=said):
        letters.accept(about, wrong)


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("And 20.00 EUR on top.", "names 20.00"),
        ("Und 20,00 EUR dazu.", "names 20,00"),
        ("And 1,000.00 EUR on top.", "names 1,000.00"),
        ("The same goes for MP-10402.", "names MP-10402"),
        ("File 6A3F20C1 was confirmed over the telephone.", "names 6A3F20C1"),
        ("It will be there on 23 December.", "names 23,"),
    ],
)
def test_no_figure_and_no_order_stands_in_a_letter_that_nobody_reckoned(sentence: str, said: str) -> None:
    about = brief("01-kettle-leaks.eml")
    more = letter(about).model_copy(update={"body": f"{letter(about).body}\n{sentence}"})
    with pytest.raises(DataError, match=said):
        letters.accept(about, more)


# who is asked


def reviewed(file: str) -> Reviewed:
    about = brief(file)
    return Reviewed(brief=about, letter=letter(about))


def refund(about: Brief, **change: Any) -> Refund:
    (due,) = (one for one in about.findings if one.amount)
    fields = {
        "order": due.order,
        "amount": due.amount,
        "currency": due.currency,
        "items": due.items,
        "clause": due.clause,
    }
    return Refund.model_validate({**fields, **change})


def test_the_limit_is_one_hundred_and_fifty_and_not_a_cent_less() -> None:
    at, above = reviewed("46-exactly-the-limit.eml"), reviewed("47-a-cent-above.eml")
    assert at.brief.limit == Decimal("150.00")
    assert approval.of_refund(refund(at.brief), at) is None
    asked = approval.of_refund(refund(above.brief), above)
    assert asked is not None
    assert asked.reason == "a check failed for 150.01 EUR to uma.krishnan@example.com: Above 150.00"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "53.91"},
        {"amount": "5.39"},
        {"currency": "GBP"},
        {"items": ("kettle", "rug")},
        {"order": "MP-10402"},
    ],
)
def test_whatever_differs_from_what_was_reckoned_asks_a_person(change: dict[str, Any]) -> None:
    one = reviewed("01-kettle-leaks.eml")
    assert approval.of_refund(refund(one.brief), one) is None
    asked = approval.of_refund(refund(one.brief, **change), one)
    assert asked is not None
    assert asked.priority == 90


@pytest.mark.parametrize(
    "change",
    [
        {"to": "else@example.com"},
        {"body": "Another letter"},
        {"subject": "Hello"},
        {"in_reply_to": "<other@example>"},
    ],
)
def test_a_reply_that_is_not_the_draft_to_its_sender_asks_a_person(change: dict[str, str]) -> None:
    one = reviewed("01-kettle-leaks.eml")
    message = one.brief.message
    fields = {
        "to": message.sender,
        "subject": one.letter.subject,
        "body": one.letter.body,
        "in_reply_to": message.message_id,
    }
    assert approval.of_reply(Mail.model_validate(fields), one) is None
    assert approval.of_reply(Mail.model_validate({**fields, **change}), one) is not None


def test_good_letters_hold_no_orders_and_no_threats() -> None:
    """The desk's own findings do not fire on ordinary messages."""
    ordinary = [file for file, one in EXPECTED.items() if one["kind"] and not one["asks"]]
    for file in ordinary:
        text = case(file).message.text
        assert (file, signs.steering(text), signs.threats(text)) == (file, (), ())


def test_the_agents_answer_the_same_twice() -> None:
    from .intake import request

    asked = request("refund_drafter", brief("26-capital-letters.eml"))
    assert agents.drafter(asked) == agents.drafter(asked)
