"""When a person must agree to a posting. Pure: judges what an agent proposes against what our checks found.

The agent's words play no part. What it proposes is compared with the invoice and the file afresh, so that
an agent that was talked into another account is caught even where the invoice itself is in order.
"""

from decimal import Decimal

from opsconsole.shipped.invoice_intake.accounts import spaced
from opsconsole.shipped.invoice_intake.amounts import written
from opsconsole.shipped.invoice_intake.contracts import Check, Matched, PostInvoice
from runs.definitions import Approval
from runs.definitions import Check as Evidence

LIMIT = Decimal("10000.00")
DEADLINE_SECONDS = 4 * 3600.0

_PRIORITIES = {"account": 90, "proposal_account": 90, "note": 85, "duplicate": 80, "supplier": 75}


def asks_for(proposal: PostInvoice, matched: Matched) -> Approval | None:
    """An Approval above 10,000.00 in the invoice's currency, or when any check failed; else None."""
    checks = (*proposal_checks(proposal, matched), *matched.checks)
    failed = [check for check in checks if not check.ok]
    above = proposal.amount > LIMIT
    if not failed and not above:
        return None
    return Approval(
        reason=_reason(proposal, failed, above=above),
        evidence=tuple(_evidence(check) for check in checks),
        priority=max((_PRIORITIES.get(check.name, 60) for check in failed), default=50),
        deadline_seconds=DEADLINE_SECONDS,
        group=f"invoice_intake:{failed[0].name}" if failed else "invoice_intake:amount",
    )


def proposal_checks(proposal: PostInvoice, matched: Matched) -> tuple[Check, ...]:
    """Whether what the agent proposes is what the invoice says, paid to whom our file says."""
    found = (_proposed_account(proposal, matched), _proposed_values(proposal, matched))
    meanwhile = _order_meanwhile(proposal, matched)
    return (*found, meanwhile) if meanwhile else found


def _proposed_account(proposal: PostInvoice, matched: Matched) -> Check:
    right = matched.supplier.iban if matched.supplier else matched.invoice.iban
    details = (("Proposed", spaced(proposal.iban)), (_source(matched), spaced(right) if right else "none"))
    if proposal.iban == right:
        return Check(ok=True, name="proposal_account", title="Pays to the right account", details=details)
    title = "Account the agent proposes does not match the supplier on file"
    if matched.supplier is None:
        title = "Account the agent proposes is not the one on the invoice"
    return Check(ok=False, name="proposal_account", title=title, details=details)


def _order_meanwhile(proposal: PostInvoice, matched: Matched) -> Check | None:
    """Whether the order covers the invoice with what was posted against it after the checks; None if nothing was."""
    order, now = matched.order, proposal.order_posted
    if order is None or now is None or now == matched.order_posted:
        return None
    left = order.total - order.invoiced_before - now
    ok = proposal.amount <= left
    title = "The order covers it with what was posted meanwhile"
    details = (
        ("Order", order.number),
        ("Posted when checked", _amount(matched.order_posted)),
        ("Posted now", written(now)),
        ("Left of the order", written(left)),
        ("This invoice", written(proposal.amount)),
    )
    if not ok:
        title = "Others were posted meanwhile, and the order does not cover this invoice any more"
    return Check(ok=ok, name="open_amount", title=title, details=details)


def _source(matched: Matched) -> str:
    return "On file" if matched.supplier else "On the invoice"


def _proposed_values(proposal: PostInvoice, matched: Matched) -> Check:
    invoice, supplier = matched.invoice, matched.supplier
    pairs = (
        ("Invoice number", proposal.invoice_number, invoice.invoice_number),
        ("Supplier", proposal.supplier_id, supplier.id if supplier else "unlisted"),
        ("Supplier's name", proposal.supplier_name, supplier.name if supplier else invoice.supplier_name),
        ("Amount", written(proposal.amount), written(invoice.gross)),
        ("Currency", proposal.currency, invoice.currency),
        ("Purchase order", proposal.purchase_order or "none", invoice.purchase_order or "none"),
        ("Posted against the order", _amount(proposal.order_posted), _amount(matched.order_posted)),
        ("Due date", str(proposal.due_date or "none"), str(invoice.due_date or "none")),
    )
    wrong = tuple(
        (name, f"proposed {given}, should be {right}") for name, given, right in pairs if given != right
    )
    if wrong:
        return Check(ok=False, name="proposal", title="The proposal differs from the invoice", details=wrong)
    return Check(ok=True, name="proposal", title="The proposal says what the invoice says")


def _amount(value: Decimal | None) -> str:
    return "none" if value is None else written(value)


def _reason(proposal: PostInvoice, failed: list[Check], *, above: bool) -> str:
    """Completes "Asked because …"."""
    parts = []
    if above:
        parts.append(
            f"{written(proposal.amount)} {proposal.currency} is above {written(LIMIT)} {proposal.currency}"
        )
    if len(failed) == 1:
        parts.append(f"a check failed: {failed[0].title}")
    elif failed:
        parts.append(f"{len(failed)} checks failed: {'; '.join(check.title for check in failed)}")
    return " and ".join(parts)


def _evidence(check: Check) -> Evidence:
    return Evidence(ok=check.ok, title=check.title, details=check.details)
