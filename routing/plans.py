"""What a model's name stands for: its targets as config has them, before anything is known of the request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mesh import errors
from mesh.job import Target
from mesh.routes import Cause, RuleName
from mesh.settings import Alias, Chains, Config
from routing.filters import Dropped, Reason
from routing.rules.rule import Choice

MOST_PLANS = 10_000  # callers choose the names


@dataclass(frozen=True, slots=True)
class Part:
    """A choice that gets a share of the requests."""

    choice: Choice
    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    by: str  # why these, in a few words
    choices: tuple[Choice, ...]
    rule: RuleName = "ordered"
    sticky: bool = False
    canary: Part | None = None
    shadow: Part | None = None
    chains: Mapping[Cause, tuple[Choice, ...]] = field(default_factory=dict)
    disabled: tuple[Dropped, ...] = ()  # targets whose provider is not served here

    @property
    def alone(self) -> bool:
        """Whether it is one target and nothing beside it."""
        return len(self.choices) == 1 and not (self.chains or self.disabled or self.canary or self.shadow)


class Planner:
    """Reads names by one config. What it has read once it knows."""

    def __init__(self, config: Config, live: Sequence[str]) -> None:
        self._config = config
        self._live = frozenset(live)
        self._known: dict[tuple[str, str | None], Plan] = {}
        self._prefixes = sorted(
            ((prefix, provider) for provider, prefixes in config.provider_models.items() for prefix in prefixes),
            key=lambda pair: (-len(pair[0]), pair),
        )
        self._chained = sorted(config.fallbacks, key=lambda name: -len(name))

    def plan(self, model: str, provider: str | None, param: str = "model") -> Plan:
        """
        Raises:
            NotFound: no live provider serves the model.
            RequestError: there is no such provider, or it is not served here.
        """
        found = self._known.get((model, provider))
        if found is None:
            found = self._read(model, provider, param)
            if len(self._known) >= MOST_PLANS:
                self._known.clear()
            self._known[model, provider] = found
        return found

    def _read(self, model: str, provider: str | None, param: str) -> Plan:
        alias = self._config.aliases.get(model) if provider is None else None
        if alias is not None:
            return self._of_alias(model, alias, param)
        target, by = self._target(model, provider, param)
        chains = self._chains(self._chains_of(model))
        return Plan(by=by, choices=(Choice(target, model),), chains=chains)

    def _of_alias(self, name: str, alias: Alias, param: str) -> Plan:
        listed = list(self._spread(name, 1.0))
        choices = [choice for place, choice in enumerate(_placed(listed, name)) if self._is_live(choice)]
        if not choices:
            raise errors.NotFound(
                f"The model '{name}' stands for others, and none of their providers is enabled here.",
                param=param,
                code="model_not_found",
            )
        return Plan(
            by=f"alias {name}",
            choices=tuple(choices),
            rule=alias.rule,
            sticky=alias.sticky,
            canary=self._part(alias.canary.model, alias.canary.share, name) if alias.canary else None,
            shadow=self._part(alias.shadow.model, alias.shadow.share, name) if alias.shadow else None,
            chains=self._chains(alias.fallbacks),
            disabled=tuple(_disabled(choice) for choice in _placed(listed, name) if not self._is_live(choice)),
        )

    def _is_live(self, choice: Choice) -> bool:
        return choice.target.provider in self._live

    def _spread(self, name: str, weight: float) -> Iterator[tuple[Target, float]]:
        """The targets that a name in config leads to; an alias in an alias shares its weight among its own."""
        alias = self._config.aliases.get(name)
        if alias is None:
            yield self._configured(name), weight
            return
        whole = sum(each.weight for each in alias.targets)
        for each in alias.targets:
            yield from self._spread(each.model, weight * each.weight / whole)

    def _part(self, name: str, share: float, asked: str) -> Part | None:
        target, _ = next(self._spread(name, 1.0))
        choice = Choice(target, asked)
        return Part(choice, share) if self._is_live(choice) else None

    def _chains_of(self, model: str) -> Chains:
        for name in self._chained:
            if model.startswith(name):
                return self._config.fallbacks[name]
        return {}

    def _chains(self, chains: Chains) -> dict[Cause, tuple[Choice, ...]]:
        found: dict[Cause, tuple[Choice, ...]] = {}
        for cause, names in chains.items():
            choices = [Choice(target, name) for name in names for target, _ in self._spread(name, 1.0)]
            if live := tuple(choice for choice in choices if self._is_live(choice)):
                found[cause] = live
        return found

    def _configured(self, name: str) -> Target:
        """The target that a name in config stands for, whether its provider is served here or not."""
        head, slash, rest = name.partition("/")
        if slash and head in self._config.providers:
            return Target(head, rest)
        owners = [provider for prefix, provider in self._prefixes if name.startswith(prefix)]
        return Target(next((owner for owner in owners if owner in self._live), owners[0]), name)

    def _target(self, model: str, provider: str | None, param: str) -> tuple[Target, str]:
        """The one target of a name that is no alias, and why: `provider/model`, or the longest prefix's provider."""
        head, slash, rest = model.partition("/")
        said, by = "provider", "the request names the provider"
        if provider is None and slash and head in self._config.providers:
            provider, model, said, by = head, rest, param, "its name has the provider"
        if provider is not None:
            if provider not in self._config.providers:
                raise errors.RequestError(f"There is no provider '{provider}'.", param=said, code="provider_not_found")
            if provider not in self._live:
                raise errors.RequestError(
                    f"The provider '{provider}' is not enabled here.", param=said, code="provider_disabled"
                )
            return Target(provider, model), by
        owners = [(prefix, owner) for prefix, owner in self._prefixes if model.startswith(prefix)]
        for prefix, owner in owners:
            if owner in self._live:
                return Target(owner, model), f"prefix {prefix}"
        why = f"its provider '{owners[0][1]}' is not enabled here" if owners else "no provider serves it"
        raise errors.NotFound(
            f"The model '{model}' does not exist or you do not have access to it: {why}.",
            param=param,
            code="model_not_found",
        )


def _placed(listed: Sequence[tuple[Target, float]], name: str) -> list[Choice]:
    return [Choice(target, name, weight, place) for place, (target, weight) in enumerate(listed)]


def _disabled(choice: Choice) -> Dropped:
    return Dropped(choice, Reason.PROVIDER_DISABLED, f"{choice.target.provider} is not enabled here")
