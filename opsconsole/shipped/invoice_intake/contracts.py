"""The contracts on every edge of the invoice intake. No behaviour beyond validation; no file, no database.

Amounts travel as text with exactly two places ("1204.50"): a number in JSON would be a binary fraction.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from opsconsole.shipped.invoice_intake.accounts import IBAN_PATTERN
from opsconsole.shipped.invoice_intake.notes import is_hidden
from runs.trust import Untrusted, Vouched

UNLISTED = "unlisted"
NOTE_LIMIT = 20_000

Folder = Literal["samples", "inbox"]


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _decimal_text(pattern: str, example: str) -> BeforeValidator:
    compiled = re.compile(pattern)

    def check(value: Any) -> Decimal:
        text = str(value) if isinstance(value, Decimal) else value
        if not isinstance(text, str) or not compiled.fullmatch(text):
            raise ValueError(f"{text!r:.60} is not a number written like {example}")
        return Decimal(text)

    return BeforeValidator(check)


def _iso_date(value: Any) -> date:
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return date.fromisoformat(value)
    raise ValueError(f"{value!r:.60} is not a date written like 2026-09-14")


def _one_visible_line(value: str) -> str:
    if any(is_hidden(char) or char in "\n\r\t" for char in value):
        raise ValueError("holds hidden characters or line breaks")
    return value


Amount = Annotated[
    Decimal,
    _decimal_text(r"-?[0-9]{1,12}\.[0-9]{2}", "1204.50"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,12}\.[0-9]{2}$"}),
]
Price = Annotated[
    Decimal,
    _decimal_text(r"-?[0-9]{1,12}\.[0-9]{2,4}", "84.50 or 0.1250"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,12}\.[0-9]{2,4}$"}),
]
Quantity = Annotated[
    Decimal,
    _decimal_text(r"-?[0-9]{1,9}(?:\.[0-9]{1,3})?", "12 or 1.5"),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,9}(\.[0-9]{1,3})?$"}),
]
Rate = Annotated[
    Decimal,
    _decimal_text(r"[0-9]{1,2}(?:\.[0-9]{1,2})?", "19 or 5.5"),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9]{1,2})?$"}),
]
Day = Annotated[date, BeforeValidator(_iso_date), WithJsonSchema({"type": "string", "format": "date"})]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Iban = Annotated[str, Field(pattern=IBAN_PATTERN)]
ShortText = Annotated[str, Field(min_length=1, max_length=160), AfterValidator(_one_visible_line)]
Reference = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_one_visible_line)]


class InvoiceFile(Contract):
    """What a run starts from; the start form is made from this."""

    folder: Folder = Field(
        default="samples",
        title="Folder",
        description=(
            "samples: the invoices that come with the console. "
            "inbox: the folder “invoices” among this console's data."
        ),
    )
    file: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        title="File", description="The file's name in that folder, for example 01-norrland.xml"
    )
    goal: Annotated[str, Field(max_length=500)] = Field(
        default="", title="Goal", description="Why this run is started, in a sentence. May stay empty."
    )


class Document(Contract):
    """A file as it was read, before anybody has made sense of it."""

    folder: Folder
    file: str
    kind: Literal["ubl", "text"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(strict=True, ge=1)]
    text: Annotated[str, Untrusted()]


class Line(Contract):
    description: ShortText
    quantity: Quantity
    unit_price: Price
    vat_rate: Rate | None = None
    amount: Amount


class Tax(Contract):
    """One VAT rate of the invoice: on what, how much. `base` is None where the paper does not state it."""

    rate: Rate
    base: Amount | None = None
    amount: Amount


class Extracted(Contract):
    """The invoice as the extractor read it. Says what the paper says, right or wrong."""

    invoice_number: Reference
    supplier_name: ShortText
    supplier_vat_id: Reference | None = None
    issue_date: Day
    due_date: Day | None = None
    currency: Currency
    purchase_order: Reference | None = None
    iban: Iban | None = None
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=200)]
    taxes: Annotated[tuple[Tax, ...], Field(max_length=20)] = ()
    net: Amount
    vat: Amount
    gross: Amount
    note: Annotated[str, Field(max_length=NOTE_LIMIT), Untrusted()] = ""


class Check(Contract):
    """One question put to the invoice and its answer; the title is a sentence an operator reads."""

    ok: Annotated[bool, Field(strict=True)]
    name: str
    title: str
    details: tuple[tuple[str, str], ...] = ()


class Checked(Contract):
    """The invoice with what its own figures, dates and note say."""

    invoice: Extracted
    checks: tuple[Check, ...]


class Supplier(Contract):
    """A supplier on file. `vat_id` without gaps; `iban` is the one account that may be paid."""

    id: Annotated[str, Field(pattern=r"^S-[0-9]{4}$")]
    name: ShortText
    vat_id: Reference
    currency: Currency
    iban: Iban


class OrderLine(Contract):
    description: ShortText
    quantity: Quantity
    unit_price: Price


class PurchaseOrder(Contract):
    """An order on file. Amounts include VAT, so that they compare with what an invoice asks for."""

    number: Reference
    supplier_id: str
    currency: Currency
    total: Amount
    invoiced_before: Amount
    lines: tuple[OrderLine, ...]


class Matched(Contract):
    """The invoice with all its checks, the supplier and the order on file, as far as they were found.

    `order_posted`: what the ledger had against that order when it was checked.
    """

    invoice: Extracted
    checks: tuple[Check, ...]
    supplier: Annotated[Supplier | None, Vouched()] = None
    order: Annotated[PurchaseOrder | None, Vouched()] = None
    order_posted: Annotated[Amount | None, Vouched()] = None


class PostInvoice(Contract):
    """The arguments of `ledger.post_invoice`: what is written to the ledger and paid."""

    invoice_number: Annotated[Reference, Vouched()] = Field(title="Invoice number")
    supplier_id: Annotated[str, Field(pattern=rf"^(S-[0-9]{{4}}|{UNLISTED})$")] = Field(
        title="Supplier", description=f"A supplier's number, S-1001, or “{UNLISTED}”"
    )
    supplier_name: ShortText = Field(title="Supplier's name")
    amount: Amount = Field(title="Amount", description="What is paid, VAT included")
    currency: Currency = Field(title="Currency")
    iban: Iban = Field(title="Account (IBAN)")
    purchase_order: Annotated[Reference | None, Vouched()] = Field(default=None, title="Purchase order")
    due_date: Day | None = Field(default=None, title="Due date")
    memo: Annotated[str, Field(max_length=500)] = Field(default="", title="Memo")
    order_posted: Annotated[Amount | None, Vouched()] = Field(
        default=None,
        title="Posted against the order",
        description="When it was checked; as the check says it",
    )


class Posted(Contract):
    """How it ended: posted under an entry number, or not and why."""

    posted: Annotated[bool, Field(strict=True)]
    entry: Annotated[int, Field(strict=True, ge=1)] | None = None
    reason: Annotated[str, Field(max_length=1000)] = ""
