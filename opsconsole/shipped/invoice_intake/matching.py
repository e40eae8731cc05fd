"""The invoice against what is on file: supplier, account, order, ledger. Pure: looks nothing up itself."""

import re
from collections.abc import Sequence
from decimal import Decimal

from opsconsole.shipped.invoice_intake.accounts import digits_hold, spaced
from opsconsole.shipped.invoice_intake.amounts import written
from opsconsole.shipped.invoice_intake.contracts import Check, Extracted, PurchaseOrder, Supplier
from opsconsole.shipped.invoice_intake.ledger import Entry


def filed_checks(
    invoice: Extracted, *, supplier: Supplier | None, order: PurchaseOrder | None, posted: Sequence[Entry]
) -> tuple[Check, ...]:
    """Every check against register and ledger; what needs a supplier or an order is left out without one."""
    checks = [known_supplier(invoice, supplier), ordered(invoice, order)]
    if supplier:
        checks += [account(invoice, supplier), duplicate(invoice, supplier, posted)]
    checks.append(currency(invoice, supplier, order))
    if order:
        checks += [
            order_supplier(order, supplier),
            open_amount(invoice, order, posted),
            order_lines(invoice, order),
        ]
    return tuple(checks)


def known_supplier(invoice: Extracted, supplier: Supplier | None) -> Check:
    named = ("On the invoice", _named(invoice.supplier_name, invoice.supplier_vat_id))
    if supplier is None:
        return Check(ok=False, name="supplier", title="Supplier is not on file", details=(named,))
    details = (named, ("On file", f"{supplier.id} {_named(supplier.name, supplier.vat_id)}"))
    if invoice.supplier_vat_id and _bare(invoice.supplier_vat_id) != _bare(supplier.vat_id):
        title = "VAT number does not match the supplier on file"
        return Check(ok=False, name="supplier", title=title, details=details)
    return Check(ok=True, name="supplier", title="Supplier is on file", details=details)


def account(invoice: Extracted, supplier: Supplier) -> Check:
    """The account is the one on file. None on the invoice is fine: then the one on file is paid."""
    on_file = ("On file", spaced(supplier.iban))
    if invoice.iban is None:
        title = "No account on the invoice; the one on file is used"
        return Check(ok=True, name="account", title=title, details=(on_file,))
    details = (("On the invoice", spaced(invoice.iban)), on_file)
    if invoice.iban != supplier.iban:
        wrong = "" if digits_hold(invoice.iban) else " and its check digits are wrong"
        title = f"Account does not match the supplier on file{wrong}"
        return Check(ok=False, name="account", title=title, details=details)
    return Check(ok=True, name="account", title="Account is the supplier's on file", details=details)


def duplicate(invoice: Extracted, supplier: Supplier, posted: Sequence[Entry]) -> Check:
    """Neither the number, however written, nor the same sum for the same day was posted before."""
    for entry in posted:
        if entry.invoice.supplier_id != supplier.id:
            continue
        if _bare(entry.invoice.invoice_number) == _bare(invoice.invoice_number):
            return _second("This invoice was posted before", entry)
        if (entry.invoice.amount, entry.invoice.due_date) == (invoice.gross, invoice.due_date):
            return _second("Looks like a second copy of an invoice that was posted", entry)
    return Check(ok=True, name="duplicate", title="Not posted before")


def currency(invoice: Extracted, supplier: Supplier | None, order: PurchaseOrder | None) -> Check:
    details = [("Invoice", invoice.currency)]
    details += [("Supplier on file", supplier.currency)] if supplier else []
    details += [("Purchase order", order.currency)] if order else []
    if len({code for _, code in details}) > 1:
        title = "Currency is not the one agreed"
        return Check(ok=False, name="currency", title=title, details=tuple(details))
    return Check(ok=True, name="currency", title="Currency is the one agreed", details=tuple(details))


def ordered(invoice: Extracted, order: PurchaseOrder | None) -> Check:
    if invoice.purchase_order is None:
        return Check(ok=False, name="order", title="No purchase order is named")
    details = (("On the invoice", invoice.purchase_order),)
    if order is None:
        return Check(ok=False, name="order", title="Purchase order is not on file", details=details)
    return Check(ok=True, name="order", title="Purchase order is on file", details=details)


def order_supplier(order: PurchaseOrder, supplier: Supplier | None) -> Check:
    details = (
        ("Order placed with", order.supplier_id),
        ("Invoice from", supplier.id if supplier else "not on file"),
    )
    if supplier and supplier.id == order.supplier_id:
        return Check(ok=True, name="order_supplier", title="Ordered from this supplier", details=details)
    title = "Purchase order was placed with another supplier"
    return Check(ok=False, name="order_supplier", title=title, details=details)


def open_amount(invoice: Extracted, order: PurchaseOrder, posted: Sequence[Entry]) -> Check:
    """What is left of the order, after earlier invoices and postings, covers this one (VAT included)."""
    since = posted_against(order, posted)
    left = order.total - order.invoiced_before - since
    details = (
        ("Ordered", written(order.total)),
        ("Invoiced before", written(order.invoiced_before + since)),
        ("Left", written(left)),
        ("This invoice", written(invoice.gross)),
    )
    if left <= 0:
        return Check(ok=False, name="open_amount", title="Purchase order is used up", details=details)
    if invoice.gross > left:
        title = "Invoice is more than what is left of the order"
        return Check(ok=False, name="open_amount", title=title, details=details)
    return Check(ok=True, name="open_amount", title="The order covers the invoice", details=details)


def posted_against(order: PurchaseOrder, posted: Sequence[Entry]) -> Decimal:
    """What the ledger has against an order."""
    return sum((entry.invoice.amount for entry in posted if _on_order(entry, order)), Decimal("0.00"))


def order_lines(invoice: Extracted, order: PurchaseOrder) -> Check:
    details = (("Lines ordered", str(len(order.lines))), ("Lines invoiced", str(len(invoice.lines))))
    if len(invoice.lines) > len(order.lines):
        return Check(ok=False, name="order_lines", title="More lines than were ordered", details=details)
    return Check(ok=True, name="order_lines", title="No more lines than were ordered", details=details)


def _second(title: str, entry: Entry) -> Check:
    details = (
        ("Entry", str(entry.number)),
        ("Invoice", entry.invoice.invoice_number),
        ("Amount", f"{written(entry.invoice.amount)} {entry.invoice.currency}"),
        ("Posted", f"{entry.posted_at:%Y-%m-%d}"),
    )
    return Check(ok=False, name="duplicate", title=title, details=details)


def _on_order(entry: Entry, order: PurchaseOrder) -> bool:
    return entry.invoice.purchase_order is not None and _bare(entry.invoice.purchase_order) == _bare(
        order.number
    )


def _bare(reference: str) -> str:
    """Letters and digits only: INV-2026/0113 and inv 2026 0113 are the same reference."""
    return re.sub(r"[\W_]", "", reference).casefold()


def _named(name: str, vat_id: str | None) -> str:
    return f"{name} ({vat_id})" if vat_id else name
