"""Limits: 200 clients before three web processes get exactly what is allowed, and everybody else is told why."""

from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path

import openai
import pytest

from tests.acceptance.crowd import TENANTS, Reply, Trio, key_id
from tests.acceptance.gateway import CHAT, FOUR_KEYS, SETTINGS, asked, chat, eventually, refused
from tests.counters import taken
from tests.standins import Reply as Said

CROWD = 200
USED = 18  # tokens of each answer


def counted(replies: list[Reply]) -> dict[int, int]:
    return {status: sum(reply.status == status for reply in replies) for status in {each.status for each in replies}}


def window(trio: Trio, name: str) -> int:
    return taken(trio.gateway.stack.client(), name)


def test_requests_a_minute_are_exact_over_all_replicas(trio: Trio) -> None:
    key = trio.key(tenant="rpm", limits={"requests_per_minute": 100})
    model, part = trio.gateway.model()
    replies = trio.ask(key, [chat(model)] * CROWD)

    assert counted(replies) == {200: 100, 429: 100}
    assert len(part.asked) == 100
    remaining = sorted(int(each.headers["x-ratelimit-remaining-requests"]) for each in replies if each.status == 200)
    assert remaining == list(range(100))
    for reply in replies:
        assert reply.headers["x-ratelimit-limit-requests"] == "100"
        if reply.status == 429:
            assert reply.body["error"].keys() == FOUR_KEYS and reply.body["error"]["code"] == "rate_limit_exceeded"
            assert "key.requests_per_minute" in reply.body["error"]["message"]
            assert reply.headers["x-gateway-limit"] == "key.requests_per_minute"
            assert 1 <= int(reply.headers["Retry-After"]) <= 61
            assert reply.headers["x-ratelimit-remaining-requests"] == "0"


def test_tokens_a_minute_are_reserved_and_then_settled_on_what_was_used(trio: Trio) -> None:
    model, part = trio.gateway.model()
    body = chat(model, max_tokens=100)
    key = trio.key(tenant="tpm", limits={"tokens_per_minute": 10_000})
    part.hold()
    crowd = threading.Thread(target=lambda: replies.extend(trio.ask(key, [body] * CROWD)))
    replies: list[Reply] = []
    crowd.start()
    name = f"tokens_per_minute:key:{key_id(key)}"
    # While nothing is settled, what is reserved is as near to the limit as one request allows.
    held = eventually(lambda: window(trio, name), lambda taken: taken > 10_000 - 200)
    part.let_go()
    crowd.join(30)

    done = sum(reply.status == 200 for reply in replies)
    assert done == len(part.asked) and counted(replies) == {200: done, 429: CROWD - done}
    assert window(trio, name) == done * USED
    with trio.gateway.http(key) as http:
        later = http.post(CHAT, json=body)
    reserved = 10_000 - int(later.headers["x-ratelimit-remaining-tokens"]) - done * USED
    assert 100 < reserved < 200 and later.headers["x-ratelimit-limit-tokens"] == "10000"
    assert held % reserved == 0 and held // reserved == 10_000 // reserved


def test_jobs_at_once_are_exact_and_places_are_free_again(trio: Trio) -> None:
    key = trio.key(tenant="concurrent", limits={"concurrent": 20})
    model, part = trio.gateway.model()
    part.hold()
    replies: list[Reply] = []
    crowd = threading.Thread(target=lambda: replies.extend(trio.ask(key, [chat(model)] * CROWD)))
    crowd.start()
    eventually(lambda: len(part.asked), lambda asked: asked == 20)
    part.let_go()
    crowd.join(30)
    statuses = counted(replies)
    assert statuses[200] >= 20 and statuses[200] + statuses[429] == CROWD
    assert taken(trio.gateway.stack.client(), f"concurrent:key:{key_id(key)}") == 0
    assert trio.ask(key, [chat(model)])[0].status == 200


def test_a_tenants_limit_holds_over_all_its_keys(trio: Trio) -> None:
    with trio.admin() as http:
        asked(http.post(f"{TENANTS}/crowded", json={"limits": {"requests_per_minute": 30}}))
    keys = [trio.key(tenant="crowded") for _ in range(2)]
    model, _ = trio.gateway.model()
    statuses = [reply.status for key in keys for reply in trio.ask(key, [chat(model)] * 25)]
    assert statuses.count(200) == 30 and statuses.count(429) == 20


@pytest.mark.parametrize(("model", "limit"), [("gpt-4-rare", "model"), ("scarce-one", "provider")])
def test_a_model_and_a_provider_have_limits_of_their_own(trio: Trio, model: str, limit: str) -> None:
    keys = [trio.key(tenant=f"{limit}{number}") for number in range(2)]
    replies = [reply for key in keys for reply in trio.ask(key, [chat(model)] * 5)]
    assert counted(replies) == {200: 4, 429: 6}
    told = next(reply for reply in replies if reply.status == 429)
    assert told.headers["x-gateway-limit"] == f"{limit}.requests_per_minute"


def test_a_request_that_is_larger_than_the_limit_is_told_so(trio: Trio) -> None:
    key = trio.key(tenant="small", limits={"tokens_per_minute": 500})
    model, _ = trio.gateway.model()
    with trio.gateway.http(key) as http:
        error = refused(http.post(CHAT, json=chat(model, max_tokens=1000)), 429)
        assert error["code"] == "request_exceeds_limit"
        asked(http.post(CHAT, json=chat(model, max_tokens=50)))


def test_whoever_would_rather_wait_is_served_when_the_limit_is_free_again(trio: Trio) -> None:
    key = trio.key(tenant="patient", limits={"concurrent": 1})
    model, part = trio.gateway.model()
    replies = trio.ask(key, [chat(model, max_wait=20_000)] * 8)
    assert counted(replies) == {200: 8}
    part.hold()
    waiting = threading.Thread(target=lambda: trio.ask(key, [chat(model)]))
    waiting.start()
    eventually(lambda: len(part.asked), lambda asked: asked == 9)
    began = time.monotonic()
    (late,) = trio.ask(key, [chat(model)], {"X-Gateway-Max-Wait": "300"})
    assert late.status == 429 and 0.3 <= time.monotonic() - began < 3
    part.let_go()
    waiting.join(10)


def test_openais_client_reads_the_limit_from_a_refusal(trio: Trio) -> None:
    key = trio.key(tenant="client", limits={"requests_per_minute": 1})
    model, _ = trio.gateway.model()
    client = trio.gateway.client(api_key=key)
    raw = client.chat.completions.with_raw_response.create(**chat(model))
    assert raw.headers["x-ratelimit-limit-requests"] == "1" and raw.headers["x-ratelimit-reset-requests"] == "1m0s"
    with pytest.raises(openai.RateLimitError, match=r"1 requests per minute of the key"):
        client.chat.completions.create(**chat(model))


def test_a_cancelled_job_frees_its_tokens_but_not_its_request(trio: Trio) -> None:
    key = trio.key(tenant="cancel", limits={"requests_per_minute": 9, "tokens_per_minute": 5_000, "concurrent": 9})
    with trio.gateway.http(key) as http:
        body = {"endpoint": CHAT, "body": chat("idle-" + secrets.token_hex(4), max_tokens=100)}
        job = asked(http.post("/v1/jobs", json=body), 202)
        assert window(trio, f"tokens_per_minute:key:{key_id(key)}") > 100
        asked(http.delete(f"/v1/jobs/{job['id']}"))
    assert window(trio, f"tokens_per_minute:key:{key_id(key)}") == 0
    assert window(trio, f"requests_per_minute:key:{key_id(key)}") == 1
    assert taken(trio.gateway.stack.client(), f"concurrent:key:{key_id(key)}") == 0


def test_more_tokens_than_were_reserved_are_counted(trio: Trio) -> None:
    key = trio.key(tenant="wordy", limits={"tokens_per_minute": 1_000})
    model, part = trio.gateway.model()
    part.reply = Said(usage=(900, 400))
    with trio.gateway.http(key) as http:
        asked(http.post(CHAT, json=chat(model, max_tokens=50)))
        error = refused(http.post(CHAT, json=chat(model, max_tokens=50)), 429)
    assert "1300 are taken" in error["message"]


def test_a_counter_that_cannot_be_read_refuses_by_default(trio: Trio) -> None:
    key = trio.key(tenant="broken", limits={"requests_per_minute": 5})
    trio.gateway.stack.client().rpush(f"gw:holds:key:{key_id(key)}", "a list")
    with trio.gateway.http(key) as http:
        error = refused(http.post(CHAT, json=chat(trio.gateway.model()[0])), 503)
    assert error["code"] == "store_unavailable" and "requests_per_minute:key" in error["message"]


def test_or_is_left_out_where_the_configuration_says_so(trio: Trio, tmp_path: Path) -> None:
    (tmp_path / "gateway-settings.yaml").write_text(SETTINGS.replace("limits:\n", "limits:\n  unreadable: allow\n"))
    lenient = trio.gateway.stack.start_web(GATEWAY_CONFIG=str(tmp_path))
    key = trio.key(tenant="lenient", limits={"requests_per_minute": 5, "concurrent": 1})
    trio.gateway.stack.client().rpush(f"gw:holds:key:{key_id(key)}", "a list")
    with trio.gateway.http(key, lenient.url) as http:
        asked(http.post(CHAT, json=chat(trio.gateway.model()[0])))
    assert lenient.terminate() == 0
