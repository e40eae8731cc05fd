"""What a model costs. An unpriced model is refused, not free (law L5). Prices in millionths of a US dollar."""

from __future__ import annotations

from runs.agents.door import Usage
from runs.errors import DataError

# model prefix -> (input, output), micro-dollars per million tokens. Simulated models carry an invented price,
# so that cost, budgets and screens can be tried; every screen says *simulated* beside it.
PRICES: dict[str, tuple[int, int]] = {"simulated/": (2_500_000, 10_000_000)}


def cost_micros(model: str, usage: Usage) -> int:
    """The price of one call, rounded up. Raises DataError when the model has no price."""
    rate_in, rate_out = price(model)
    return -(-(usage.tokens_in * rate_in + usage.tokens_out * rate_out) // 1_000_000)


def price(model: str) -> tuple[int, int]:
    """Input and output price of a model. Raises DataError when there is none."""
    for prefix, rates in PRICES.items():
        if model.startswith(prefix):
            return rates
    raise DataError(f"Model {model!r} has no price: add one to runs.agents.prices.PRICES.", where="model")
