"""What a call costs: the stated price, the published one, or none, which is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from runs.agents import providers
from runs.agents.door import Usage
from runs.agents.endpoints import OFFICIAL, Endpoint, Kind
from runs.agents.prices import cost_micros, price
from runs.errors import DataError


@pytest.fixture(autouse=True)
def _official(endpoints: dict[str, Endpoint]) -> None:
    providers.register(
        Endpoint(name=str(kind), kind=kind, url=OFFICIAL[kind], key="sk-0123456789") for kind in Kind
    )


def test_a_stated_price_goes_before_a_published_one(settings: Settings) -> None:
    settings.MODEL_PRICES = {"openai/gpt-4o-mini": (1_000_000, 2_000_000, 500_000), "openai/": (7, 7, 7)}
    assert price("openai/gpt-4o-mini") == (1_000_000, 2_000_000)
    assert cost_micros("openai/gpt-4o-mini", Usage(tokens_in=1000, tokens_out=10, cached_in=400)) == 820
    assert price("openai/gpt-4o") == (7, 7)


def test_a_price_of_a_model_is_not_that_of_another_whose_name_begins_the_same(settings: Settings) -> None:
    settings.MODEL_PRICES = {"local/tiny": (1, 1, 1)}
    with pytest.raises(DataError):
        price("local/tiny-large")


def test_a_published_price_is_found_by_the_provider() -> None:
    assert price("openai/gpt-4o-mini") == (150_000, 600_000)
    assert cost_micros("openai/gpt-4o-mini", Usage(tokens_in=1000, tokens_out=50)) == 180
    cached = Usage(tokens_in=1_000_000, tokens_out=0, cached_in=1_000_000)
    assert cost_micros("openai/gpt-4o-mini", cached) == 75_000


def test_a_price_by_size_is_charged_by_size_and_reserved_at_its_dearest() -> None:
    small = cost_micros("anthropic/claude-sonnet-4-5", Usage(tokens_in=1000, tokens_out=0))
    large = cost_micros("anthropic/claude-sonnet-4-5", Usage(tokens_in=1_000_000, tokens_out=0))
    assert large > 1000 * small
    assert price("anthropic/claude-sonnet-4-5")[0] == large


@pytest.mark.parametrize("model", ["local/llama-3", "openai/gpt-9-imaginary", "nobody/x", "openai", ""])
def test_a_model_without_a_price_is_refused_with_the_setting_to_change(model: str) -> None:
    with pytest.raises(DataError, match="MODEL_PRICES"):
        price(model)


def test_simulated_and_recorded_models_have_prices_of_their_own() -> None:
    assert cost_micros("recorded/gpt-4o", Usage(tokens_in=10**6, tokens_out=10**6)) == 0
    assert price("simulated/any") == (2_500_000, 10_000_000)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_cost_is_whole_and_never_rounded_down(tokens_in: int, tokens_out: int) -> None:
    micros = cost_micros("simulated/any", Usage(tokens_in=tokens_in, tokens_out=tokens_out))
    exact = tokens_in * 2_500_000 + tokens_out * 10_000_000
    assert 0 <= micros * 1_000_000 - exact < 1_000_000
