"""Budgets of a key and a tenant, as holds: a request reserves what it may cost and keeps what it has cost.

In Redis money is whole nano-dollars: a script's numbers are doubles, exact up to nine million dollars of them.
"""

from __future__ import annotations

import calendar
import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

from mesh.allowances import Budget, BudgetSettings
from mesh.errors import BudgetSpent
from mesh.job import UNBOUNDED, Hold
from routing.limits import Account
from routing.prices import plain

NANO = 1_000_000_000
_KEPT_MS = 2 * 86_400_000  # after the period, until the last job of it has ended
Period = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Purse:
    """What one owner may spend in one period.

    hard_usd, soft_usd: None where there is no such bound.
    """

    scope: Literal["key", "tenant"]
    owner: str
    period: Period
    since: dt.date  # the period's first day
    hard_usd: Decimal | None
    soft_usd: Decimal | None
    kept_ms: int  # from when it was looked at until its counter may go

    @property
    def name(self) -> str:
        return f"{self.scope}.{self.period}_usd"

    @property
    def counter(self) -> str:
        """The name of its hold."""
        began = self.since.isoformat() if self.period == "day" else self.since.isoformat()[:7]
        return f"{began}:{self.scope}:{self.owner}"

    @property
    def ends_unix_s(self) -> int:
        return _end(self.period, self.since)

    def hold(self, reserved: int | None = None) -> Hold:
        """
        reserved: nano-dollars; None: what its job may cost.
        """
        ceiling = UNBOUNDED if self.hard_usd is None else nano(self.hard_usd)
        return Hold(self.counter, reserved, ceiling, "spent", "cost", self.kept_ms)

    def refusal(self, taken: int, reserved_usd: Decimal, now_unix_s: float) -> BudgetSpent:
        """
        taken: nano-dollars that are spent or reserved.
        """
        assert self.hard_usd is not None
        error = BudgetSpent(
            f"The {self.period}'s budget of the {self.scope}, {plain(self.hard_usd)} USD ({self.name}), does not "
            f"suffice: {plain(usd(taken))} USD are spent or reserved, and this request may cost {plain(reserved_usd)} "
            "USD. A smaller max_completion_tokens reserves less.",
            retry_after_s=max(1, math.ceil(self.ends_unix_s - now_unix_s)),
        )
        # Another try within the minute changes nothing; OpenAI's clients obey this header.
        error.headers = {"x-gateway-limit": self.name, "x-should-retry": "false"}
        return error


def _end(period: Period, since: dt.date) -> int:
    days = 1 if period == "day" else calendar.monthrange(since.year, since.month)[1]
    return calendar.timegm((since + dt.timedelta(days)).timetuple())


def nano(dollars: Decimal) -> int:
    """Whole nano-dollars, never too few."""
    return int((dollars * NANO).to_integral_value(ROUND_CEILING))


def usd(nano_dollars: int) -> Decimal:
    return Decimal(nano_dollars) / NANO


def measured(usage: Mapping[str, Any] | None, cost: Decimal | None) -> dict[str, int]:
    """What a job's holds are settled by."""
    tokens = int((usage or {}).get("total_tokens") or 0)
    return {"tokens": tokens, "cost": 0 if cost is None else nano(cost)}


def purses(config: BudgetSettings, accounts: Sequence[Account], now_unix_s: float) -> Iterator[Purse]:
    """Every budget that a request of these accounts is paid from."""
    for account in accounts:
        default = config.each_key if account.scope == "key" else config.each_tenant
        if account.budget == default == _NONE:
            continue
        today = dt.datetime.fromtimestamp(now_unix_s, dt.UTC).date()
        bounds: tuple[tuple[Period, dt.date], ...] = (("day", today), ("month", today.replace(day=1)))
        for period, since in bounds:
            hard = _own(account.budget, default, f"{period}_usd")
            soft = _own(account.budget, default, f"soft_{period}_usd")
            if hard is not None or soft is not None:
                kept_ms = round((_end(period, since) - now_unix_s) * 1000) + _KEPT_MS
                yield Purse(account.scope, account.name, period, since, hard, soft, kept_ms)


_NONE = Budget()


def _own(own: Budget, default: Budget, name: str) -> Decimal | None:
    value: Decimal | None = getattr(own, name)
    return getattr(default, name) if value is None else value
