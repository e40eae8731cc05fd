"""The tool `ledger.post_invoice`: one irreversible line in the ledger, through the gate. Asks nobody."""

from typing import Any

from opsconsole.shipped.invoice_intake import ledger, register
from opsconsole.shipped.invoice_intake.agents import POST_INVOICE
from opsconsole.shipped.invoice_intake.amounts import written
from opsconsole.shipped.invoice_intake.approval import asks_for
from opsconsole.shipped.invoice_intake.contracts import PostInvoice
from runs.definitions import Effect, EffectGate, NotKnown, Tool


def post(invoice: PostInvoice, gate: EffectGate) -> dict[str, Any]:
    """Write the entry, once for the gate's key. Raises what `Ledger.post` raises, and the gate's refusal."""
    return _result(
        ledger.current().post(
            invoice, key=gate.key, hand_over=gate.hand_over, seconds=min(10.0, gate.seconds_left)
        )
    )


def look(invoice: PostInvoice, key: str) -> dict[str, Any] | NotKnown | None:
    """What `post` returned for this key, if it happened; the ledger knows, unless it is damaged or says something
    else."""
    seen = ledger.current().looked(invoice, key)
    return _result(seen) if isinstance(seen, ledger.Entry) else seen


def rehearse(invoice: PostInvoice) -> dict[str, Any]:
    """What `post` would return, for trials: nothing is written."""
    return {"entry": 1, "posted_at": "not posted: this is a trial"}


def sentence(invoice: PostInvoice) -> str:
    """The action in one line. The payee is named from our file, never from the agent's words."""
    amount = f"{written(invoice.amount)} {invoice.currency}"
    supplier = register.current().supplier_with_id(invoice.supplier_id)
    payee = supplier.name if supplier else f"a supplier not on file, “{invoice.supplier_name}”"
    return f"Post invoice {invoice.invoice_number} and pay {amount} to {payee}"


def _result(entry: ledger.Entry) -> dict[str, Any]:
    return {"entry": entry.number, "posted_at": entry.posted_at.isoformat()}


TOOL = Tool(
    name=POST_INVOICE,
    description="Write an invoice to the ledger and release its payment. Cannot be undone.",
    arguments=PostInvoice,
    perform=post,
    sentence=sentence,
    effect=Effect.IRREVERSIBLE,
    egress=True,
    approval=asks_for,
    look=look,
    rehearse=rehearse,
)
