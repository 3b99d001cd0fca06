"""What was sent and never answered is shown as unknown, and costs what was reserved for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from routing.budgets import nano
from tests.acceptance.crowd import Trio, key_id
from tests.acceptance.gateway import CHAT, asked, chat, eventually, refused
from tests.acceptance.test_budgets import ONE, PRICE, booked, rows_of, spent
from tests.acceptance.test_ledger import usage
from tests.standins import Fault

LONGEST = 16
LEAST = LONGEST * PRICE[1]  # of any reserve: the answer alone


def ask(trio: Trio, tenant: str, model: str, **more: Any) -> tuple[str, httpx.Response]:
    """The key, and what it is answered."""
    key = trio.key(tenant=tenant, budget={"day_usd": 5})
    with trio.gateway.http(key) as http:
        return key, http.post(CHAT, json=chat(model, max_completion_tokens=LONGEST, fallbacks=[], **more))


def reserve(attempt: dict[str, Any]) -> Decimal:
    """What an unknown attempt is said to have cost."""
    assert attempt["outcome"] == "unknown" and attempt["estimated"] is True
    cost = Decimal(attempt["cost_usd"])
    assert LEAST < cost < 2 * LEAST
    return cost


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("model", "fault"),
    [
        pytest.param("hasty-paid", Fault("hang"), id="not in time"),
        pytest.param("gpt-4-lost-a", Fault("cut", after=0), id="cut before a word"),
        pytest.param("gpt-4-lost-b", Fault("garbage", after=0), id="garbled"),
    ],
)
def test_an_attempt_without_an_answer_is_unknown_and_keeps_its_reserve(
    trio: Trio, model: str, fault: Fault, stream: bool
) -> None:
    trio.gateway.upstream.part(model).always = fault
    tenant = f"unanswered-{fault.kind}-{stream}"
    key, response = ask(trio, tenant, model, stream=stream)
    job = trio.gateway.ended(response.headers["x-gateway-job"], key=key)
    assert job["state"] == "failed" and job["usage"] is None
    (attempt,) = job["attempts"]
    cost = reserve(attempt)
    (row,) = rows_of(trio, tenant)
    assert Decimal(row["cost_usd"]) == booked([row]) == Decimal(job["cost_usd"]) == cost
    assert spent(trio, f"key:{key_id(key)}") == nano(cost)
    with trio.gateway.http(key) as http:
        total = usage(http)["total"]
    assert (total["unknown_attempts"], Decimal(total["cost_usd"])) == (1, cost)


def test_what_another_target_answers_is_paid_beside_it(trio: Trio) -> None:
    model, part = "gpt-4-lost-c", trio.gateway.upstream.part("gpt-4-lost-c")
    trio.gateway.upstream.part("hasty-paid").always = Fault("hang")
    key = trio.key(tenant="beside", budget={"day_usd": 5}, limits={"tokens_per_minute": 9_000})
    with trio.gateway.http(key) as http:
        asked(http.post(CHAT, json=chat("hasty-paid", max_completion_tokens=LONGEST, fallbacks=[model])))
    (row,) = rows_of(trio, "beside")
    whole = booked([row])
    assert len(part.asked) == 1 and Decimal(row["cost_usd"]) == ONE and whole > ONE + LEAST
    assert spent(trio, f"key:{key_id(key)}") == nano(whole)


@pytest.mark.parametrize("model", ["gpt-4-lost-d", "down-paid"])
def test_a_refusal_and_a_connection_that_never_was_cost_nothing(trio: Trio, model: str) -> None:
    trio.gateway.upstream.part("gpt-4-lost-d").always = Fault("status", 500)
    key, response = ask(trio, f"told-{model}", model)
    refused(response, 502)
    job = trio.gateway.ended(response.headers["x-gateway-job"], key=key)
    assert {each["outcome"] for each in job["attempts"]} == {"failed"} and job["cost_usd"] is None
    assert spent(trio, f"key:{key_id(key)}") == 0


@pytest.mark.parametrize("ending", ["cancelled", "expired"])
def test_a_job_that_is_given_up_while_its_provider_works_has_its_reserve_back(trio: Trio, ending: str) -> None:
    part = trio.gateway.upstream.part("gpt-4-lost-e")
    part.hold()
    key = trio.key(tenant=f"midway-{ending}", budget={"day_usd": 5})
    with trio.gateway.http(key) as http:
        body = chat("gpt-4-lost-e", max_completion_tokens=LONGEST)
        before = len(part.asked)
        late = {"timeout_ms": 1_500} if ending == "expired" else {}
        job = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": {**body, **late}}), 202)
        eventually(lambda: len(part.asked), lambda count: count > before)
        if ending == "cancelled":
            asked(http.delete(f"/v1/jobs/{job['id']}"))
    ended = trio.gateway.ended(job["id"], key=key)
    part.let_go()
    assert ended["state"] == ending
    (attempt,) = ended["attempts"]
    assert attempt["outcome"] == ending and ended["cost_usd"] is None
    assert spent(trio, f"key:{key_id(key)}") == 0
