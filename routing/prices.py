"""What tokens cost, by the offline list of genai-prices; a private provider's are free.

The library's own arithmetic takes 50 µs a call. For models with plain prices ours takes 1, and a test holds the two together.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
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


@functools.lru_cache(maxsize=4096)
def _price(target: Target) -> _Plain | None:
    if target.provider in _FREE:
        return _Plain(Decimal(0), Decimal(0), Decimal(0))
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1, output_tokens=1), model_ref=target.model, provider_id=target.provider
        ).model_price
    except LookupError:
        return None
    values = (found.input_mtok, found.output_mtok, found.cache_read_mtok)
    if not all(value is None or isinstance(value, Decimal) for value in values):
        return None  # tiered by length: the library computes it
    base = values[0] if isinstance(values[0], Decimal) else Decimal(0)
    output = values[1] if isinstance(values[1], Decimal) else Decimal(0)
    return _Plain(base, output, values[2] if isinstance(values[2], Decimal) else base)


def cost_usd(target: Target, usage: Mapping[str, Any]) -> Decimal | None:
    """The list price of an OpenAI-shaped usage; None when nobody knows the model's price."""
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    price = _price(target)
    if price is not None:
        return ((prompt - cached) * price.input + cached * price.cached + completion * price.output) / _MILLION
    try:
        return genai_prices.calc_price(
            genai_prices.Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=cached),
            model_ref=target.model,
            provider_id=target.provider,
        ).total_price
    except LookupError:
        return None


def ceiling_usd(target: Target, prompt_chars: int, max_tokens: int | None) -> Decimal | None:
    """What a request may cost at most: a token for every two characters, and all the answer tokens that it allows."""
    return cost_usd(
        target,
        {"prompt_tokens": prompt_chars // 2 + 1, "completion_tokens": max_tokens or _DEFAULT_ANSWER_TOKENS},
    )


def plain(usd: Decimal) -> str:
    """Dollars as digits, without an exponent."""
    return format(usd.normalize(), "f")
