"""Suppliers and purchase orders on file: two JSON files, kept by others. Reads only.

The setting INVOICE_REGISTER names another folder with `suppliers.json` and `purchase_orders.json`.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from pydantic import TypeAdapter

from opsconsole.shipped.invoice_intake.contracts import PurchaseOrder, Supplier
from opsconsole.shipped.invoice_intake.documents import SAMPLES

_SUPPLIERS = TypeAdapter(tuple[Supplier, ...])
_ORDERS = TypeAdapter(tuple[PurchaseOrder, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """What is on file, looked up the way an invoice names it."""

    suppliers: tuple[Supplier, ...]
    orders: tuple[PurchaseOrder, ...]

    def supplier(self, *, name: str, vat_id: str | None) -> Supplier | None:
        """The supplier of that VAT number, else of that name (capitals, points and accents do not matter)."""
        for supplier in self.suppliers:
            if vat_id and _letters(supplier.vat_id) == _letters(vat_id):
                return supplier
        return next((known for known in self.suppliers if _letters(known.name) == _letters(name)), None)

    def supplier_with_id(self, supplier_id: str) -> Supplier | None:
        return next((known for known in self.suppliers if known.id == supplier_id), None)

    def order(self, number: str) -> PurchaseOrder | None:
        return next((known for known in self.orders if _letters(known.number) == _letters(number)), None)


def current() -> Register:
    """The register as its files are now. Raises OSError or ValidationError when they are unusable."""
    folder = Path(getattr(settings, "INVOICE_REGISTER", SAMPLES))
    suppliers, orders = folder / "suppliers.json", folder / "purchase_orders.json"
    return _load(suppliers, orders, suppliers.stat().st_mtime_ns, orders.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(suppliers: Path, orders: Path, *_changed: int) -> Register:
    return Register(
        suppliers=_SUPPLIERS.validate_json(suppliers.read_bytes()),
        orders=_ORDERS.validate_json(orders.read_bytes()),
    )


def _letters(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[\W_]", "", "".join(char for char in folded if not unicodedata.combining(char)))
