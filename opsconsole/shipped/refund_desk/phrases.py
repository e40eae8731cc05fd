"""The sentences of our house, in three languages: what a letter may say without anybody reading it first. Pure.

Made from what our own code has reckoned and from the terms; no customer's and no agent's words are in them, but the
name by which the customer is greeted.
"""

from opsconsole.shipped.refund_desk.contracts import Brief, Occasion, Phrases, Promise
from opsconsole.shipped.refund_desk.terms import Terms

WORDS: dict[str, dict[str, str]] = {
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
ASKS = {"G-1.1": "number", "G-1.2": "address", "P-5.2": "statement"}


def occasion(brief: Brief) -> Occasion:
    """What the sentences for a letter depend on."""
    return Occasion(
        name=brief.message.name or brief.message.sender,
        language=brief.triaged.language,
        kind=brief.kind,
        due=tuple(
            Promise(order=one.order, amount=one.amount, currency=one.currency) for one in brief.findings
        ),
        clauses=tuple(clause.number for clause in brief.clauses),
    )


def phrases(given: Occasion, terms: Terms) -> Phrases:
    """The sentences that may be said on this occasion, word for word. Raises TermsIncomplete."""
    words = WORDS[given.language]
    told = [words["hello"].format(name=given.name), words[given.kind], words["sorry"], words["bye"]]
    if given.kind != "ask_back":
        told += [_due(one, words) for one in given.due]
    told += [words[ASKS[number]] for number in given.clauses if number in ASKS]
    told += [words["clause"].format(**terms.clause(number).model_dump()) for number in given.clauses]
    if given.kind == "answer" and not given.clauses:
        told.append(words["no_clause"])
    return Phrases(phrases=tuple(told))


def _due(one: Promise, words: dict[str, str]) -> str:
    return words["due" if one.amount else "none"].format(
        order=one.order, amount=one.amount, currency=one.currency
    )
