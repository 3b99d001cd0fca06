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
from genai_prices.types import PriceCalculation

from mesh.job import Target
from mesh.settings import Config, ModelConfig

_MILLION = Decimal(1_000_000)
_WHOLE = Decimal(1)
DEFAULT_ANSWER_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is paid for.

    cached, written (to the provider's cache), audio: parts of `prompt` that do not overlap. kept: what of `written` is
    to stay there for an hour. spoken: the audio in `answer`. Reasoning is a part of `answer` like any other.
    """

    prompt: int
    answer: int
    cached: int = 0
    written: int = 0
    kept: int = 0
    audio: int = 0
    spoken: int = 0


@dataclass(frozen=True, slots=True)
class Plain:
    """Dollars per million tokens, whatever the prompt's length. The fields are as in `Tokens`."""

    input: Decimal
    output: Decimal
    cached: Decimal
    written: Decimal
    kept: Decimal
    audio: Decimal
    spoken: Decimal

    def usd(self, tokens: Tokens) -> Decimal:
        fresh = tokens.prompt - tokens.cached - tokens.written - tokens.audio
        return (
            fresh * self.input
            + tokens.cached * self.cached
            + (tokens.written - tokens.kept) * self.written
            + tokens.kept * self.kept
            + tokens.audio * self.audio
            + (tokens.answer - tokens.spoken) * self.output
            + tokens.spoken * self.spoken
        ) / _MILLION


Price = Callable[[Tokens], Decimal]


@dataclass(frozen=True, slots=True)
class Most:
    """What bounds a request's price."""

    prompt_chars: int
    answer_tokens: int = 0  # of one answer; 0: not said
    answers: int = 1  # 0: embeddings

    @property
    def prompt_tokens(self) -> int:
        """A token for every two characters."""
        return self.prompt_chars // 2 + 1

    @property
    def tokens(self) -> int:
        """Prompt and answers together, where one that is not said is as long as is reckoned with."""
        return self.prompt_tokens + (self.answer_tokens or DEFAULT_ANSWER_TOKENS) * self.answers


NOT_SAID = Most(0)


class PriceList:
    """Prices by target: config's, or else the list's; a private provider is our own, where others cost nothing."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[Target, Price | None] = {}

    def cost_usd(self, target: Target, usage: Mapping[str, Any], *, batch: bool = False) -> Decimal | None:
        """The price of an OpenAI-shaped usage; None when nobody knows the model's price.

        batch: of a job of the batch lane.
        """
        price = self._price(target)
        return None if price is None else price(_tokens(usage)) * self._batch_share(target, batch)

    def ceiling_usd(self, target: Target, most: Most, *, batch: bool = False) -> Decimal | None:
        """What a request may cost at most: all that it says, and all the answers that it allows."""
        price = self._price(target)
        if price is None:
            return None
        answers = (most.answer_tokens or DEFAULT_ANSWER_TOKENS) * most.answers
        return price(Tokens(most.prompt_tokens, answers)) * self._batch_share(target, batch)

    def dearest_usd(self, targets: Iterable[Target], most: Most, *, batch: bool = False) -> Decimal | None:
        """What an attempt at any of these may cost at most, as far as it is known; None where no price is."""
        ceilings = (self.ceiling_usd(target, most, batch=batch) for target in targets)
        return max((usd for usd in ceilings if usd is not None), default=None)

    def _batch_share(self, target: Target, batch: bool) -> Decimal:
        provider = self._config.providers.get(target.provider) if batch else None
        return _WHOLE if provider is None else provider.batch_price_share

    def _price(self, target: Target) -> Price | None:
        if target not in self._known:
            if len(self._known) > 10_000:  # callers choose the names
                self._known.clear()
            self._known[target] = self._look_up(target)
        return self._known[target]

    def _look_up(self, target: Target) -> Price | None:
        ours = self.fixed(target)
        if ours is not None:
            return ours.usd
        found = listed(target)
        if found is None:
            return None
        told = self._config.model(target.provider, target.model) or _UNSAID
        return _as_listed(target, found, told)

    def fixed(self, target: Target) -> Plain | None:
        """The price that does not hang on the list: config's own, or nothing on a machine of ours that has none."""
        told = self._config.model(target.provider, target.model)
        if told is not None and told.input_usd_per_mtok is not None and told.output_usd_per_mtok is not None:
            fresh, output = told.input_usd_per_mtok, told.output_usd_per_mtok
            return Plain(
                input=fresh,
                output=output,
                cached=_or(told.cached_usd_per_mtok, fresh),
                written=_or(told.written_usd_per_mtok, fresh),
                kept=_or(told.written_1h_usd_per_mtok, _or(told.written_usd_per_mtok, fresh)),
                audio=_or(told.audio_input_usd_per_mtok, fresh),
                spoken=_or(told.audio_output_usd_per_mtok, output),
            )
        provider = self._config.providers.get(target.provider)
        return _NOTHING if provider is not None and provider.private and listed(target) is None else None


def _or(price: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if price is None else price


_NOTHING = Plain(*[Decimal(0)] * 7)
_UNSAID = ModelConfig()


def listed(target: Target) -> PriceCalculation | None:
    """What the list has of a model: its facts in `model`, its prices of today in `model_price`."""
    try:
        return genai_prices.calc_price(
            genai_prices.Usage(input_tokens=1, output_tokens=1), model_ref=target.model, provider_id=target.provider
        )
    except LookupError:
        return None


def _as_listed(target: Target, calculation: PriceCalculation, told: ModelConfig) -> Price:
    """
    told: may have prices of audio, which the list lacks for many models.
    """
    found = calculation.model_price
    input_, output = found.input_mtok, found.output_mtok or _FREE  # embeddings have no output
    cached, written, kept = found.cache_read_mtok, found.cache_write_mtok, found.cache_write_1h_mtok
    audio, spoken = found.input_audio_mtok, found.output_audio_mtok
    if not isinstance(input_, Decimal) or not isinstance(output, Decimal):
        return functools.partial(_by_the_library, target)  # tiered by length, or not per token at all
    if not all(isinstance(price, Decimal | None) for price in (cached, written, kept, audio, spoken)):
        return functools.partial(_by_the_library, target)
    if found.output_reasoning_mtok is not None:
        return functools.partial(_by_the_library, target)
    return Plain(
        input=input_,
        output=output,
        cached=_or(_flat(cached), input_),
        written=_or(_flat(written), input_),
        kept=_or(_flat(kept), _or(_flat(written), input_)),
        audio=_or(told.audio_input_usd_per_mtok, _or(_flat(audio), input_)),
        spoken=_or(told.audio_output_usd_per_mtok, _or(_flat(spoken), output)),
    ).usd


_FREE = Decimal(0)


def _flat(price: Any) -> Decimal | None:
    return price if isinstance(price, Decimal) else None


def _by_the_library(target: Target, tokens: Tokens) -> Decimal:
    usage = genai_prices.Usage(
        input_tokens=tokens.prompt,
        output_tokens=tokens.answer,
        cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.written,
        cache_write_1h_tokens=tokens.kept,
        input_audio_tokens=tokens.audio,
        output_audio_tokens=tokens.spoken,
    )
    return genai_prices.calc_price(usage, model_ref=target.model, provider_id=target.provider).total_price


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    prompt, details = int(usage.get("prompt_tokens") or 0), usage.get("prompt_tokens_details") or {}
    answer, said = int(usage.get("completion_tokens") or 0), usage.get("completion_tokens_details") or {}
    # Some servers report more cached tokens than there were: the parts are never more than the whole.
    cached = min(int(details.get("cached_tokens") or 0), prompt)
    written = min(int(details.get("cache_write_tokens") or 0), prompt - cached)
    kept = min(int(details.get("cache_write_1h_tokens") or 0), written)
    audio = min(int(details.get("audio_tokens") or 0), prompt - cached - written)
    spoken = min(int(said.get("audio_tokens") or 0), answer)
    return Tokens(prompt, answer, cached, written, kept, audio, spoken)


def plain(usd: Decimal) -> str:
    """Dollars as digits, without an exponent."""
    return format(usd.normalize(), "f")
