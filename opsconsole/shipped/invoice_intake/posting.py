"""The tool `ledger.post_invoice`: one irreversible line in the ledger, through the gate. Asks nobody."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from opsconsole.shipped.invoice_intake import ledger, matching, register
from opsconsole.shipped.invoice_intake.agents import POST_INVOICE
from opsconsole.shipped.invoice_intake.amounts import written
from opsconsole.shipped.invoice_intake.approval import asks_for
from opsconsole.shipped.invoice_intake.contracts import PostInvoice
from runs.definitions import Effect, EffectGate, NotKnown, Tool
from runs.errors import DataError

NOTHING = Decimal("0.00")


class OrderUsedUp(DataError):
    """Another invoice was posted against the order since this one was checked, and the order does not cover both."""


def post(invoice: PostInvoice, gate: EffectGate) -> dict[str, Any]:
    """Write the entry, once for the gate's key. Raises OrderUsedUp, what `Ledger.post` raises, and the gate's
    refusal."""

    def refuse(known: Sequence[ledger.Entry]) -> None:
        _still_covered(invoice, known)

    seconds = min(10.0, gate.seconds_left)
    return _result(
        ledger.current().post(invoice, key=gate.key, hand_over=gate.hand_over, refuse=refuse, seconds=seconds)
    )


def _still_covered(invoice: PostInvoice, known: Sequence[ledger.Entry]) -> None:
    """Two invoices that were checked at the same moment each saw an order without the other. What a person has agreed
    to although the order did not cover it stands, as long as nothing was posted against it since."""
    order = register.current().order(invoice.purchase_order) if invoice.purchase_order else None
    if order is None or invoice.order_posted is None:
        return
    now = matching.posted_against(order, known)
    left = order.total - order.invoiced_before - now
    if now > invoice.order_posted and invoice.amount > left:
        raise OrderUsedUp(
            f"Since this invoice was checked, {written(now - invoice.order_posted)} {order.currency} were posted "
            f"against {order.number}: the ledger now has {written(now)} {order.currency}, and "
            f"{written(max(left, NOTHING))} are left. Proposed with what the ledger has now, a person decides."
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
