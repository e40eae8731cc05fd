"""What a letter must be: `accept` holds the facts, `remarks` the style. Pure. Writes no letter.

A fact that is wrong makes the draft wrong (the drafter is told and drafts again, then a person is asked). A remark is
taste and law's caution: it goes back to the drafter a few times, and then a person sees the letter before it is sent.
"""

import re
from decimal import Decimal

from opsconsole.shipped.refund_desk.contracts import Brief, Letter
from opsconsole.shipped.refund_desk.triage import numbers
from runs.canonical import canonical
from runs.errors import DataError

LONGEST = 2_500

_FIGURE = re.compile(r"\d[\d,]*\.\d{2}(?!\d)|\d+,\d{2}(?!\d)")
_NUMBER = re.compile(r"[^\W_]*\d[^\W_]*")
_LIABLE = re.compile(
    r"\b(?:we are liable|our fault|we admit|wir haften|unsere schuld|notre faute)\b", re.IGNORECASE
)
_FUTURE = re.compile(
    r"\b(?:never happen again|we promise|nie wieder vorkommen|plus jamais)\b|\bendlessly sorry\b",
    re.IGNORECASE,
)


def accept(given: Brief, letter: Letter) -> None:
    """That a letter tells what was reckoned: amounts, orders, clauses word for word, and no number of its own.

    Whether its sentences are true is looked at by the verify step. Raises DataError.
    """
    _subject(given, letter)
    _promises(given, letter)
    _quotes(given, letter)
    _figures(given, letter)
    strange = (
        set(numbers(letter.body)) - {finding.order for finding in given.findings} - set(given.triaged.orders)
    )
    if strange:
        raise DataError(f"The letter names {min(strange)}, which this case is not about.", where="body")
    _numbers(given, letter)


def remarks(brief: Brief, letter: Letter) -> tuple[str, ...]:
    """What our style has against a letter, each as a sentence for the drafter."""
    found = []
    if _LIABLE.search(letter.body):
        found.append("Do not say whose fault it was or that we are liable: that is for our lawyers.")
    if _FUTURE.search(letter.body):
        found.append("One plain word of regret is enough; promise nothing about the future.")
    if len(letter.body) > LONGEST:
        found.append(f"Keep it below {LONGEST:,} characters; it has {len(letter.body):,}.")
    if brief.message.name and brief.message.name not in letter.body:
        found.append("Address the customer by name.")
    return tuple(found)


def _subject(given: Brief, letter: Letter) -> None:
    if letter.subject != subject(given.message.subject):
        raise DataError(
            "The subject is the customer's own with “Re:” before it, and nothing else.", where="subject"
        )


def subject(theirs: str) -> str:
    """The subject of an answer to a message with this one."""
    return f"Re: {theirs or 'Your message'}"[:200]


def _promises(given: Brief, letter: Letter) -> None:
    due = {(finding.order, finding.amount, finding.currency) for finding in given.findings if finding.amount}
    told = {(promise.order, promise.amount, promise.currency) for promise in letter.promises}
    for order, amount, currency in sorted(told - due):
        raise DataError(
            f"The letter promises {amount} {currency} for {order}; reckoned is {_due(given, order)}.",
            where="promises",
        )
    for order, amount, currency in sorted(due - told):
        raise DataError(f"The letter does not tell the {amount} {currency} for {order}.", where="promises")
    for _, amount, _ in due:
        if str(amount) not in letter.body:
            raise DataError(f"The letter's text does not name {amount}.", where="body")


def _due(given: Brief, order: str) -> str:
    found = [f"{one.amount} {one.currency}" for one in given.findings if one.order == order]
    return found[0] if found else "nothing"


def _quotes(given: Brief, letter: Letter) -> None:
    known = {clause.number: clause.text for clause in given.clauses}
    for quote in letter.quotes:
        if quote.number not in known:
            raise DataError(f"Clause {quote.number} is not one this case rests on.", where="quotes")
        if quote.text != known[quote.number]:
            raise DataError(f"That is not what clause {quote.number} says.", where="quotes")
        if quote.text not in letter.body:
            raise DataError(f"Clause {quote.number} is not quoted in the letter's text.", where="body")
    missing = set(known) - {quote.number for quote in letter.quotes}
    if missing:
        raise DataError(f"The letter does not quote clause {min(missing)}.", where="quotes")


def _figures(given: Brief, letter: Letter) -> None:
    """No amount stands in the text that is neither due nor in a clause."""
    body = letter.body
    for clause in given.clauses:
        body = body.replace(clause.text, "")
    due = {finding.amount for finding in given.findings if finding.amount}
    for figure in _FIGURE.findall(body):
        plain = figure.replace(",", "") if "." in figure else figure.replace(",", ".")
        if Decimal(plain) not in due:
            raise DataError(f"The letter's text names {figure}, which nobody has reckoned.", where="body")


def _numbers(given: Brief, letter: Letter) -> None:
    """Every date, number and code in the letter stands in the brief: invented ones are what gives a story away."""
    known = set(_NUMBER.findall(canonical(given)))
    for number in _NUMBER.findall(f"{letter.subject}\n{letter.body}"):
        if number not in known:
            raise DataError(f"The letter names {number}, which stands nowhere in the case.", where="body")
