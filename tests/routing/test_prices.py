"""Our plain arithmetic and the library's own come to the same dollars."""

from __future__ import annotations

from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.job import Target
from routing import prices

PRICES = prices.PriceList(["ollama"])
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
    assert PRICES.ceiling_usd(target, 100, 100) is None


def test_our_own_machines_are_free() -> None:
    assert PRICES.cost_usd(Target("ollama", "anything"), {"prompt_tokens": 10**9, "completion_tokens": 1}) == 0


@pytest.mark.parametrize(
    "usage", [{}, {"prompt_tokens": None}, {"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": None}]
)
def test_a_usage_that_says_nothing_costs_nothing(usage: dict[str, None]) -> None:
    assert PRICES.cost_usd(Target("openai", "gpt-4o"), usage) == 0


def test_a_ceiling_is_never_below_the_cost() -> None:
    target = Target("openai", "gpt-4o")
    for chars, answer in ((0, 1), (10, 10), (4000, 500), (100_000, 4096)):
        highest = PRICES.ceiling_usd(target, chars, answer)
        real = PRICES.cost_usd(target, {"prompt_tokens": chars // 2, "completion_tokens": answer})
        assert highest is not None and real is not None and highest >= real
    assert PRICES.ceiling_usd(target, 10, None) == PRICES.ceiling_usd(target, 10, 4096)


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
