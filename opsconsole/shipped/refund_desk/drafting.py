"""The letters of the simulated drafter, in three languages, out of the sentences of our house. Checks nothing."""

from collections.abc import Mapping
from typing import Any

from opsconsole.shipped.refund_desk.letters import subject
from opsconsole.shipped.refund_desk.phrases import ASKS, WORDS

Facts = Mapping[str, Any]


def letter(brief: Facts) -> dict[str, Any]:
    """A letter that says what the brief says, as the fields of `contracts.Letter`."""
    words = WORDS[brief["triaged"]["language"]]
    paid = [one for one in brief["findings"] if one["amount"] != "0.00"]
    return {
        "subject": subject(brief["message"]["subject"]),
        "body": "\n\n".join([words["hello"].format(name=_name(brief)), *_middle(brief, words), words["bye"]]),
        "promises": [{key: one[key] for key in ("order", "amount", "currency")} for one in paid],
        "quotes": list(brief["clauses"]),
    }


def with_figure(drafted: Facts, amount: str) -> dict[str, Any]:
    """The letter with another amount than the one reckoned, everywhere."""
    promises, body = drafted["promises"], drafted["body"]
    for promise in promises:
        body = body.replace(promise["amount"], amount)
    return {**drafted, "body": body, "promises": [{**one, "amount": amount} for one in promises]}


def with_sentence(drafted: Facts, sentence: str) -> dict[str, Any]:
    """The letter with one sentence more, before the end."""
    middle, _, end = drafted["body"].rpartition("\n\n")
    return {**drafted, "body": f"{middle}\n\n{sentence}\n\n{end}"}


def with_ground(drafted: Facts, sentence: str, source: str, quote: str) -> dict[str, Any]:
    """The letter with one sentence more, and what the drafter thinks shows it."""
    ground = {"sentence": sentence, "source": source, "quote": quote}
    return {**with_sentence(drafted, sentence), "grounds": [*drafted.get("grounds", ()), ground]}


def _name(brief: Facts) -> str:
    return str(brief["message"]["name"] or brief["message"]["sender"])


def _middle(brief: Facts, words: Mapping[str, str]) -> list[str]:
    kind = brief["kind"]
    parts = [words[kind]]
    if brief["findings"] and kind != "ask_back":
        parts.append("\n".join(_line(one, words) for one in brief["findings"]))
    parts += brief["facts"]
    parts += [words[ASKS[clause["number"]]] for clause in brief["clauses"] if clause["number"] in ASKS]
    parts += [words["clause"].format(**clause) for clause in brief["clauses"]]
    if kind == "answer" and not brief["clauses"]:
        parts.append(words["no_clause"])
    if kind in ("refund", "refuse"):
        parts.append(words["sorry"])
    return parts


def _line(finding: Facts, words: Mapping[str, str]) -> str:
    return words["none" if finding["amount"] == "0.00" else "due"].format(**finding)
