"""Tells by webhook that a budget is being spent: once for each period, bound and share.

A message is signed as the Standard Webhooks specification says; its id is the same however often it is tried.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog

from mesh import store
from mesh.allowances import NO_BUDGET, Budget, BudgetSettings
from mesh.errors import ConfigError, RequestError
from mesh.settings import Config, secret
from routing.budgets import Purse, nano, purses, usd
from routing.limits import Account
from routing.prices import plain
from workers.fetch import Fetcher
from workers.pipe import Pipe

log = structlog.get_logger()

PAUSES_S = (1.0, 5.0, 20.0)  # between two tries
_SENDING_MS = 60_000  # a sender that has not said more by then is dead
_KEPT_MS = 40 * 86_400_000  # longer than any period


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget of which a share is spent."""

    purse: Purse
    bound: str  # hard | soft
    budget_usd: Decimal
    share: float
    spent_usd: Decimal

    @property
    def name(self) -> str:
        return f"{self.purse.counter}:{self.bound}:{self.share:g}"

    @property
    def message_id(self) -> str:
        return "msg_" + hashlib.sha256(self.name.encode()).hexdigest()[:32]

    def body(self, now_unix_s: int) -> bytes:
        return orjson.dumps(
            {
                "type": "budget.spent",
                "timestamp": now_unix_s,
                "data": {
                    "scope": self.purse.scope,
                    "owner": self.purse.owner,
                    "period": self.purse.period,
                    "since": self.purse.since.isoformat(),
                    "bound": self.bound,
                    "share": self.share,
                    "budget_usd": plain(self.budget_usd),
                    "spent_usd": plain(self.spent_usd),
                },
            }
        )


def signature(secret: bytes, message_id: str, sent_unix_s: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = hmac.new(secret, b"%b.%d.%b" % (message_id.encode(), sent_unix_s, body), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def secret_of(text: str) -> bytes:
    """
    Raises:
        ConfigError: it is not `whsec_` and base64 of 24 to 64 bytes.
    """
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith("whsec_") or not 24 <= len(secret) <= 64:
        raise ConfigError("budgets.alerts.secret_env: the variable must hold `whsec_` and base64 of 24 to 64 bytes")
    return secret


def _secret(settings: BudgetSettings) -> bytes:
    return secret_of(secret(settings.alerts.secret_env)) if settings.alerts.url else b""


def crossings(settings: BudgetSettings, purse: Purse, spent: int) -> Iterator[Crossing]:
    """The shares that are spent.

    spent: nano-dollars.
    """
    for bound, budget_usd in (("hard", purse.hard_usd), ("soft", purse.soft_usd)):
        for share in settings.alerts.at:
            if budget_usd and spent >= nano(budget_usd) * share:
                yield Crossing(purse, bound, budget_usd, share, usd(spent))


class Alerts:
    """
    Raises:
        ConfigError: the secret is missing, or none.
    """

    def __init__(self, pipe: Pipe, config: Config, fetcher: Fetcher) -> None:
        self._pipe = pipe
        self._fetcher = fetcher
        self._settings = config.budgets
        self._secret = _secret(config.budgets)
        self._refused: BudgetSettings | None = None  # the newest, where it could not be taken up
        self._sending: set[asyncio.Task[None]] = set()

    def take_up(self, config: Config) -> None:
        """Go on by what config says now; where its secret is none, by what it said before."""
        now = config.budgets
        if now == self._settings or now == self._refused:
            return
        try:
            self._secret = _secret(now)
        except ConfigError as error:
            self._refused = now
            log.error("alerts_refused", why=str(error))
            return
        self._settings, self._refused = now, None

    async def look(self, spenders: Iterable[tuple[str, str]]) -> None:
        """Send what is to be told of these (tenant, key)."""
        if not self._settings.alerts.url:
            return
        accounts = [await self._account("key", key) for key in {key for _, key in spenders}]
        accounts += [await self._account("tenant", tenant) for tenant in {tenant for tenant, _ in spenders}]
        for purse in purses(self._settings, accounts, time.time()):
            spent = await self._pipe.do(store.spent(purse.counter))
            for crossing in crossings(self._settings, purse, spent):
                if await self._pipe.do(store.claim_alert(crossing.name, _SENDING_MS)):
                    task = asyncio.create_task(self._send(crossing))
                    self._sending.add(task)
                    task.add_done_callback(self._sending.discard)

    async def sent(self) -> None:
        """Wait until what is under way has been sent, or given up."""
        if self._sending:
            await asyncio.wait(self._sending)

    async def _account(self, scope: Any, name: str) -> Account:
        if scope == "key":
            settings = (await self._pipe.do(store.get_key(name))).get("settings", "")
        else:
            settings = (await self._pipe.do(store.get_tenant(name))).decode()
        try:
            budget = Budget.model_validate(orjson.loads(settings or "{}").get("budget") or {})
        except (ValueError, AttributeError) as error:  # another version's, or no record of ours
            log.error("budget_unreadable", scope=scope, owner=name, why=type(error).__name__)
            budget = NO_BUDGET
        return Account(scope, name, budget=budget)

    async def _send(self, crossing: Crossing) -> None:
        alerts = self._settings.alerts
        sent = int(time.time())
        body = crossing.body(sent)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": crossing.message_id,
            "webhook-timestamp": str(sent),
            "webhook-signature": signature(self._secret, crossing.message_id, sent, body),
        }
        host = urlsplit(alerts.url).hostname or ""
        for pause_s in (*PAUSES_S, None):
            try:
                status = await self._fetcher.post(alerts.url, body, headers, hosts=(host,))
                why = f"status {status}"
            except RequestError as error:
                status, why = 0, error.message
            if 200 <= status < 300:
                await self._pipe.do(store.keep_alert(crossing.name, _KEPT_MS))
                log.info("alert_sent", budget=crossing.name)
                return
            log.warning("alert_not_sent", budget=crossing.name, why=why)
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        await self._pipe.do(store.forget_alert(crossing.name))
