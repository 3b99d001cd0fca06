"""What is known of a model: how much it holds, what it can do, what it costs. What nobody has said is None."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from genai_prices.types import ModelPrice, TieredPrices

from mesh.job import Target
from mesh.settings import Config, ModelConfig
from routing import prices
from routing.prices import PriceList

_CAN = ("max_output", "input_modalities", "output_modalities", "tools", "json_schema")  # the list tells none of these
_UNKNOWN = ModelConfig()


class Catalog:
    """Config's `models` over the list of genai-prices."""

    def __init__(self, config: Config, price_list: PriceList) -> None:
        self._config = config
        self._prices = price_list
        self._known: dict[Target, dict[str, Any]] = {}

    def facts(self, target: Target) -> dict[str, Any]:
        """The facts as /v1/models shows them; every name is there. The caller does not change them."""
        if target not in self._known:
            if len(self._known) > 10_000:  # a server may list what it likes
                self._known.clear()
            self._known[target] = self._look_up(target)
        return self._known[target]

    def _look_up(self, target: Target) -> dict[str, Any]:
        told = self._config.model(target.provider, target.model) or _UNKNOWN
        found = prices.listed(target)
        fixed = self._prices.fixed(target)
        price = None if found is None else _listed(found.model_price)
        if fixed is not None:
            price = _price(fixed.input, fixed.output, fixed.cached, fixed.written)
        return {
            "context_window": told.context_window or (None if found is None else found.model.context_window),
            **{name: getattr(told, name) for name in _CAN},
            "deprecated": None if found is None else bool(found.model.deprecated),
            "price": price,
        }


def _listed(price: ModelPrice) -> dict[str, str | None]:
    return _price(price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)


def _price(*prices_: Decimal | TieredPrices | None) -> dict[str, str | None]:
    names = ("input", "output", "cached", "written")
    return {f"{name}_usd_per_mtok": _dollars(price) for name, price in zip(names, prices_, strict=True)}


def _dollars(price: Decimal | TieredPrices | None) -> str | None:
    if isinstance(price, TieredPrices):
        price = price.base
    return None if price is None else prices.plain(price)
