"""Which limits and budgets a request counts against, and how what is left of them is told."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import orjson
import pytest

from mesh.allowances import Budget, Limits
from mesh.errors import ConfigError
from mesh.job import UNBOUNDED, Hold, Target
from mesh.settings import Config, parse_config
from routing.budgets import measured, nano, purses, usd
from routing.limits import Account, headers
from routing.prices import Most, PriceList
from routing.share import Allowance, share

BASE = """
provider_models: {}
providers: {openai: {adapter: openai}, ollama: {adapter: ollama, private: true}}
"""
GPT = Target("openai", "gpt-4o")


def config(text: str = "") -> Config:
    return parse_config(BASE + text)


LIMITED = """
limits:
  each_key: {requests_per_minute: 10, concurrent: 5}
  each_tenant: {tokens_per_minute: 1000}
  models: {gpt-4o: {concurrent: 3}, openai/gpt-4: {concurrent: 2}}
  providers: {openai: {requests_per_minute: 99}}
"""
CASES: list[Any] = [
    pytest.param("", Limits(), GPT, [], id="nothing"),
    pytest.param(
        LIMITED,
        Limits(),
        GPT,
        [
            ("key.requests_per_minute", 10), ("key.concurrent", 5), ("tenant.tokens_per_minute", 1000),
            ("model.concurrent", 3), ("provider.requests_per_minute", 99),
        ],
        id="config's",
    ),
    pytest.param(
        LIMITED,
        Limits(requests_per_minute=7, tokens_per_minute=8),
        Target("ollama", "llama3"),
        [
            ("key.requests_per_minute", 7), ("key.tokens_per_minute", 8), ("key.concurrent", 5),
            ("tenant.tokens_per_minute", 1000),
        ],
        id="the key's own go first",
    ),
    pytest.param(
        LIMITED.replace("{requests_per_minute: 10, concurrent: 5}", "{}"),
        Limits(),
        Target("openai", "gpt-4"),
        [("tenant.tokens_per_minute", 1000), ("model.concurrent", 2), ("provider.requests_per_minute", 99)],
        id="a model of one provider",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "own", "target", "expected"), CASES)
def test_a_request_counts_against_these(text: str, own: Limits, target: Target, expected: Any) -> None:
    accounts = (Account("key", "k", own), Account("tenant", "t"))
    settings = config(text)
    taking = share(settings, Allowance.of(settings, accounts), target, 500, None)
    assert [(limit.name, limit.ceiling) for limit in taking.limits] == expected
    words = orjson.loads(taking.holds)
    names = [f"{counter}:{owner}" for counter, owner in zip(words[1::7], words[2::7], strict=True)]
    assert names == [limit.one.name for limit in taking.limits]
    assert words[3::7] == [500 if "tokens" in name else 1 for name in names]
    assert words[4::7] == [ceiling for _, ceiling in expected]


def test_the_headers_tell_of_the_limit_that_is_nearest() -> None:
    settings = config(
        "limits: {each_key: {requests_per_minute: 10, concurrent: 5}, each_tenant: {requests_per_minute: 100}}"
    )
    limits = Allowance.of(settings, (Account("key", "k"), Account("tenant", "t"))).limits
    assert headers(limits, [1, 95]) == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "5",
        "x-ratelimit-reset-requests": "1m0s",
    }
    assert headers(limits, [10, 95])["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize(
    ("wait_ms", "reset", "after_s"), [(12, "12ms", 1), (6_200, "6.2s", 6.2), (60_400, "1m0.4s", 60.4)]
)
def test_a_refusal_tells_when_to_come_again(wait_ms: int, reset: str, after_s: float) -> None:
    settings = config("limits: {each_key: {tokens_per_minute: 100}}")
    taking = share(settings, Allowance.of(settings, (Account("key", "k"),)), GPT, 40, None)
    refusal = taking.refusal(taking.limits[0].one.name, 90, wait_ms)
    assert refusal is not None and refusal.retry_after_s == after_s
    assert refusal.headers["x-ratelimit-reset-tokens"] == reset
    assert "90 are taken, and this request may take 40" in refusal.message
    assert taking.refusal("lane.openai:tenant:acme", 1, 0) is None


def test_a_budget_of_its_own_goes_before_configs_and_what_is_not_said_stays() -> None:
    settings = config("budgets: {each_key: {day_usd: 1, soft_month_usd: 20}}")
    account = Account("key", "k", budget=Budget(day_usd=Decimal(5)))
    now = dt.datetime(2026, 2, 28, 12, tzinfo=dt.UTC).timestamp()
    day, month = purses(settings.budgets, [account], now)
    assert (day.hard_usd, day.soft_usd, day.counter) == (5, None, "2026-02-28:key:k")
    assert (month.hard_usd, month.soft_usd, month.counter) == (None, 20, "2026-02:key:k")
    assert day.hold(7) == Hold("2026-02-28:key:k", 7, 5 * 10**9, "spent", "cost", 12 * 3_600_000 + 2 * 86_400_000)
    assert month.hold(7).ceiling == UNBOUNDED


def test_a_budget_of_nothing_allows_what_is_free() -> None:
    settings = config("budgets: {each_key: {day_usd: 0}}")
    allowance = Allowance.of(settings, (Account("key", "k"),))
    assert allowance.hard and allowance.purses[0].hold(0).ceiling == 0


def test_the_dearest_target_is_reserved() -> None:
    prices = PriceList(config())
    most = Most(1000, 100)
    mini, unknown = Target("openai", "gpt-4o-mini"), Target("openai", "no-such-model")
    assert prices.dearest_usd((mini, unknown, GPT), most) == prices.ceiling_usd(GPT, most)
    assert prices.dearest_usd((unknown,), most) is None


def test_money_is_never_counted_too_low() -> None:
    assert nano(Decimal("0.0000000001")) == 1 and nano(Decimal("0.0000075")) == 7_500
    assert usd(nano(Decimal("12.5"))) == Decimal("12.5")
    assert measured({"total_tokens": 18}, Decimal("0.0000000375")) == {"tokens": 18, "cost": 38}
    assert measured(None, None) == {"tokens": 0, "cost": 0}


BAD: list[Any] = [
    pytest.param(
        "limits: {each_key: {requests_per_minute: 0}}", "limits.each_key.requests_per_minute", id="no requests"
    ),
    pytest.param("limits: {each_kee: {}}", "did you mean each_key", id="a typo"),
    pytest.param("limits: {providers: {opnai: {concurrent: 1}}}", "did you mean openai", id="no such provider"),
    pytest.param("budgets: {each_key: {day_usd: -1}}", "budgets.each_key.day_usd", id="below nothing"),
    pytest.param(
        "budgets: {each_tenant: {month_usd: 99000000}}", "budgets.each_tenant.month_usd", id="more than a script counts"
    ),
    pytest.param("budgets: {unknown_price: maybe}", "budgets.unknown_price", id="neither"),
    pytest.param('budgets: {alerts: {url: "https://a.b/"}}', "secret_env", id="an alert that nobody can trust"),
    pytest.param('budgets: {alerts: {url: "http://a.b/", secret_env: X}}', "https", id="an alert in the clear"),
    pytest.param("ledger: {export: {to: /var/lib}}", "ledger.export.to", id="no URL"),
    pytest.param('ledger: {export: {to: "file://host/x"}}', "ledger.export.to", id="another host's folder"),
    pytest.param("auth: {oidc: {issuer: x, audience: y}}", "jwks_url or jwks_file", id="no keys"),
    pytest.param('auth: {oidc: {issuer: x, audience: y, jwks_url: "http://a"}}', "https", id="keys in the clear"),
    pytest.param("auth: {oidc: {issuer: x, audience: y, jwks_file: z, tenants: {a: b c}}}", "tenants", id="no tenant"),
]


@pytest.mark.parametrize(("text", "place"), BAD)
def test_what_cannot_be_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        config(text)
