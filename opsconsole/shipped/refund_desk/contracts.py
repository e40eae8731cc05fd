"""The contracts on every edge of the refund desk. No behaviour beyond validation; no file, no database.

Amounts travel as text with exactly two places ("53.90"): a number in JSON would be a binary fraction.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from runs.claims import Claim, Claims
from runs.trust import Untrusted

BODY_LIMIT = 20_000

Folder = Literal["samples", "inbox"]
Language = Literal["en", "de", "fr"]
Wants = Literal["refund", "question", "thanks", "unclear"]
Cause = Literal["unwanted", "damaged", "wrong_item", "not_arrived", "charged_twice", "none"]
Topic = Literal["returns", "sale", "damage", "delivery", "downloads", "vouchers", "none"]
Kind = Literal["refund", "refuse", "ask_back", "answer", "thanks"]
Category = Literal["goods", "clearance", "food", "care", "download", "voucher"]


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _amount(value: Any) -> Decimal:
    text = str(value) if isinstance(value, Decimal) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,9}\.[0-9]{2}", text):
        raise ValueError(f"{text!r:.60} is not an amount written like 53.90")
    return Decimal(text)


def _one_line(value: str) -> str:
    if any(char in value for char in "\n\r\t"):
        raise ValueError("holds line breaks")
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,9}\.[0-9]{2}$"}),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
OrderNumber = Annotated[str, Field(pattern=r"^MP-[0-9]{5}$")]
ClauseNumber = Annotated[str, Field(pattern=r"^[A-Z]-[0-9]\.[0-9]$")]
Item = Annotated[str, Field(pattern=r"^[a-z_]{2,20}$")]
Address = Annotated[str, Field(pattern=r"^[^@\s<>]{1,64}@[A-Za-z0-9.-]{3,190}$")]
ShortText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Body = Annotated[str, Field(min_length=1, max_length=BODY_LIMIT)]


class MessageFile(Contract):
    """What a run starts from; the start form is made from this."""

    folder: Folder = Field(
        default="samples",
        title="Folder",
        description=(
            "samples: the messages that come with the console. "
            "inbox: the folder “messages” among this console's data."
        ),
    )
    file: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        title="File", description="The file's name in that folder, for example 01-kettle-leaks.eml"
    )


class CustomerMessage(Contract):
    """A message as it was read, before anybody has made sense of it."""

    file: str
    message_id: ShortText
    sender: Address
    name: Annotated[str, Untrusted()]
    received: date
    subject: Annotated[str, Untrusted()]
    body: Annotated[Body, Untrusted()]

    @property
    def text(self) -> str:
        return f"{self.subject}\n{self.body}"


class AskedAmount(Contract):
    """What the customer says is to be paid."""

    amount: Amount
    currency: Currency


class Triaged(Contract):
    """What a message wants, as the triager read it. `passage` is the one that made it think so, word for word."""

    language: Language
    wants: Wants
    cause: Cause = "none"
    topic: Topic = "none"
    orders: Annotated[tuple[OrderNumber, ...], Field(max_length=6)] = ()
    items: Annotated[tuple[Item, ...], Field(max_length=12)] = ()
    pieces: Annotated[int, Field(strict=True, ge=1, le=99)] | None = None
    asked: AskedAmount | None = None
    passage: Annotated[str, Field(max_length=400), Untrusted()] = ""


class Case(Contract):
    message: CustomerMessage
    triaged: Triaged


class Check(Contract):
    """One question put to the case and its answer; the title is a sentence an operator reads."""

    ok: Annotated[bool, Field(strict=True)]
    name: str
    title: str
    details: tuple[tuple[str, str], ...] = ()


class Clause(Contract):
    """A clause of our terms, word for word."""

    number: ClauseNumber
    text: str


class Finding(Contract):
    """What our terms say about one order: how much is refunded for which items, or nothing, and by which clause."""

    order: OrderNumber
    amount: Amount
    currency: Currency
    items: tuple[Item, ...]
    clause: ClauseNumber
    why: str


class Brief(Contract):
    """Everything a letter is to say, and what our checks found.

    `limit`: above it a person agrees. `settled`: what was paid is paid; nothing more is after it. `phrases`: sentences
    that may be said as they are.
    """

    message: CustomerMessage
    triaged: Triaged
    kind: Kind
    findings: tuple[Finding, ...] = ()
    clauses: tuple[Clause, ...] = ()
    facts: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    limit: Amount
    settled: Annotated[bool, Field(strict=True)] = False
    remarks: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


class Promise(Contract):
    """An amount that a letter tells the customer."""

    order: OrderNumber
    amount: Amount
    currency: Currency


class Occasion(Contract):
    """What the phrases of a letter depend on: nothing that a customer or an agent has written but the name."""

    name: Annotated[str, Untrusted()]
    language: Language
    kind: Kind
    due: tuple[Promise, ...] = ()
    clauses: tuple[ClauseNumber, ...] = ()


class Phrases(Contract):
    """Sentences of our house that may be said on an occasion."""

    phrases: tuple[str, ...]


class Ground(Contract):
    """What a sentence of the drafter's own rests on: `quote` stands in what `source` gave."""

    sentence: Annotated[str, Field(min_length=1, max_length=1_000)]
    source: Literal["read", "look_up", "check", "phrases"]
    quote: Annotated[str, Field(min_length=1, max_length=1_000)]


class Letter(Contract):
    """A reply as drafted. `promises` and `quotes` say again, as data, what the body tells; `grounds` what shows the
    sentences that are none of the phrases."""

    subject: ShortText
    body: Body
    promises: Annotated[tuple[Promise, ...], Field(max_length=6)] = ()
    quotes: Annotated[tuple[Clause, ...], Field(max_length=12)] = ()
    grounds: Annotated[tuple[Ground, ...], Field(max_length=30)] = ()


class Drafted(Contract):
    brief: Brief
    letter: Letter


class Reviewed(Contract):
    """A letter with what our style has against it."""

    brief: Brief
    letter: Letter
    remarks: tuple[str, ...] = ()


class Sentence(Claim):
    """One sentence of a letter, with the space before it."""

    before: Annotated[str, Field(pattern=r"^\s*$")] = ""


class Wording(Claims):
    """A letter as its sentences. `owed`: money is due before it may be sent."""

    claims: tuple[Sentence, ...] = Field(max_length=500)
    owed: Annotated[bool, Field(strict=True)]


class Refund(Contract):
    """The arguments of `refunds.pay`: what is paid back, and for what. The way back is the way it was paid."""

    order: OrderNumber = Field(title="Order")
    amount: Amount = Field(title="Amount")
    currency: Currency = Field(title="Currency")
    items: tuple[Item, ...] = Field(title="Items", description="What it is paid back for", min_length=1)
    clause: ClauseNumber = Field(title="Clause", description="The clause of our terms it rests on")


class Payment(Contract):
    """How one refund ended: entered under a number, or not and why."""

    order: OrderNumber
    amount: Amount
    entry: Annotated[int, Field(strict=True, ge=1)] | None = None
    reason: Annotated[str, Field(max_length=1000)] = ""


class Paid(Contract):
    payments: Annotated[tuple[Payment, ...], Field(max_length=6)] = ()


class Settling(Contract):
    """What was planned and what was paid, before the two are compared."""

    reviewed: Reviewed
    paid: Paid


class Settled(Contract):
    """What was really paid. `changed`: it is not what the letter says."""

    reviewed: Reviewed
    changed: Annotated[bool, Field(strict=True)]


class Mail(Contract):
    """The arguments of `mail.send`."""

    to: Address = Field(title="To")
    subject: ShortText = Field(title="Subject")
    body: Body = Field(title="Text")
    in_reply_to: ShortText = Field(title="Answers")


class Sent(Contract):
    """How the reply ended: sent under a number, or not and why."""

    sent: Annotated[bool, Field(strict=True)]
    entry: Annotated[int, Field(strict=True, ge=1)] | None = None
    reason: Annotated[str, Field(max_length=1000)] = ""


class Closed(Contract):
    """The run's output."""

    kind: Kind
    refunds: tuple[Promise, ...] = ()
    replied: bool
    reply: int | None = None
    reason: str = ""


class Line(Contract):
    """A line of an order on file. `item` is unique in its order."""

    item: Item
    name: ShortText
    category: Category
    quantity: Annotated[int, Field(strict=True, ge=1)]
    price: Amount
    downloaded: Annotated[bool, Field(strict=True)] = False


class EarlierRefund(Contract):
    """A refund from before this desk kept its book."""

    on: date
    items: tuple[Item, ...]
    amount: Amount


class Order(Contract):
    """An order on file. `payments` are the amounts really taken."""

    number: OrderNumber
    customer: Address
    currency: Currency
    ordered: date
    sent: date | None
    delivered: date | None
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]
    shipping: Amount
    payments: tuple[Amount, ...]
    refunds: tuple[EarlierRefund, ...] = ()

    @property
    def total(self) -> Decimal:
        return sum((line.price * line.quantity for line in self.lines), self.shipping)
