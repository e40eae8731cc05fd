"""Takes invoices in without engine and database: the workflow's own nodes, rules and contracts, one after the other.

Stands in for nothing that is tested here; the engine's part (permits, questions, records) has tests of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from opsconsole.shipped.invoice_intake import agents, approval, posting
from opsconsole.shipped.invoice_intake.contracts import (
    Document,
    Extracted,
    InvoiceFile,
    Matched,
    Posted,
    PostInvoice,
)
from opsconsole.shipped.invoice_intake.workflows import check, match, read
from runs.agents.door import Message, ModelReply, ModelRequest
from runs.canonical import canonical
from runs.definitions import Approval
from runs.errors import DataError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(slots=True)
class OpenGate:
    """A gate that permits: what the engine's gate does when nothing speaks against."""

    key: str
    seconds_left: float = 10.0
    handed: int = 0

    def hand_over(self, send: Callable[[float], T]) -> T:
        self.handed += 1
        return send(0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    matched: Matched
    arguments: PostInvoice
    words: str
    approval: Approval | None

    @property
    def failed(self) -> set[str]:
        checks = (*self.matched.checks, *approval.proposal_checks(self.arguments, self.matched))
        return {one.name for one in checks if not one.ok}


def request(agent: str, given: Any, *more: Message) -> ModelRequest:
    first = Message(role="user", text=canonical(given))
    return ModelRequest(
        model="simulated/x", agent=agent, prompt="p", prompt_version="1", messages=(first, *more)
    )


def extracted(file: str, folder: str = "samples") -> Extracted:
    document = passed(Document, read(InvoiceFile(folder=folder, file=file)))  # type: ignore[arg-type]
    reply = agents.extractor(request("extractor", document))
    return passed(Extracted, reply.output)


def passed(contract: type[M], value: Any) -> M:
    """Over an edge as the engine does it: canonical JSON, then the contract."""
    return contract.model_validate_json(canonical(value))


def proposed(file: str) -> Proposal:
    matched = passed(Matched, match(check(extracted(file))))
    reply = agents.ledger_clerk(request("ledger_clerk", matched))
    (call,) = reply.tool_calls
    assert call.name == posting.TOOL.name
    arguments = passed(PostInvoice, call.arguments)
    asked = approval.asks_for(arguments, matched)
    return Proposal(matched=matched, arguments=arguments, words=reply.text, approval=asked)


def closed(matched: Matched, first: ModelReply, answer: dict[str, Any]) -> tuple[Posted, str]:
    """The clerk's last word after the tool or a person answered."""
    asked = Message(role="assistant", text=first.text, tool_calls=first.tool_calls)
    told = Message(role="tool", text=canonical(answer), call_id=first.tool_calls[0].id)
    reply = agents.ledger_clerk(request("ledger_clerk", matched, asked, told))
    return passed(Posted, reply.output), reply.text


def take_in(file: str) -> str:
    """What the console does with a file, in the words of the samples' README. Posts what nobody need be asked about."""
    try:
        read(InvoiceFile(folder="samples", file=file))
    except DataError:
        return "stops at read"
    try:
        proposal = proposed(file)
    except ValidationError:
        return "stops at extract"
    if proposal.approval is None:
        result = posting.post(proposal.arguments, OpenGate(key=file))
        assert result["entry"] >= 1
        return "posts it"
    above = {"amount"} if proposal.arguments.amount > approval.LIMIT else set()
    return f"asks: {', '.join(sorted(proposal.failed | above))}"
