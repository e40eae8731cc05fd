"""The letters of the simulated drafter, in three languages: sentences with holes. Checks nothing."""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "hello": "Dear {name},",
        "refund": "thank you for your message. This is what we refund, the way you paid:",
        "refuse": "thank you for your message. We have looked at it, and we cannot refund this:",
        "ask_back": "thank you for your message. To help you we need one thing more from you.",
        "answer": "thank you for your question.",
        "thanks": "thank you for your kind words. We have passed them on to everybody here.",
        "due": "{order}: {amount} {currency}.",
        "none": "{order}: no refund.",
        "clause": "Our terms say: “{text}” ({number})",
        "number": "Please tell us the number of the order; it begins with MP and stands in our confirmation.",
        "address": "Please write to us from the address with which you placed the order, or check its number.",
        "statement": "Please send us the line of your bank statement with the second payment.",
        "no_clause": "A colleague will answer this in person.",
        "sorry": "We are sorry for the trouble.",
        "bye": "Kind regards\nMarrow & Pine",
    },
    "de": {
        "hello": "Guten Tag {name},",
        "refund": "danke für Ihre Nachricht. Wir erstatten Ihnen auf dem Weg, auf dem Sie bezahlt haben:",
        "refuse": "danke für Ihre Nachricht. Wir haben sie geprüft und können dies nicht erstatten:",
        "ask_back": "danke für Ihre Nachricht. Um Ihnen zu helfen, brauchen wir noch eines von Ihnen.",
        "answer": "danke für Ihre Frage.",
        "thanks": "danke für die freundlichen Worte. Wir haben sie an alle hier weitergegeben.",
        "due": "{order}: {amount} {currency}.",
        "none": "{order}: keine Erstattung.",
        "clause": "In unseren Bedingungen steht: “{text}” ({number})",
        "number": "Bitte nennen Sie uns die Nummer der Bestellung; sie beginnt mit MP.",
        "address": "Bitte schreiben Sie von der Adresse, mit der Sie bestellt haben, oder prüfen Sie die Nummer.",
        "statement": "Bitte schicken Sie uns die Zeile des Kontoauszugs mit der zweiten Zahlung.",
        "no_clause": "Das beantwortet Ihnen eine Kollegin persönlich.",
        "sorry": "Die Umstände tun uns leid.",
        "bye": "Mit freundlichen Grüßen\nMarrow & Pine",
    },
    "fr": {
        "hello": "Bonjour {name},",
        "refund": "merci pour votre message. Voici ce que nous remboursons, par le moyen de votre paiement :",
        "refuse": "merci pour votre message. Nous l'avons étudié et ne pouvons pas rembourser ceci :",
        "ask_back": "merci pour votre message. Pour vous aider, il nous manque encore une chose.",
        "answer": "merci pour votre question.",
        "thanks": "merci pour vos mots aimables. Nous les avons transmis à toute l'équipe.",
        "due": "{order} : {amount} {currency}.",
        "none": "{order} : pas de remboursement.",
        "clause": "Nos conditions disent : “{text}” ({number})",
        "number": "Merci de nous indiquer le numéro de la commande ; il commence par MP.",
        "address": "Merci d'écrire depuis l'adresse de la commande, ou de vérifier son numéro.",
        "statement": "Merci de nous envoyer la ligne de votre relevé avec le second paiement.",
        "no_clause": "Une collègue vous répondra en personne.",
        "sorry": "Nous regrettons ce désagrément.",
        "bye": "Cordialement\nMarrow & Pine",
    },
}
_ASKS = {"G-1.1": "number", "G-1.2": "address", "P-5.2": "statement"}


def letter(brief: Facts) -> dict[str, Any]:
    """A letter that says what the brief says, as the fields of `contracts.Letter`."""
    words = _WORDS[brief["triaged"]["language"]]
    paid = [one for one in brief["findings"] if one["amount"] != "0.00"]
    subject = f"Re: {brief['message']['subject'] or 'Your message'}"[:200]
    return {
        "subject": subject,
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


def _name(brief: Facts) -> str:
    return str(brief["message"]["name"] or brief["message"]["sender"])


def _middle(brief: Facts, words: Mapping[str, str]) -> list[str]:
    kind = brief["kind"]
    parts = [words[kind]]
    if brief["findings"] and kind != "ask_back":
        parts.append("\n".join(_line(one, words) for one in brief["findings"]))
    parts += brief["facts"]
    parts += [words[_ASKS[clause["number"]]] for clause in brief["clauses"] if clause["number"] in _ASKS]
    parts += [words["clause"].format(**clause) for clause in brief["clauses"]]
    if kind == "answer" and not brief["clauses"]:
        parts.append(words["no_clause"])
    if kind in ("refund", "refuse"):
        parts.append(words["sorry"])
    return parts


def _line(finding: Facts, words: Mapping[str, str]) -> str:
    return words["none" if finding["amount"] == "0.00" else "due"].format(**finding)
