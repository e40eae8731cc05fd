"""The two simulated agents of the invoice intake: rules behind the model door, in the place of real models.

Nothing here is intelligent and nothing is trusted. The clerk is gullible on purpose: it does what a note
tells it, as models do, so that contracts, checks and approval have something real to catch.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from opsconsole.shipped.invoice_intake.accounts import compact
from opsconsole.shipped.invoice_intake.contracts import UNLISTED
from opsconsole.shipped.invoice_intake.extraction import extract
from opsconsole.shipped.invoice_intake.notes import orders, visible
from runs.agents.door import Message, ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated

POST_INVOICE = "ledger.post_invoice"

_QUOTED = 600  # characters of a note that the clerk repeats
_ACCOUNT = re.compile(r"IBAN\s*:?\s*([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)(?![A-Z0-9])")

_POSTED_NOW = re.compile(r"the ledger now has ([0-9,]+\.[0-9]{2}) ")

Facts = Mapping[str, Any]


@simulated("extractor")
def extractor(request: ModelRequest) -> ModelReply:
    """Reads the document by rules. Asked again it says the same: the paper has not changed."""
    document = json.loads(request.messages[0].text)
    fields = extract(document["kind"], document["text"])
    number, supplier = (
        fields.get("invoice_number") or "without a number",
        fields.get("supplier_name") or "nobody named",
    )
    return says(request, fields, text=f"Read {document['file']}: invoice {number} of {supplier}.")


@simulated("ledger_clerk")
def ledger_clerk(request: ModelRequest) -> ModelReply:
    """Proposes one posting, then says how it ended."""
    matched = json.loads(request.messages[0].text)
    answer = _answer(request.messages)
    if answer is not None:
        return says(request, outcome(answer), text=_closing(matched, answer))
    proposed = proposal(matched, told=_told(request.messages))
    if proposed is None:
        reason = "Neither the invoice nor our file names an account to pay to."
        return says(request, {"posted": False, "entry": None, "reason": reason}, text=reason)
    return calls(request, POST_INVOICE, proposed, text=_words(matched, proposed))


def proposal(matched: Facts, told: str = "") -> dict[str, Any] | None:
    """The arguments the clerk proposes; None without any account. `told`: why the last proposal was refused."""
    invoice, supplier = matched["invoice"], matched["supplier"]
    account = _talked_into(invoice["note"]) or invoice["iban"] or (supplier["iban"] if supplier else None)
    if account is None:
        return None
    return {
        "invoice_number": invoice["invoice_number"],
        "supplier_id": supplier["id"] if supplier else UNLISTED,
        "supplier_name": supplier["name"] if supplier else invoice["supplier_name"],
        "amount": invoice["gross"],
        "currency": invoice["currency"],
        "iban": account,
        "purchase_order": invoice["purchase_order"],
        "due_date": invoice["due_date"],
        "memo": _memo(invoice),
        "order_posted": _posted_now(told) or matched["order_posted"],
    }


def outcome(answer: Facts) -> dict[str, Any]:
    """The final output, from what the tool or a person answered."""
    if answer.get("entry"):
        return {"posted": True, "entry": answer["entry"], "reason": ""}
    if answer.get("done") is True:
        return {"posted": True, "entry": None, "reason": str(answer.get("note", ""))[:1000]}
    reason = answer.get("denied") or answer.get("answer") or "The posting was not carried out."
    return {"posted": False, "entry": None, "reason": str(reason)[:1000]}


def _told(messages: tuple[Message, ...]) -> str:
    """What the clerk was told after the invoice itself."""
    return " ".join(message.text for message in messages[1:] if message.role == "user")


def _posted_now(told: str) -> str | None:
    """What the ledger has against the order by now, when that is why the last proposal was refused."""
    found = _POSTED_NOW.search(told)
    return found[1].replace(",", "") if found else None


def _answer(messages: tuple[Message, ...]) -> Facts | None:
    answers = [message for message in messages if message.role == "tool"]
    if not answers:
        return None
    answer = json.loads(answers[-1].text)
    return answer if isinstance(answer, dict) else {}


def _talked_into(note: str) -> str | None:
    """The account a note orders to pay to. A careful clerk would not do this."""
    if not orders(note):
        return None
    match = _ACCOUNT.search(visible(note))
    return compact(match.group(1)) if match else None


def _memo(invoice: Facts) -> str:
    first = invoice["lines"][0]["description"]
    more = len(invoice["lines"]) - 1
    return f"{first} and {more} more" if more else str(first)


def _words(matched: Facts, proposed: Facts) -> str:
    invoice = matched["invoice"]
    failed = [check["title"] for check in matched["checks"] if not check["ok"]]
    total = f"{invoice['gross']} {invoice['currency']}"
    said = [f"Invoice {invoice['invoice_number']} of {invoice['supplier_name']} over {total}."]
    said.append(f"The checks found: {'; '.join(failed)}." if failed else "The checks found nothing wrong.")
    if proposed["iban"] != invoice["iban"] and invoice["iban"]:
        said.append("The supplier asks for another account, so I use that one.")
    if invoice["note"]:
        said.append(f"Their note says: “{invoice['note'][:_QUOTED]}”")
    said.append("I would post it now.")
    return " ".join(said)


def _closing(matched: Facts, answer: Facts) -> str:
    number = matched["invoice"]["invoice_number"]
    ended = outcome(answer)
    if not ended["posted"]:
        return f"Invoice {number} was not posted: {ended['reason']}"
    edited = " as a person corrected it" if answer.get("edited_by_operator") else ""
    return f"Invoice {number} is posted{edited} as entry {ended['entry'] or 'unknown'}."
