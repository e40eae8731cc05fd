"""UBL 2.1 invoices to raw fields. Extracts, never checks; declares nothing right.

Parsed with the standard library after refusing what makes XML dangerous: a DOCTYPE or ENTITY anywhere (so no
expansion, no external entity) and nesting deeper than an invoice has.
"""

import io
import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from opsconsole.shipped.invoice_intake.accounts import compact
from opsconsole.shipped.invoice_intake.amounts import as_amount, as_price, as_quantity, as_rate
from opsconsole.shipped.invoice_intake.dates import as_iso
from opsconsole.shipped.invoice_intake.documents import DocumentRefused

DEPTH_LIMIT = 40

_INVOICE = "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
_CREDIT_NOTE = "urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2"
_NAMES = {
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
}
_SELLER = "cac:AccountingSupplierParty/cac:Party"
_TOTALS = "cac:LegalMonetaryTotal"
_POINT = "."  # xs:decimal knows no other mark


def fields(text: str) -> dict[str, object]:
    """The invoice's fields as they stand in the XML, in the contract's names. Raises DocumentRefused."""
    root = invoice(text)
    return {
        "invoice_number": _at(root, "cbc:ID"),
        "supplier_name": _at(root, f"{_SELLER}/cac:PartyLegalEntity/cbc:RegistrationName")
        or _at(root, f"{_SELLER}/cac:PartyName/cbc:Name"),
        "supplier_vat_id": _at(root, f"{_SELLER}/cac:PartyTaxScheme/cbc:CompanyID"),
        "issue_date": as_iso(_at(root, "cbc:IssueDate") or ""),
        "due_date": _date(_at(root, "cbc:DueDate") or _at(root, "cac:PaymentTerms/cbc:PaymentDueDate")),
        "currency": _at(root, "cbc:DocumentCurrencyCode"),
        "purchase_order": _at(root, "cac:OrderReference/cbc:ID"),
        "iban": _account(root),
        "lines": [_line(line) for line in root.findall("cac:InvoiceLine", _NAMES)],
        "taxes": [_tax(tax) for tax in root.findall("cac:TaxTotal/cac:TaxSubtotal", _NAMES)],
        "net": as_amount(_at(root, f"{_TOTALS}/cbc:TaxExclusiveAmount") or "", mark=_POINT),
        "vat": as_amount(_at(root, "cac:TaxTotal/cbc:TaxAmount") or "", mark=_POINT),
        "gross": as_amount(_at(root, f"{_TOTALS}/cbc:PayableAmount") or "", mark=_POINT),
        "note": "\n".join(note.text or "" for note in root.findall("cbc:Note", _NAMES)),
    }


def invoice(text: str) -> Element:
    """The root element of a well-formed UBL invoice. Raises DocumentRefused for anything else."""
    root = _root(text)
    if root.tag == f"{{{_CREDIT_NOTE}}}CreditNote":
        raise DocumentRefused("This is a credit note; the invoice intake takes invoices only.")
    if root.tag != f"{{{_INVOICE}}}Invoice":
        raise DocumentRefused(f"The XML is not a UBL 2.1 invoice: its root is {root.tag:.120}.")
    return root


def _root(text: str) -> Element:
    if re.search(r"<!\s*(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise DocumentRefused("The XML declares a document type or entities; such files are refused unread.")
    # The text is decoded already: a declaration that names another encoding would be obeyed a second time.
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", text)
    depth = 0
    root: Element | None = None
    try:
        for event, element in ElementTree.iterparse(io.BytesIO(body.encode()), events=("start", "end")):
            depth += 1 if event == "start" else -1
            if depth > DEPTH_LIMIT:
                raise DocumentRefused("The XML is nested deeper than an invoice is.")
            root = element if root is None else root
    except ElementTree.ParseError as error:
        raise DocumentRefused(f"The XML is not well-formed: {error}.") from None
    if root is None:
        raise DocumentRefused("The XML holds no element.")
    return root


def _at(element: Element, path: str) -> str | None:
    found = element.find(path, _NAMES)
    text = found.text.strip() if found is not None and found.text else ""
    return text or None


def _date(text: str | None) -> str | None:
    return as_iso(text) if text else None


def _account(root: Element) -> str | None:
    text = _at(root, "cac:PaymentMeans/cac:PayeeFinancialAccount/cbc:ID")
    return compact(text) if text else None


def _line(line: Element) -> dict[str, object]:
    rate = _at(line, "cac:Item/cac:ClassifiedTaxCategory/cbc:Percent")
    return {
        "description": _at(line, "cac:Item/cbc:Name") or "",
        "quantity": as_quantity(_at(line, "cbc:InvoicedQuantity") or "", mark=_POINT),
        "unit_price": as_price(_at(line, "cac:Price/cbc:PriceAmount") or "", mark=_POINT),
        "vat_rate": as_rate(rate, mark=_POINT) if rate else None,
        "amount": as_amount(_at(line, "cbc:LineExtensionAmount") or "", mark=_POINT),
    }


def _tax(tax: Element) -> dict[str, object]:
    base = _at(tax, "cbc:TaxableAmount")
    return {
        "rate": as_rate(_at(tax, "cac:TaxCategory/cbc:Percent") or "", mark=_POINT),
        "base": as_amount(base, mark=_POINT) if base else None,
        "amount": as_amount(_at(tax, "cbc:TaxAmount") or "", mark=_POINT),
    }
