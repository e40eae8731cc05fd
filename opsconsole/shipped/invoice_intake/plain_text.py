"""Invoices as plain text, in the layouts and languages people write them, to raw fields. Never checks.

Reads labels (English, German, French, Swedish, Dutch), one table of lines with a heading row or lines such as
"3 x Toner @ 89.00 = …", and the totals below. What cannot be read with certainty is handed on as it stands.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

from opsconsole.shipped.invoice_intake.accounts import compact
from opsconsole.shipped.invoice_intake.amounts import (
    CURRENCIES,
    as_amount,
    as_price,
    as_quantity,
    as_rate,
    decimal_mark,
    read_number,
)
from opsconsole.shipped.invoice_intake.dates import as_iso
from opsconsole.shipped.invoice_intake.documents import DocumentRefused
from opsconsole.shipped.invoice_intake.labels import (
    COLUMNS,
    ENGLISH,
    FIELDS,
    GROSS,
    NET,
    NOTE,
    TITLES,
    VAT_ROW,
    VAT_TOTAL,
)

ROW_LIMIT = 1_000
ROWS_LIMIT = 5_000

_SYMBOLS = {"€": "EUR", "£": "GBP", "US$": "USD", "kr": "SEK"}
_TIMES = re.compile(
    r"^\s*(?:[-*•]\s*)?(?P<quantity>[\d.,]+)\s*[x×]\s+(?P<description>[^@=]+?)\s+(?:@|à|zu)\s+(?P<unit_price>[^@=]+?)\s*=\s*"
    r"(?P<amount>[^=()]+?)\s*\(\s*(?:VAT|USt\.?|MwSt\.?|TVA|moms|btw)\s*(?P<vat_rate>[\d.,]+)\s*%\s*\)\s*$",
    re.IGNORECASE,
)


def invoice(text: str) -> None:
    """Raises DocumentRefused for text that has not the shape of an invoice and would only cost time."""
    rows = _split_note(text)[0].splitlines()
    if len(rows) > ROWS_LIMIT or any(len(row) > ROW_LIMIT for row in rows):
        raise DocumentRefused(
            f"The text has rows of more than {ROW_LIMIT:,} characters or more than {ROWS_LIMIT:,} rows; "
            "an invoice has not."
        )


def fields(text: str) -> dict[str, object]:
    """The invoice's fields in the contract's names; what is not there is None or empty. Raises DocumentRefused."""
    invoice(text)
    body, note = _split_note(text)
    mark = decimal_mark(body)
    rows = body.splitlines()
    head = {name: _labelled(body, name) for name in FIELDS}
    taxes = list(_taxes(rows, mark))
    day_first = not ENGLISH.search(body)
    return {
        "invoice_number": head["invoice_number"],
        "supplier_name": head["supplier_name"] or _letterhead(rows),
        "supplier_vat_id": head["supplier_vat_id"],
        "issue_date": as_iso(head["issue_date"] or "", day_first=day_first),
        "due_date": as_iso(head["due_date"], day_first=day_first) if head["due_date"] else None,
        "currency": _currency(head["currency"], body),
        "purchase_order": head["purchase_order"],
        "iban": compact(head["iban"]) if head["iban"] else None,
        "lines": list(_lines(rows, mark)),
        "taxes": taxes,
        "net": _total(rows, NET, mark),
        "vat": _total(rows, VAT_TOTAL, mark) or _sum(taxes),
        "gross": _total(rows, GROSS, mark),
        "note": note,
    }


def _split_note(text: str) -> tuple[str, str]:
    match = NOTE.search(text)
    return (text[: match.start()], text[match.end() :].strip()) if match else (text, "")


def _labelled(body: str, name: str) -> str | None:
    match = FIELDS[name].search(body)
    return match.group("value").strip().rstrip("|").strip() or None if match else None


def _letterhead(rows: list[str]) -> str | None:
    """Without a label, who sends an invoice stands in its first line that is no title."""
    for row in rows:
        name = row.strip(" \t*=-_#|")
        if name and not TITLES.fullmatch(name):
            return re.split(r"\s{2,}|\s[|·]\s", name)[0]
    return None


def _currency(stated: str | None, body: str) -> str | None:
    if stated:
        return _SYMBOLS.get(stated, stated)
    found = {code for sign, code in _SYMBOLS.items() if re.search(rf"(?<!\w){re.escape(sign)}(?!\w)", body)}
    found |= set(re.findall(rf"(?<=\d )(?:{CURRENCIES})\b|\b(?:{CURRENCIES})(?= \d)", body))
    return found.pop() if len(found) == 1 else None


def _cells(row: str) -> list[str]:
    if row.count("|") >= 2:
        return [cell.strip() for cell in row.strip().strip("|").split("|")]
    return [cell for cell in re.split(r"\s{2,}|\t+", row.strip()) if cell]


def _lines(rows: list[str], mark: str | None) -> Iterator[dict[str, object]]:
    columns: list[str] = []
    for row in rows:
        if match := _TIMES.match(row):
            yield _line(match.groupdict(), mark)
            continue
        if not columns:
            columns = _columns(row)
            continue
        if _is_total(row):
            return
        cells = _cells(row)
        if len(cells) == len(columns) and re.search(r"\d", cells[-1]):
            yield _line(dict(zip(columns, cells, strict=True)), mark)


def _columns(row: str) -> list[str]:
    names = [COLUMNS.get(cell.casefold().rstrip("."), "other") for cell in _cells(row)]
    return names if {"description", "quantity", "unit_price", "amount"} <= set(names) else []


def _line(cells: dict[str, str], mark: str | None) -> dict[str, object]:
    rate = cells.get("vat_rate")
    return {
        "description": cells["description"],
        "quantity": as_quantity(_bare(cells["quantity"]), mark=mark),
        "unit_price": as_price(cells["unit_price"], mark=mark),
        "vat_rate": as_rate(rate, mark=mark) if rate else None,
        "amount": as_amount(cells["amount"], mark=mark),
    }


def _bare(quantity: str) -> str:
    """Without its unit: "12 pcs", "3,5 Std."."""
    return re.sub(r"\s*[^\W\d_]+\.?$", "", quantity) if quantity[:1].isdigit() else quantity


def _is_total(row: str) -> bool:
    return any(pattern.match(row) for pattern in (NET, VAT_ROW, VAT_TOTAL, GROSS))


def _total(rows: list[str], label: re.Pattern[str], mark: str | None) -> str:
    """The amount at the end of the last row with that label; "" when there is none."""
    found = [_last(row[match.end() :]) for row in rows if (match := label.match(row))]
    return as_amount(found[-1], mark=mark) if found else ""


def _last(rest: str) -> str:
    cells = _cells(rest.strip(" .:|_"))
    return cells[-1] if cells else ""


def _taxes(rows: list[str], mark: str | None) -> Iterator[dict[str, object]]:
    for row in rows:
        match = VAT_ROW.match(row)
        if not match:
            continue
        base = match.group("base")
        yield {
            "rate": as_rate(match.group("rate"), mark=mark),
            "base": as_amount(base, mark=mark) if base else None,
            "amount": as_amount(_last(row[match.end() :]), mark=mark),
        }


def _sum(taxes: list[dict[str, object]]) -> str:
    """VAT that is stated by rate only. An unreadable part is handed on, so that the contract names it."""
    total = Decimal("0.00")
    for tax in taxes:
        amount = read_number(str(tax["amount"]), mark=".")
        if amount is None:
            return str(tax["amount"])
        total += amount
    return f"{total:.2f}" if taxes else ""
