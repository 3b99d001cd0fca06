"""What one request takes of every limit and budget that it counts against."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from mesh.errors import Limited
from mesh.job import Hold, Target
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

    @classmethod
    def of(cls, config: Config, accounts: Sequence[Account]) -> Allowance:
        purses = tuple(budgets.purses(config.budgets, accounts, time.time()))
        return cls(
            limits=tuple(limit for account in accounts for limit in limits.limits_of(config.limits, account)),
            purses=purses,
            hard=any(purse.hard_usd is not None for purse in purses),
        )


NOTHING_LIMITED = Allowance()


@dataclass(frozen=True, slots=True)
class Share:
    """
    reserved_usd: what one attempt may cost at most; None where nobody knows.
    """

    limits: tuple[Limit, ...]
    purses: tuple[Purse, ...]
    holds: tuple[Hold, ...]
    tokens: int
    reserved_usd: Decimal | None

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
            holds=tuple(each for each in self.holds if each.name != hold),
        )

    def headers(self, taken: Sequence[int]) -> dict[str, str]:
        """
        taken: of each window, in the order of the holds.
        """
        return limits.headers(self.limits, taken) if taken else {}


def share(config: Config, allowance: Allowance, target: Target, tokens: int, reserved_usd: Decimal | None) -> Share:
    """
    tokens: that the request may take at most.
    """
    counted = (*allowance.limits, *limits.limits_at(config.limits, target))
    reserved = nano(reserved_usd) if allowance.purses and reserved_usd is not None else 0
    return Share(
        limits=counted,
        purses=allowance.purses,
        holds=(*(limit.hold(tokens) for limit in counted), *(purse.hold(reserved) for purse in allowance.purses)),
        tokens=tokens,
        reserved_usd=reserved_usd,
    )
