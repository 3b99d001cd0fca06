"""Where a job goes from here: to another target, back to this one after a pause, or aside until one is well again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from mesh.errors import Again, GatewayError
from mesh.job import Claim, Spec
from mesh.settings import Config
from routing import fallbacks
from routing.health import Outlook

_SPREAD_S = 1.0  # what waited for one provider does not come back in one moment


@dataclass(frozen=True, slots=True)
class Onward:
    spec: Spec
    delay_s: float = 0.0
    parked: bool = False  # every target that may have it cools down

    @property
    def delay_ms(self) -> int:
        return round(self.delay_s * 1000)


def after(claim: Claim, error: GatewayError, config: Config, outlook: Outlook, left_s: float) -> Onward | None:
    """What comes after a failed attempt; None: nothing, the job has failed.

    left_s: until its deadline.
    """
    spec, limits = claim.spec, config.lanes
    if claim.attempt >= limits.max_attempts:
        return None
    ways = [
        fallbacks.moved(spec, place) for place in fallbacks.following(spec, error) if _may(claim, spec, place, config)
    ]
    for way in ways:
        if not outlook.cooling_s(way.target):
            return Onward(way)
    here = error.again is Again.HERE and _may(claim, spec, spec.at, config)
    if here and not outlook.cooling_s(spec.target):
        backoff_ms = limits.retry_base_ms * 2 ** (claim.attempt - 1) * random.uniform(0.5, 1.0)
        delay_s = max(backoff_ms / 1000, error.retry_after_s or 0)
        return Onward(spec, delay_s) if delay_s <= min(limits.retry_max_ms / 1000, left_s) else None
    return _parked(_cooling([*ways, spec] if here else ways, outlook), left_s)


def aside(claim: Claim, config: Config, outlook: Outlook, left_s: float, *, full_s: float = 0.0) -> Onward | None:
    """Where a job goes instead of to its target, when that cools down; None: it stays, and is asked now.

    full_s: for so long one of the target's limits has no place for this job.
    """
    spec = claim.spec
    here_s = max(outlook.cooling_s(spec.target), full_s)
    if not here_s:
        return None
    places = [place for place in range(spec.main or len(spec.targets)) if place != spec.at and place not in spec.tried]
    ways = [fallbacks.aside(spec, place) for place in places if _may(claim, spec, place, config)]
    for way in ways:
        if not outlook.cooling_s(way.target):
            return Onward(way)
    return _parked([*_cooling(ways, outlook), (spec, here_s)], left_s)


def _cooling(ways: list[Spec], outlook: Outlook) -> list[tuple[Spec, float]]:
    return [(way, outlook.cooling_s(way.target)) for way in ways]


def _may(claim: Claim, spec: Spec, place: int, config: Config) -> bool:
    """Whether the job may go there, by what config says now: it may have changed since the route was made."""
    provider = config.providers.get(spec.targets[place].provider)
    return provider is not None and (provider.private or not claim.private)


def _parked(ways: list[tuple[Spec, float]], left_s: float) -> Onward | None:
    """
    ways: each with how long it is closed.
    """
    if not ways:
        return None
    way, closed_s = min(ways, key=lambda each: each[1])
    delay_s = closed_s + random.uniform(0.05, _SPREAD_S)
    return Onward(way, delay_s, parked=True) if delay_s < left_s else None
