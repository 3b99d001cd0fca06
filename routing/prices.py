"""What tokens cost, by the offline list of genai-prices; on our own machines they are free.

The library's own arithmetic takes 50 µs a call. For models with plain prices ours takes 1, and a test holds the two
together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import genai_prices

from mesh.job import Target

_MILLION = Decimal(1_000_000)
_DEFAULT_ANSWER_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is paid for. `cached` and `written` (to the provider's cache) are parts of `prompt`."""

    prompt: int
    answer: int
    cached: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class _Plain:
    """Dollars per million tokens."""

    input: Decimal
    output: Decimal
    cached: Decimal
    written: Decimal

    def usd(self, tokens: Tokens) -> Decimal:
        fresh = tokens.prompt - tokens.cached - tokens.written
        return (
            fresh * self.input
            + tokens.cached * self.cached
            + tokens.written * self.written
            + tokens.answer * self.output
        ) / _MILLION


Price = Callable[[Tokens], Decimal]


class PriceList:
    """Prices by target.

    own: the providers that are our own, whose models cost nothing unless the list knows a price for them.
    """

    def __init__(self, own: Iterable[str]) -> None:
        self._own = frozenset(own)
        self._known: dict[Target, Price | None] = {}

    def cost_usd(self, target: Target, usage: Mapping[str, Any]) -> Decimal | None:
        """The list price of an OpenAI-shaped usage; None when nobody knows the model's price."""
        price = self._price(target)
        return None if price is None else price(_tokens(usage))

    def ceiling_usd(self, target: Target, prompt_chars: int, max_tokens: int | None) -> Decimal | None:
        """What a request may cost at most: a token for every two characters, and all the answer that it allows."""
        price = self._price(target)
        return None if price is None else price(Tokens(prompt_chars // 2 + 1, max_tokens or _DEFAULT_ANSWER_TOKENS))

    def _price(self, target: Target) -> Price | None:
        if target not in self._known:
            if len(self._known) > 10_000:  # callers choose the names
                self._known.clear()
            price = _look_up(target)
            self._known[target] = _nothing if price is None and target.provider in self._own else price
        return self._known[target]


def _nothing(tokens: Tokens) -> Decimal:
    return Decimal(0)


def _look_up(target: Target) -> Price | None:
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1, output_tokens=1), model_ref=target.model, provider_id=target.provider
        ).model_price
    except LookupError:
        return None
    input_, output = found.input_mtok, found.output_mtok
    cached, written = found.cache_read_mtok, found.cache_write_mtok
    if not isinstance(input_, Decimal) or not isinstance(output, Decimal):
        return functools.partial(_by_the_library, target)  # tiered by length, or not per token at all
    if not isinstance(cached, Decimal | None) or not isinstance(written, Decimal | None):
        return functools.partial(_by_the_library, target)
    return _Plain(input_, output, input_ if cached is None else cached, input_ if written is None else written).usd


def _by_the_library(target: Target, tokens: Tokens) -> Decimal:
    usage = genai_prices.Usage(
        input_tokens=tokens.prompt,
        output_tokens=tokens.answer,
        cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.written,
    )
    return genai_prices.calc_price(usage, model_ref=target.model, provider_id=target.provider).total_price


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    prompt, details = usage.get("prompt_tokens") or 0, usage.get("prompt_tokens_details") or {}
    # Some servers report more cached tokens than there were: the parts are never more than the whole.
    cached = min(details.get("cached_tokens") or 0, prompt)
    written = min(details.get("cache_write_tokens") or 0, prompt - cached)
    return Tokens(prompt, usage.get("completion_tokens") or 0, cached, written)


def plain(usd: Decimal) -> str:
    """Dollars as digits, without an exponent."""
    return format(usd.normalize(), "f")
