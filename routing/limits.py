"""Limits of a key, a tenant, a model and a provider, as holds: the submit script takes all of them or none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mesh.allowances import NO_BUDGET, NO_LIMITS, Budget, Limits, LimitSettings
from mesh.errors import Limited
from mesh.job import Hold, Target

MINUTE_MS = 60_000
Scope = Literal["key", "tenant", "model", "provider"]
What = Literal["requests_per_minute", "tokens_per_minute", "concurrent"]

_SAID: Mapping[What, str] = {
    "requests_per_minute": "requests per minute",
    "tokens_per_minute": "tokens per minute",
    "concurrent": "jobs at once",
}
_HEADERS: Mapping[What, tuple[str, str, str]] = {
    "requests_per_minute": (
        "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
    ),
    "tokens_per_minute": ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """A key or a tenant, with what it has of its own; what is not said here is config's."""

    scope: Literal["key", "tenant"]
    name: str
    limits: Limits = NO_LIMITS
    budget: Budget = NO_BUDGET


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that one request counts against."""

    scope: Scope
    owner: str
    what: What
    ceiling: int
    one: Hold  # what a request of one token takes

    @classmethod
    def of(cls, scope: Scope, owner: str, what: What, ceiling: int) -> Limit:
        key = f"{what}:{scope}:{owner}"
        if what == "concurrent":
            return cls(scope, owner, what, ceiling, Hold(key, 1, ceiling))
        unit = "tokens" if what == "tokens_per_minute" else "-"
        return cls(scope, owner, what, ceiling, Hold(key, 1, ceiling, "window", unit, MINUTE_MS))

    @property
    def name(self) -> str:
        return f"{self.scope}.{self.what}"

    @property
    def of_target(self) -> bool:
        return self.scope in ("model", "provider")

    def amount(self, tokens: int) -> int:
        """What a request of so many tokens takes."""
        return tokens if self.what == "tokens_per_minute" else 1

    def hold(self, tokens: int | None = None) -> Hold:
        """
        tokens: None: as many as its job may take.
        """
        if self.what != "tokens_per_minute":
            return self.one
        return Hold(self.one.name, tokens, self.ceiling, "window", "tokens", MINUTE_MS)

    def refusal(self, taken: int, wait_ms: int, tokens: int) -> Limited:
        """
        wait_ms: as the submit script tells it.
        """
        of = f"the {self.scope}" if self.scope in ("key", "tenant") else f"the {self.scope} '{self.owner}'"
        said = f"{self.ceiling} {_SAID[self.what]} of {of} ({self.name})"
        if wait_ms < 0:
            error = Limited(
                f"This request may take {tokens} tokens, more than the limit of {said}. "
                "Ask for less: a shorter prompt, or a smaller max_completion_tokens.",
                code="request_exceeds_limit",
            )
        else:
            now = f"{taken} are taken, and this request may take {tokens}" if "tokens" in self.what else f"{taken} are"
            error = Limited(f"The limit of {said} is reached: {now}.", retry_after_s=max(wait_ms, 1000) / 1000)
        error.headers = {"x-gateway-limit": self.name, **self.headers(taken, _duration(max(wait_ms, 0)))}
        return error

    def headers(self, taken: int, reset: str) -> dict[str, str]:
        """OpenAI's, of a window.

        reset: when it is whole again.
        """
        if self.what == "concurrent":
            return {}
        limit, remaining, resets = _HEADERS[self.what]
        return {limit: str(self.ceiling), remaining: str(max(0, self.ceiling - taken)), resets: reset}


def limits_of(config: LimitSettings, account: Account) -> Iterator[Limit]:
    """Every limit that a key or a tenant has."""
    default = config.each_key if account.scope == "key" else config.each_tenant
    yield from _each(account.scope, account.name, account.limits, default)


def counters(config: LimitSettings) -> list[Hold]:
    """What every model's and provider's limit is counted by."""
    owned: list[tuple[Scope, str, Limits]] = [("model", name, own) for name, own in config.models.items()]
    owned += [("provider", name, own) for name, own in config.providers.items()]
    return [limit.one for scope, name, own in owned for limit in _each(scope, name, own)]


def limits_at(config: LimitSettings, target: Target) -> Iterator[Limit]:
    """Every limit that a model and its provider have."""
    if config.models:
        full = f"{target.provider}/{target.model}"
        name = full if full in config.models else target.model
        yield from _each("model", name, config.models.get(name, NO_LIMITS))
    if config.providers:
        yield from _each("provider", target.provider, config.providers.get(target.provider, NO_LIMITS))


def _each(scope: Scope, owner: str, own: Limits, default: Limits = NO_LIMITS) -> Iterator[Limit]:
    if own is NO_LIMITS and default is NO_LIMITS:
        return
    what: What
    for what in _SAID:
        ceiling = getattr(own, what)
        if ceiling is None:
            ceiling = getattr(default, what)
        if ceiling is not None:
            yield Limit.of(scope, owner, what, ceiling)


def headers(limits: Sequence[Limit], taken: Sequence[int]) -> dict[str, str]:
    """OpenAI's `x-ratelimit-*` of the limit of which the smallest share is left, of requests and of tokens.

    taken: of each limit in a window, in their order.
    """
    windows = [limit for limit in limits if limit.what != "concurrent"]
    tightest: dict[What, tuple[float, Limit, int]] = {}
    for limit, used in zip(windows, taken, strict=True):
        share = used / limit.ceiling
        if limit.what not in tightest or share > tightest[limit.what][0]:
            tightest[limit.what] = (share, limit, used)
    told: dict[str, str] = {}
    for _, limit, used in tightest.values():
        # Without another request it is whole again when this one is forgotten.
        told |= limit.headers(used, _WHOLE)
    return told


def _duration(ms: int) -> str:
    """As OpenAI writes it: `12ms`, `6.2s`, `1m0s`."""
    if ms < 1000:
        return f"{ms}ms"
    minutes, left_ms = divmod(math.ceil(ms / 10) * 10, 60_000)
    seconds = f"{left_ms / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds


_WHOLE = _duration(MINUTE_MS)
