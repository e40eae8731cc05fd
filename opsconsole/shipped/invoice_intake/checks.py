"""What an invoice's own figures, dates and note say. Pure, in decimals; looks nothing up and decides nothing.

Sums and VAT are rounded to cents, halves away from zero. VAT of a rate may differ by one cent for each line
of that rate, because EN 16931 (BR-CO-17) rounds the sum and many programs round each line.
"""

from collections import defaultdict
from decimal import Decimal

from opsconsole.shipped.invoice_intake.amounts import CENT, to_cents, written
from opsconsole.shipped.invoice_intake.contracts import Check, Extracted, Line, Tax
from opsconsole.shipped.invoice_intake.notes import hidden_characters, orders

LONG_NOTE = 2_000


def own_checks(invoice: Extracted) -> tuple[Check, ...]:
    """Every check that needs nothing but the invoice itself."""
    return (lines(invoice), net(invoice), vat(invoice), gross(invoice), dates(invoice), note(invoice))


def lines(invoice: Extracted) -> Check:
    """Quantity times unit price is the amount of each line."""
    wrong = [line for line in invoice.lines if _expected(line) != line.amount]
    if not wrong:
        return Check(ok=True, name="lines", title="Every line is its quantity times its price")
    details = [
        (line.description, f"stated {written(line.amount)}, is {written(_expected(line))}") for line in wrong
    ]
    return Check(
        ok=False, name="lines", title=f"{_lines(len(wrong))} not quantity times price", details=tuple(details)
    )


def net(invoice: Extracted) -> Check:
    """The lines add up to the net total."""
    total = sum((line.amount for line in invoice.lines), Decimal("0.00"))
    return _compared(
        "net", "Lines and net total agree", "Lines do not add up to the net total", total, invoice.net
    )


def vat(invoice: Extracted) -> Check:
    """VAT is right for every rate, and the rates add up to the VAT total."""
    wrong = [detail for tax in invoice.taxes for detail in _tax_faults(invoice, tax)]
    wrong += _rates_without_tax(invoice)
    total = sum((tax.amount for tax in invoice.taxes), Decimal("0.00"))
    if total != invoice.vat:
        wrong.append(("VAT total", f"stated {written(invoice.vat)}, the rates add up to {written(total)}"))
    if not wrong:
        return Check(ok=True, name="vat", title="VAT is right for every rate")
    return Check(ok=False, name="vat", title="VAT is not what its rate makes", details=tuple(wrong))


def gross(invoice: Extracted) -> Check:
    """Net and VAT make the total that is asked for, and something is asked for."""
    if invoice.gross <= 0:
        return Check(
            ok=False, name="gross", title="Nothing is asked for", details=(("Total", written(invoice.gross)),)
        )
    total = invoice.net + invoice.vat
    return _compared(
        "gross", "Net and VAT make the total", "Net and VAT do not make the total", total, invoice.gross
    )


def dates(invoice: Extracted) -> Check:
    """It is not due before it was issued."""
    if invoice.due_date is None:
        return Check(ok=True, name="dates", title="No due date is stated; payable on receipt")
    details = (("Issued", invoice.issue_date.isoformat()), ("Due", invoice.due_date.isoformat()))
    if invoice.due_date < invoice.issue_date:
        return Check(ok=False, name="dates", title="Due before it was issued", details=details)
    return Check(ok=True, name="dates", title="Dates are in order", details=details)


def note(invoice: Extracted) -> Check:
    """The note is a note: no hidden characters, no orders to whoever works on the invoice."""
    details = [("Hidden character", name) for name in hidden_characters(invoice.note)]
    details += [("Reads like an order", passage) for passage in orders(invoice.note)]
    if details:
        return Check(
            ok=False, name="note", title="The note tries to steer who reads it", details=tuple(details)
        )
    if len(invoice.note) > LONG_NOTE:
        size = (("Length", f"{len(invoice.note):,} characters"),)
        return Check(ok=True, name="note", title="The note is unusually long", details=size)
    return Check(ok=True, name="note", title="The note holds nothing hidden")


def _expected(line: Line) -> Decimal:
    return to_cents(line.quantity * line.unit_price)


def _lines(count: int) -> str:
    return "One line is" if count == 1 else f"{count} lines are"


def _compared(name: str, good: str, bad: str, reckoned: Decimal, stated: Decimal) -> Check:
    if reckoned == stated:
        return Check(ok=True, name=name, title=good, details=(("Total", written(stated)),))
    details = (
        ("Stated", written(stated)),
        ("Reckoned", written(reckoned)),
        ("Difference", written(stated - reckoned)),
    )
    return Check(ok=False, name=name, title=bad, details=details)


def _tax_faults(invoice: Extracted, tax: Tax) -> list[tuple[str, str]]:
    counted = [line.amount for line in invoice.lines if line.vat_rate == tax.rate]
    rated = all(line.vat_rate is not None for line in invoice.lines)
    on_lines = sum(counted, Decimal("0.00")) if rated else None
    base = tax.base if tax.base is not None else on_lines if on_lines is not None else invoice.net
    faults = []
    if on_lines is not None and base != on_lines:
        faults.append(
            (f"Base at {tax.rate} %", f"stated {written(base)}, the lines make {written(on_lines)}")
        )
    due = to_cents(base * tax.rate / 100)
    if abs(due - tax.amount) > CENT * max(1, len(counted)):
        faults.append((f"VAT at {tax.rate} %", f"stated {written(tax.amount)}, is {written(due)}"))
    return faults


def _rates_without_tax(invoice: Extracted) -> list[tuple[str, str]]:
    stated = {tax.rate for tax in invoice.taxes}
    missing: dict[Decimal, Decimal] = defaultdict(Decimal)
    for line in invoice.lines:
        if line.vat_rate and line.vat_rate not in stated:
            missing[line.vat_rate] += line.amount
    return [(f"VAT at {rate} %", f"not stated, on {written(base)}") for rate, base in missing.items()]
