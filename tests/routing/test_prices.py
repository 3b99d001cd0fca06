"""Our plain arithmetic and the library's own come to the same dollars."""

from __future__ import annotations

from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import ConfigError
from mesh.job import Target
from mesh.settings import parse_config
from routing import prices
from routing.prices import Most

CONFIG = """
provider_models: {}
providers:
  openai: {adapter: openai}
  ollama: {adapter: ollama, private: true}
models:
  gpt-4o-ours: {input_usd_per_mtok: 2, output_usd_per_mtok: 8.5}
  openai/gpt-4o-ours-too:
    {input_usd_per_mtok: 2, output_usd_per_mtok: 8, cached_usd_per_mtok: 0, written_usd_per_mtok: 3}
  ollama/rented: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}
  only-facts: {context_window: 1000}
"""
PRICES = prices.PriceList(parse_config(CONFIG))
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4"),
    ("openai", "gpt-4-turbo"),
    ("openai", "gpt-4.1"),
    ("openai", "gpt-4.1-mini"),
    ("openai", "gpt-5"),
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-3.5-turbo"),
    ("openai", "o1"),
    ("openai", "o3"),
    ("openai", "o3-mini"),
    ("openai", "o4-mini"),
    ("openai", "text-embedding-3-small"),
    ("openai", "text-embedding-3-large"),
    ("anthropic", "claude-3-5-sonnet-latest"),
    ("anthropic", "claude-3-haiku-20240307"),
    ("anthropic", "claude-3-opus-latest"),
    ("anthropic", "claude-opus-4-0"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-1.5-flash"),
    ("google", "gemini-2.5-pro"),
    ("mistral", "mistral-large-latest"),
]
USAGES = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (11, 7, 0), (1000, 500, 900), (1000, 500, 1000), (999_999, 12_345, 1)]


def theirs(target: Target, prompt: int, completion: int, cached: int) -> Decimal:
    usage = genai_prices.Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=cached)
    return genai_prices.calc_price(usage, model_ref=target.model, provider_id=target.provider).total_price


def ours(target: Target, prompt: int, completion: int, cached: int) -> Decimal | None:
    details = {"prompt_tokens_details": {"cached_tokens": cached}} if cached else {}
    return PRICES.cost_usd(target, {"prompt_tokens": prompt, "completion_tokens": completion, **details})


@pytest.mark.parametrize("model", MODELS, ids=lambda model: "/".join(model))
def test_ours_are_the_librarys_figures(model: tuple[str, str]) -> None:
    target = Target(*model)
    for usage in USAGES:
        assert ours(target, *usage) == theirs(target, *usage), usage


@given(st.sampled_from(MODELS), st.integers(0, 2_000_000), st.integers(0, 200_000), st.floats(0, 1))
def test_for_any_usage(model: tuple[str, str], prompt: int, completion: int, share: float) -> None:
    usage = (prompt, completion, int(prompt * share))
    assert ours(Target(*model), *usage) == theirs(Target(*model), *usage)


@pytest.mark.parametrize("target", [Target("openai", "no-such-model"), Target("nobody", "gpt-4o")])
def test_an_unknown_price_is_none_and_not_nothing(target: Target) -> None:
    assert PRICES.cost_usd(target, {"prompt_tokens": 1, "completion_tokens": 1}) is None
    assert PRICES.ceiling_usd(target, Most(100, 100)) is None


def test_our_own_machines_are_free() -> None:
    assert PRICES.cost_usd(Target("ollama", "anything"), {"prompt_tokens": 10**9, "completion_tokens": 1}) == 0


@pytest.mark.parametrize(
    ("target", "usd"),
    [
        pytest.param(Target("openai", "gpt-4o-ours"), "2.85", id="instead of the list's, the cache as the input"),
        pytest.param(Target("ollama", "gpt-4o-ours"), "2.85", id="at any provider"),
        pytest.param(Target("openai", "gpt-4o-ours-too"), "2.3", id="at one provider, with the cache's"),
        pytest.param(Target("ollama", "gpt-4o-ours-too"), "0", id="and at no other"),
        pytest.param(Target("ollama", "rented"), "1.1", id="on a machine of our own"),
        pytest.param(Target("openai", "only-facts"), None, id="an entry without a price"),
    ],
)
def test_the_config_may_set_a_price(target: Target, usd: str | None) -> None:
    details = {"cached_tokens": 300_000, "cache_write_tokens": 100_000}
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000, "prompt_tokens_details": details}
    cost = PRICES.cost_usd(target, usage)
    assert cost == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    "prices_",
    [
        pytest.param("input_usd_per_mtok: 1", id="an input's alone"),
        pytest.param("cached_usd_per_mtok: 1", id="a cache's alone"),
        pytest.param("input_usd_per_mtok: -1, output_usd_per_mtok: 1", id="below nothing"),
        pytest.param("input_usd_per_mtok: .nan, output_usd_per_mtok: 1", id="no number"),
        pytest.param("input_usd_per_mtoken: 1", id="a typing error"),
    ],
)
def test_half_a_price_is_refused_with_its_place(prices_: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.m"):
        parse_config(f"provider_models: {{}}\nproviders: {{}}\nmodels: {{m: {{{prices_}}}}}")


@pytest.mark.parametrize(
    "usage", [{}, {"prompt_tokens": None}, {"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": None}]
)
def test_a_usage_that_says_nothing_costs_nothing(usage: dict[str, None]) -> None:
    assert PRICES.cost_usd(Target("openai", "gpt-4o"), usage) == 0


def test_a_ceiling_is_never_below_the_cost() -> None:
    target = Target("openai", "gpt-4o")
    for chars, answer in ((0, 1), (10, 10), (4000, 500), (100_000, 4096)):
        highest = PRICES.ceiling_usd(target, Most(chars, answer))
        real = PRICES.cost_usd(target, {"prompt_tokens": chars // 2, "completion_tokens": answer})
        assert highest is not None and real is not None and highest >= real
    assert PRICES.ceiling_usd(target, Most(10)) == PRICES.ceiling_usd(target, Most(10, 4096))


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        ("0", "0"),
        ("0.10", "0.1"),
        ("1E-7", "0.0000001"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("0.000005850", "0.00000585"),
    ],
)
def test_dollars_are_written_without_an_exponent(usd: str, text: str) -> None:
    assert prices.plain(Decimal(usd)) == text
