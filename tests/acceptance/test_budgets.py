"""Budgets: 200 clients before three web processes spend no more than they have, and every cent is booked."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import orjson

from mesh.allowances import Budget, BudgetSettings
from routing.budgets import nano, purses
from routing.limits import Account
from tests.acceptance.crowd import TENANTS, Reply, Trio, key_id
from tests.acceptance.gateway import CHAT, asked, chat, refused
from tests.acceptance.test_limits import CROWD, counted
from tests.acceptance.upstream import Part
from tests.counters import taken

PRICE = (Decimal("0.15") / 1_000_000, Decimal("0.60") / 1_000_000)  # of the paid models' tokens
ONE = 11 * PRICE[0] + 7 * PRICE[1]  # what each answer of the stand-in costs


def told_by_the_upstream(part: Part) -> Decimal:
    """What the stand-in has billed."""
    return len(part.asked) * ONE


def rows_of(trio: Trio, tenant: str) -> list[dict[str, str]]:
    return [row for row in trio.gateway.stack.ledger() if row["tenant"] == tenant]


def booked(rows: list[dict[str, str]]) -> Decimal:
    """The sum of all attempts."""
    attempts = [attempt for row in rows for attempt in orjson.loads(row["attempts"])]
    return sum((Decimal(attempt.get("cost_usd") or 0) for attempt in attempts), Decimal(0))


def spent(trio: Trio, name: str) -> int:
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return taken(trio.gateway.stack.client(), f"{today}:{name}")


def test_two_hundred_clients_never_spend_more_than_the_budget(trio: Trio) -> None:
    limit = 60 * ONE
    key = trio.key(tenant="budget", budget={"day_usd": float(limit)})
    model, part = trio.paid("a")
    replies: list[Reply] = []
    spending = True
    while spending:  # a crowd that spends nothing has found too little left for even one
        crowd = trio.ask(key, [chat(model, max_completion_tokens=16)] * CROWD)
        replies += crowd
        spending = any(reply.status == 200 for reply in crowd)

    done = sum(reply.status == 200 for reply in replies)
    assert counted(replies) == {200: done, 429: len(replies) - done}
    assert len(part.asked) == done and told_by_the_upstream(part) <= limit
    # What is left does not suffice for another request's reserve.
    reserve = 80 * PRICE[0] + 16 * PRICE[1]
    assert told_by_the_upstream(part) > limit - reserve
    rows = rows_of(trio, "budget")
    assert len(rows) == done
    assert booked(rows) == sum(Decimal(row["cost_usd"]) for row in rows) == told_by_the_upstream(part)
    assert spent(trio, f"key:{key_id(key)}") == nano(told_by_the_upstream(part))
    refusal = next(reply for reply in replies if reply.status == 429)
    assert refusal.body["error"]["code"] == "insufficient_quota" and refusal.headers["x-should-retry"] == "false"
    assert refusal.headers["x-gateway-limit"] == "key.day_usd"
    assert 1 <= int(refusal.headers["Retry-After"]) <= 86_400


def test_a_missing_length_is_set_to_what_was_reserved(trio: Trio) -> None:
    model, part = trio.paid("b")
    (bounded,) = trio.ask(trio.key(tenant="bounded", budget={"month_usd": 5}), [chat(model)])
    (free,) = trio.ask(trio.key(tenant="free", budget={"soft_month_usd": 5}), [chat(model)])
    assert (bounded.status, free.status) == (200, 200)
    assert part.asked[0]["max_completion_tokens"] == 4096
    assert "max_completion_tokens" not in part.asked[1]


def test_a_model_without_a_price_is_refused_under_a_hard_budget_only(trio: Trio) -> None:
    priceless, _ = trio.gateway.model("second-")
    with trio.gateway.http(trio.key(tenant="priceless", budget={"day_usd": 5})) as http:
        error = refused(http.post(CHAT, json=chat(priceless)), 400)
        assert (error["code"], error["param"]) == ("price_unknown", "model")
    with trio.gateway.http(trio.key(tenant="priceless", budget={"soft_day_usd": 5})) as http:
        asked(http.post(CHAT, json=chat(priceless)))


def test_a_soft_budget_counts_and_refuses_nothing(trio: Trio) -> None:
    key = trio.key(tenant="soft", budget={"soft_day_usd": float(ONE)})
    model, _ = trio.paid("c")
    assert counted(trio.ask(key, [chat(model)] * 3)) == {200: 3}
    assert spent(trio, f"key:{key_id(key)}") == 3 * nano(ONE)


def test_a_tenants_budget_is_shared_by_its_keys_and_a_failure_costs_nothing(trio: Trio) -> None:
    with trio.admin() as http:
        asked(http.post(f"{TENANTS}/shared", json={"budget": {"day_usd": 0.00002}}))
    keys = [trio.key(tenant="shared") for _ in range(2)]
    model, part = trio.paid("d")
    with trio.gateway.http(keys[0]) as http:
        assert (
            http.post(CHAT, json=chat("gpt-4-paid-d", max_tokens=1, provider="down", fallbacks=[])).status_code == 502
        )
    replies = [reply for key in keys * 3 for reply in trio.ask(key, [chat(model, max_completion_tokens=1)])]
    assert {200, 429} == {reply.status for reply in replies}
    assert told_by_the_upstream(part) <= Decimal("0.00002")
    assert spent(trio, "tenant:shared") == nano(told_by_the_upstream(part))


def test_a_cancelled_job_gives_back_what_it_reserved(trio: Trio) -> None:
    key = trio.key(tenant="returned", budget={"day_usd": 5})
    with trio.gateway.http(key) as http:
        job = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat("idle-paid")}), 202)
        assert spent(trio, f"key:{key_id(key)}") > nano(4096 * PRICE[1])
        asked(http.delete(f"/v1/jobs/{job['id']}"))
    assert spent(trio, f"key:{key_id(key)}") == 0


def test_a_period_begins_at_midnight_utc_and_a_month_on_its_first() -> None:
    account = Account("key", "k", budget=Budget(day_usd=Decimal(1), soft_month_usd=Decimal(9)))
    late = dt.datetime(2026, 12, 31, 23, 59, 59, 500_000, dt.UTC).timestamp()
    day, month = purses(BudgetSettings(), [account], late)
    assert (day.counter, month.counter) == ("2026-12-31:key:k", "2026-12:key:k")
    assert day.ends_unix_s == month.ends_unix_s == dt.datetime(2027, 1, 1, tzinfo=dt.UTC).timestamp()
    next_day, next_month = purses(BudgetSettings(), [account], late + 1)
    assert (next_day.counter, next_month.counter) == ("2027-01-01:key:k", "2027-01:key:k")
    assert month.hold(1).ceiling > nano(Decimal(1_000_000))
