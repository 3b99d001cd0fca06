"""What one request takes of every limit and budget that it counts against."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from mesh.errors import Limited
from mesh.job import UNBOUNDED, Hold, Target, told, without
from mesh.lanes import Lane
from mesh.settings import Config
from routing import budgets, limits
from routing.budgets import Purse, nano
from routing.limits import Account, Limit

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a key and its tenant may use, under the configuration and on the day when it was looked at."""

    limits: tuple[Limit, ...] = ()
    purses: tuple[Purse, ...] = ()
    hard: bool = False  # something of it may not be overspent
    templates: tuple[str, ...] = ()  # of its holds, whatever a request takes of them

    @classmethod
    def of(cls, config: Config, accounts: Sequence[Account]) -> Allowance:
        now_unix_s = time.time()
        counted: list[Limit] = []
        purses: list[Purse] = []
        holds: list[Hold] = []
        for account in accounts:
            own = list(limits.limits_of(config.limits, account))
            paying = list(budgets.purses(config.budgets, (account,), now_unix_s))
            holds += (*(limit.hold() for limit in own), *(purse.hold() for purse in paying))
            counted += own
            purses += paying
        return cls(
            limits=tuple(counted),
            purses=tuple(purses),
            hard=any(purse.hard_usd is not None for purse in purses),
            templates=tuple(hold.template for hold in holds),
        )


NOTHING_LIMITED = Allowance()


@dataclass(frozen=True, slots=True)
class Share:
    """
    holds: as the submission has them.
    reserved_usd: what one attempt may cost at most; None where nobody knows.
    """

    limits: tuple[Limit, ...]
    purses: tuple[Purse, ...]
    holds: str
    tokens: int
    reserved_usd: Decimal | None

    def of_target(self, hold: str) -> bool:
        """Whether another target may have what this hold could not take."""
        return any(limit.of_target and limit.one.name == hold for limit in self.limits)

    def waits(self, hold: str) -> bool:
        """Whether what this hold counts is free again in a while: a budget is not."""
        return all(purse.counter != hold for purse in self.purses)

    def refusal(self, hold: str, taken: int, wait_ms: int) -> Limited | None:
        """Why a hold could not be taken; None when it is none of these.

        wait_ms: as the submit script tells it.
        """
        for limit in self.limits:
            if limit.one.name == hold:
                return limit.refusal(taken, wait_ms, self.tokens)
        for purse in self.purses:
            if purse.counter == hold:
                return purse.refusal(taken, self.reserved_usd or _NOTHING, time.time())
        return None

    def without(self, hold: str) -> Share:
        return dataclasses.replace(
            self,
            limits=tuple(limit for limit in self.limits if limit.one.name != hold),
            purses=tuple(purse for purse in self.purses if purse.counter != hold),
            holds=without(self.holds, hold),
        )

    def taken_of_targets(self, taken: Sequence[int]) -> dict[str, int]:
        """What is taken now of the windows of the model and its provider, by the name of the hold.

        taken: of each window, in the order of the holds.
        """
        if not (self.limits and self.limits[-1].of_target):  # they come last
            return {}
        windows = [limit for limit in self.limits if limit.what != "concurrent"]
        return {limit.one.name: used for limit, used in zip(windows, taken, strict=bool(taken)) if limit.of_target}

    def headers(self, taken: Sequence[int]) -> dict[str, str]:
        """
        taken: of each window, in the order of the holds.
        """
        return limits.headers(self.limits, taken) if taken else {}


def lane_hold(lane: Lane, tenant: str, most: int = UNBOUNDED) -> Hold:
    """A tenant's place in a lane.

    most: that it may have there.
    """
    return Hold(f"lane.{lane.name}:tenant:{tenant}", 1, most)


def bound_to(config: Config, lane: Lane, tenant: str, target: Target) -> list[str]:
    """The names of the holds that end when a job leaves this target's lane for another."""
    return [lane_hold(lane, tenant).name, *(limit.one.name for limit in limits.limits_at(config.limits, target))]


def share(
    config: Config,
    allowance: Allowance,
    target: Target,
    tokens: int,
    reserved_usd: Decimal | None,
    place: Hold | None = None,
) -> Share:
    """
    tokens: that the request may take at most.
    place: its lane's hold.
    """
    here = tuple(limits.limits_at(config.limits, target)) if config.limits.of_targets else ()
    templates = allowance.templates if place is None else (*allowance.templates, place.template)  # both the tenant's
    reserved = nano(reserved_usd) if allowance.purses and reserved_usd is not None else 0
    return Share(
        limits=allowance.limits + here,
        purses=allowance.purses,
        holds=told((*templates, *(limit.hold().template for limit in here)), {"tokens": tokens, "cost": reserved}),
        tokens=tokens,
        reserved_usd=reserved_usd,
    )
