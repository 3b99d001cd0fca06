"""What tokens cost, by the offline list of genai-prices; a private provider's are free.

The library's own arithmetic takes 50 µs a call. For models with plain prices ours takes 1, and a test holds the two
together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import genai_prices

from mesh.job import Target

_MILLION = Decimal(1_000_000)
_FREE = ("ollama",)  # runs on our own machines
_DEFAULT_ANSWER_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class _Plain:
    """Dollars per million tokens."""

    input: Decimal
    output: Decimal
    cached: Decimal

    def usd(self, prompt: int, cached: int, answer: int) -> Decimal:
        return ((prompt - cached) * self.input + cached * self.cached + answer * self.output) / _MILLION


Price = Callable[[int, int, int], Decimal]  # dollars for this many prompt tokens, cached ones among them, answer tokens


@functools.lru_cache(maxsize=4096)
def _price(target: Target) -> Price | None:
    if target.provider in _FREE:
        return lambda prompt, cached, answer: Decimal(0)
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1, output_tokens=1), model_ref=target.model, provider_id=target.provider
        ).model_price
    except LookupError:
        return None
    input_, output, cached = found.input_mtok, found.output_mtok, found.cache_read_mtok
    if isinstance(input_, Decimal) and isinstance(output, Decimal) and isinstance(cached, Decimal | None):
        plain = _Plain(input_, output, input_ if cached is None else cached)
        return plain.usd
    return functools.partial(_by_the_library, target)  # tiered by length, or not per token at all


def _by_the_library(target: Target, prompt: int, cached: int, answer: int) -> Decimal:
    usage = genai_prices.Usage(input_tokens=prompt, output_tokens=answer, cache_read_tokens=cached)
    return genai_prices.calc_price(usage, model_ref=target.model, provider_id=target.provider).total_price


def cost_usd(target: Target, usage: Mapping[str, Any]) -> Decimal | None:
    """The list price of an OpenAI-shaped usage; None when nobody knows the model's price."""
    price = _price(target)
    if price is None:
        return None
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return price(usage.get("prompt_tokens") or 0, cached, usage.get("completion_tokens") or 0)


def ceiling_usd(target: Target, prompt_chars: int, max_tokens: int | None) -> Decimal | None:
    """What a request may cost at most: a token for every two characters, and all the answer tokens that it allows."""
    price = _price(target)
    return None if price is None else price(prompt_chars // 2 + 1, 0, max_tokens or _DEFAULT_ANSWER_TOKENS)


def plain(usd: Decimal) -> str:
    """Dollars as digits, without an exponent."""
    return format(usd.normalize(), "f")
