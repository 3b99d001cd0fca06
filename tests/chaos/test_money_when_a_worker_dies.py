"""kill -9 of a worker among 200 clients: the ledger is never below what the provider has billed."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import orjson

from mesh import store
from routing.budgets import nano
from tests.chaos.callers import Caller
from tests.chaos.conftest import Gateway
from tests.chaos.upstream import Wish
from tests.conftest import wait_until
from tests.counters import taken
from web import keys
from web.keys import NewKey

CROWD = 200
ONE = (10 * Decimal("2.50") + 5 * Decimal(10)) / 1_000_000  # of gpt-4o, for the tokens that the upstream reports


def test_the_ledger_is_never_below_the_bill_and_shows_each_attempt_that_nobody_knows_of(gateway: Gateway) -> None:
    client = gateway.stack.client()
    budget = {"day_usd": 100, "month_usd": 1000}
    key, record = keys.create(
        lambda call: store.run(client, call), NewKey.model_validate({"tenant": "crowd", "budget": budget})
    )
    callers = [Caller(gateway.start_web().url, key) for _ in range(3)]
    doomed = gateway.start_worker()
    with ThreadPoolExecutor(CROWD) as pool:
        asking = [pool.submit(callers[number % 3].ask, Wish(f"w{number}", delay_ms=400)) for number in range(CROWD)]
        wait_until(lambda: len(gateway.upstream.calls) >= 80, 30, "the upstream has many")
        doomed.kill()
        gateway.start_worker()
        answers = [each.result(60) for each in asking]
    gateway.settle()

    assert all(answer.right for answer in answers)
    gateway.check_each_done_once(answers, killed=True)
    attempts = [attempt for row in gateway.rows().values() for attempt in orjson.loads(row["attempts"])]
    unknown = [attempt for attempt in attempts if attempt["outcome"] == "unknown"]
    billed = gateway.upstream.calls.total() * ONE
    booked = sum(Decimal(attempt["cost_usd"]) for attempt in attempts)
    reserved = sum(Decimal(attempt["cost_usd"]) for attempt in unknown)
    assert unknown and all(attempt["estimated"] for attempt in unknown)
    assert booked == CROWD * ONE + reserved and booked >= billed
    today = dt.datetime.now(dt.UTC).date().isoformat()
    for period in (today, today[:7]):
        assert taken(client, f"{period}:key:{record.id}") == nano(booked)
