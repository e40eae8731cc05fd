"""The orders on file: one JSON file, kept by others. Reads only.

The setting REFUND_ORDERS names another file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from pydantic import TypeAdapter

from opsconsole.shipped.refund_desk.contracts import Order
from opsconsole.shipped.refund_desk.messages import SAMPLES

_ORDERS = TypeAdapter(tuple[Order, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    by_number: Mapping[str, Order]

    def order(self, number: str) -> Order | None:
        return self.by_number.get(number)

    def of(self, customer: str) -> tuple[Order, ...]:
        """Every order that was placed from an address."""
        return tuple(order for order in self.by_number.values() if order.customer == customer)


def current() -> Orders:
    """The orders as the file is now. Raises OSError or ValidationError when it is unusable."""
    path = Path(getattr(settings, "REFUND_ORDERS", SAMPLES / "orders.json"))
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: Path, _changed: int) -> Orders:
    return Orders(by_number={order.number: order for order in _ORDERS.validate_json(path.read_bytes())})
