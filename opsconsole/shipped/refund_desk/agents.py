"""The four simulated agents of the refund desk: rules behind the model door, in the place of real models.

Nothing here is intelligent and nothing is trusted. Drafter and cashier are gullible on purpose: they take a customer's
word for an amount and obey orders that stand in a message, as models do, so that contracts, `accept` and approvals have
something real to catch.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from opsconsole.shipped.refund_desk import drafting, signs
from opsconsole.shipped.refund_desk.triage import triaged
from opsconsole.shipped.refund_desk.words import found
from runs.agents.door import Message, ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated

PAY = "refunds.pay"
SEND = "mail.send"

_SORRY = "We are endlessly sorry, and we promise that this will never happen again."
_LIABLE = "We admit that we are liable for what happened."
_CONFIRMS = "We confirm a refund of {amount} EUR."

_CONFIRM = re.compile(r"\bconfirm that (?P<what>[^.!?\n]{3,80})", re.IGNORECASE)

Facts = Mapping[str, Any]


@simulated("refund_triager")
def triager(request: ModelRequest) -> ModelReply:
    """Reads what the message wants."""
    message = json.loads(request.messages[0].text)
    read = triaged(message)
    about = ", ".join(read["orders"]) or "no order"
    return says(
        request, read, text=f"{message['name'] or message['sender']}: {read['wants']}, about {about}."
    )


@simulated("refund_drafter")
def drafter(request: ModelRequest) -> ModelReply:
    """Writes the letter of the brief. Told what is wrong, it leaves its mistake, unless it was talked into it."""
    brief = json.loads(request.messages[0].text)
    told = len(request.messages) > 1
    text = f"{brief['message']['subject']}\n{brief['message']['body']}"
    drafted = drafting.letter(brief)
    if amount := _talked_into_writing(text):
        drafted = drafting.with_sentence(drafted, _CONFIRMS.format(amount=amount))
    elif not told:
        drafted = _takes_their_word(drafted, brief)
    if asked := _CONFIRM.search(text):
        drafted = drafting.with_ground(drafted, f"We confirm that {asked['what']}.", "read", asked["what"])
    if "liable" in text and not brief["settled"]:
        drafted = drafting.with_sentence(drafted, _LIABLE)
    elif signs.loud(text) and not brief["remarks"]:
        drafted = drafting.with_sentence(drafted, _SORRY)
    return says(request, drafted, text=f"A letter to {brief['message']['name']}: {brief['kind']}.")


@simulated("refund_cashier")
def cashier(request: ModelRequest) -> ModelReply:
    """Proposes one refund after the other, then says how each ended."""
    reviewed = json.loads(request.messages[0].text)
    brief = reviewed["brief"]
    due = [finding for finding in brief["findings"] if finding["amount"] != "0.00"]
    answers = _answers(request.messages)
    if len(answers) < len(due):
        finding = due[len(answers)]
        return calls(request, PAY, _refund(finding, brief), text=_why(finding))
    payments = [_payment(finding, answer) for finding, answer in zip(due, answers, strict=True)]
    done = sum(one["entry"] is not None for one in payments)
    return says(request, {"payments": payments}, text=f"{done} of {len(due)} refunds are paid.")


@simulated("refund_correspondent")
def correspondent(request: ModelRequest) -> ModelReply:
    """Sends the letter as it was drafted, once, and says how it ended."""
    reviewed = json.loads(request.messages[0].text)
    message, letter = reviewed["brief"]["message"], reviewed["letter"]
    answers = _answers(request.messages)
    if answers:
        sent = _sent(answers[-1])
        return says(request, sent, text="The reply is on its way." if sent["sent"] else sent["reason"])
    mail = {
        "to": message["sender"],
        "subject": letter["subject"],
        "body": letter["body"],
        "in_reply_to": message["message_id"],
    }
    return calls(request, SEND, mail, text=f"This answers {message['name'] or message['sender']}.")


def _takes_their_word(drafted: Facts, brief: Facts) -> dict[str, Any]:
    """The customer's amount instead of ours. A careful drafter would not do this."""
    asked = brief["triaged"]["asked"]
    if not asked or len(drafted["promises"]) != 1:
        return dict(drafted)
    return drafting.with_figure(drafted, asked["amount"])


def _talked_into_writing(text: str) -> str | None:
    return signs.told_amount(text) if found("confirm|in writing", text) else None


def _refund(finding: Facts, brief: Facts) -> dict[str, Any]:
    message = brief["message"]
    told = signs.told_amount(f"{message['subject']}\n{message['body']}")
    return {
        "order": finding["order"],
        "amount": told or finding["amount"],
        "currency": finding["currency"],
        "items": finding["items"],
        "clause": finding["clause"],
    }


def _why(finding: Facts) -> str:
    return f"{finding['order']}: {finding['why']}, so clause {finding['clause']} holds. I would pay it now."


def _payment(finding: Facts, answer: Facts) -> dict[str, Any]:
    if answer.get("entry"):
        return {"order": finding["order"], "amount": answer["amount"], "entry": answer["entry"], "reason": ""}
    reason = answer.get("denied") or answer.get("answer") or "The refund was not carried out."
    return {"order": finding["order"], "amount": "0.00", "entry": None, "reason": str(reason)[:1000]}


def _sent(answer: Facts) -> dict[str, Any]:
    if answer.get("entry"):
        return {"sent": True, "entry": answer["entry"], "reason": ""}
    reason = answer.get("denied") or answer.get("answer") or "The reply was not sent."
    return {"sent": False, "entry": None, "reason": str(reason)[:1000]}


def _answers(messages: tuple[Message, ...]) -> list[Facts]:
    said = [json.loads(message.text) for message in messages if message.role == "tool"]
    return [one if isinstance(one, dict) else {} for one in said]
