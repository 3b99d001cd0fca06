"""From a request to its route: the targets that may answer it, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from mesh import errors
from mesh.job import Target
from mesh.settings import Config
from routing.catalog import Catalog
from routing.prices import NOT_SAID, Most, PriceList


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the request says about where it may go."""

    model: str
    provider: str | None = None
    fallbacks: Sequence[str] = ()  # models, or provider/model
    private: bool = False
    max_cost_usd: Decimal | None = None
    most: Most = NOT_SAID


class Router:
    """Chooses by the longest model prefix among the live providers."""

    def __init__(self, config: Config, live: Sequence[str]) -> None:
        self._config = config
        self._live = frozenset(live)
        self.prices = PriceList(config)
        self.catalog = Catalog(config, self.prices)
        self._prefixes = sorted(
            ((prefix, provider) for provider, prefixes in config.provider_models.items() for prefix in prefixes),
            key=lambda pair: (-len(pair[0]), pair),
        )

    def route(self, wish: Wish) -> tuple[Target, ...]:
        """The targets in the order in which they are tried.

        Raises:
            NotFound: no live provider serves the model.
            RequestError: nothing is left of the route under the request's own conditions; `param` names the condition.
        """
        targets = [self.target(wish.model, wish.provider)]
        targets += [self.target(name, None, param="fallbacks") for name in wish.fallbacks]
        targets = list(dict.fromkeys(targets))
        if wish.private:
            targets = [target for target in targets if self._config.providers[target.provider].private]
            if not targets:
                raise errors.RequestError(
                    f"The request is private, and the provider of '{wish.model}' is not.",
                    param="private",
                    code="no_private_target",
                )
        if wish.max_cost_usd is not None:
            ceilings = [self.prices.ceiling_usd(target, wish.most) for target in targets]
            affordable = [
                target
                for target, usd in zip(targets, ceilings, strict=True)
                if usd is not None and usd <= wish.max_cost_usd
            ]
            if not affordable:
                known = [usd for usd in ceilings if usd is not None]
                least = f"the cheapest may cost {min(known)} USD" if known else "no target has a known price"
                raise errors.RequestError(
                    f"No target costs at most {wish.max_cost_usd} USD: {least}.",
                    param="max_cost",
                    code="max_cost_exceeded",
                )
            targets = affordable
        return tuple(targets)

    def target(self, model: str, provider: str | None, param: str = "model") -> Target:
        """The one target that a model's name stands for: `provider/model`, or the longest prefix's provider."""
        head, slash, rest = model.partition("/")
        said = "provider"
        if provider is None and slash and head in self._config.providers:
            provider, model, said = head, rest, param
        if provider is not None:
            if provider not in self._config.providers:
                raise errors.RequestError(f"There is no provider '{provider}'.", param=said, code="provider_not_found")
            if provider not in self._live:
                raise errors.RequestError(
                    f"The provider '{provider}' is not enabled here.", param=said, code="provider_disabled"
                )
            return Target(provider, model)
        owners = [owner for prefix, owner in self._prefixes if model.startswith(prefix)]
        for owner in owners:
            if owner in self._live:
                return Target(owner, model)
        why = f"its provider '{owners[0]}' is not enabled here" if owners else "no provider serves it"
        raise errors.NotFound(
            f"The model '{model}' does not exist or you do not have access to it: {why}.",
            param=param,
            code="model_not_found",
        )
