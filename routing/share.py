"""What one request takes of every limit and budget that it counts against."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mesh.allowances import BudgetSettings, LimitSettings
from mesh.errors import Limited, RequestError
from mesh.job import Hold, Target
from routing import budgets, limits
from routing.budgets import Purse
from routing.limits import Account, Limit
from routing.prices import Most, PriceList

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Share:
    """
    reserved_usd: what one attempt may cost at most; None where nobody knows.
    """

    limits: Mapping[str, Limit]  # by the names of their holds, as are the purses
    purses: Mapping[str, Purse]
    holds: tuple[Hold, ...]
    tokens: int
    reserved_usd: Decimal | None

    def refusal(self, hold: str, taken: int, wait_ms: int) -> Limited | None:
        """Why a hold could not be taken; None when it is none of these.

        wait_ms: as the submit script tells it.
        """
        if hold in self.limits:
            return self.limits[hold].refusal(taken, wait_ms, self.tokens)
        if hold in self.purses:
            return self.purses[hold].refusal(taken, self.reserved_usd or _NOTHING, time.time())
        return None

    def headers(self, taken: Sequence[int]) -> dict[str, str]:
        """
        taken: of each window, in the order of the holds.
        """
        return limits.headers(tuple(self.limits.values()), taken) if taken else {}


def purses_of(config: BudgetSettings, accounts: Sequence[Account]) -> tuple[Purse, ...]:
    return tuple(budgets.purses(config, accounts, time.time()))


def priced(
    prices: PriceList, targets: Sequence[Target], most: Most, *, batch: bool, must: bool
) -> tuple[tuple[Target, ...], Decimal | None]:
    """The targets, and what an attempt at any of them may cost at most.

    must: those whose price nobody knows are left out.

    Raises:
        RequestError: none is left.
    """
    ceilings = {target: prices.ceiling_usd(target, most, batch=batch) for target in targets}
    known = [usd for usd in ceilings.values() if usd is not None]
    if must and not known:
        names = ", ".join(f"'{target.provider}/{target.model}'" for target in targets)
        raise RequestError(
            f"Nobody knows what {names} costs, and a hard budget applies: give it a price under `models` in the "
            "configuration, or set budgets.unknown_price to allow.",
            param="model",
            code="price_unknown",
        )
    kept = tuple(target for target, usd in ceilings.items() if usd is not None) if must else tuple(targets)
    return kept, max(known, default=None)


def share(
    config: LimitSettings,
    accounts: Sequence[Account],
    purses: Sequence[Purse],
    target: Target,
    tokens: int,
    reserved_usd: Decimal | None,
) -> Share:
    """
    tokens: that the request may take at most.
    """
    counted = {limit.hold(tokens): limit for limit in limits.limits_on(config, accounts, target)}
    now_unix_s = time.time() if purses else 0.0
    paid = {purse.hold(reserved_usd or _NOTHING, now_unix_s): purse for purse in purses}
    return Share(
        limits={hold.name: limit for hold, limit in counted.items()},
        purses={hold.name: purse for hold, purse in paid.items()},
        holds=(*counted, *paid),
        tokens=tokens,
        reserved_usd=reserved_usd,
    )
