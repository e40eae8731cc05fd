"""What a model costs. An unpriced model is refused, not free (law L5). Prices in millionths of a US dollar.

Looked up in this order: the setting MODEL_PRICES, our table, then the prices that genai_prices publishes (a snapshot
in its package; nothing is fetched). That one takes half a second and 30 MB to load: only for a model that needs it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.conf import settings

from runs.agents import providers
from runs.agents.door import Usage
from runs.errors import Unpriced

# "provider/model", or "provider/" for all of a provider's models -> (input, output), micro-dollars per million
# tokens. Simulated models carry an invented price, so that cost, budgets and screens can be tried; every screen says
# *simulated* beside it. A recorded run spends nothing now.
PRICES: dict[str, tuple[int, int]] = {"simulated/": (2_500_000, 10_000_000), "recorded/": (0, 0)}
_MILLION = 1_000_000


def cost_micros(model: str, usage: Usage) -> int:
    """The price of one call, rounded up. Raises Unpriced when the model has no price."""
    rates = _stated(model)
    if rates is None:
        return _published_cost(model, usage)
    cached = rates[2] if len(rates) > 2 else rates[0]
    fresh = usage.tokens_in - usage.cached_in
    return -(-(fresh * rates[0] + usage.cached_in * cached + usage.tokens_out * rates[1]) // _MILLION)


def price(model: str) -> tuple[int, int]:
    """Input and output price of a model, the dearest where it depends on the size of the request.

    Raises Unpriced when there is none.
    """
    rates = _stated(model)
    if rates is not None:
        return rates[0], rates[1]
    published = _published(model, Usage()).model_price
    dearest = [_dearest(published.input_mtok), _dearest(published.output_mtok)]
    if None in dearest:
        raise _unpriced(model)
    return _micros(dearest[0]), _micros(dearest[1])


def _stated(model: str) -> Sequence[int] | None:
    """The price that we state: for exactly this model, else for its whole provider."""
    tables: tuple[Mapping[str, Sequence[int]], ...] = (settings.MODEL_PRICES, PRICES)
    for name in (model, model.partition("/")[0] + "/"):
        for table in tables:
            if name in table:
                return table[name]
    return None


def _published_cost(model: str, usage: Usage) -> int:
    try:
        return _micros(_published(model, usage).total_price)
    except (ValueError, TypeError, ArithmeticError):  # a rule of its data that this usage breaks
        rate_in, rate_out = price(model)
        return -(-(usage.tokens_in * rate_in + usage.tokens_out * rate_out) // _MILLION)


def _published(model: str, usage: Usage) -> Any:
    """genai_prices' calculation, found by the provider's address, else by the protocol it speaks."""
    name, _, theirs = model.partition("/")
    endpoint = providers.endpoint(name)
    if endpoint is None:
        raise _unpriced(model)
    import genai_prices  # half a second

    used = genai_prices.Usage(
        input_tokens=usage.tokens_in, output_tokens=usage.tokens_out, cache_read_tokens=usage.cached_in
    )
    with contextlib.suppress(LookupError):
        return genai_prices.calc_price(used, theirs, provider_api_url=endpoint.url)
    with contextlib.suppress(LookupError):
        return genai_prices.calc_price(used, theirs, provider_id=str(endpoint.kind))
    raise _unpriced(model)


def _dearest(rate: Any) -> Decimal | None:
    """One price, or the highest of its tiers."""
    if rate is None or isinstance(rate, Decimal):
        return rate
    return max(Decimal(rate.base), *(Decimal(tier.price) for tier in rate.tiers))


def _micros(dollars: Any) -> int:
    return math.ceil(Decimal(dollars) * _MILLION)


def _unpriced(model: str) -> Unpriced:
    return Unpriced(
        f"Model {model!r} has no price: state it in MODEL_PRICES, as {model}=IN/OUT in dollars per million tokens.",
        where="model",
    )
