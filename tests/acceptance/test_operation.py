"""What operators ask: probes that are open, pages that need a key, and no secret on any of them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway import CHAT, LIVE, Gateway, asked, chat, eventually
from tests.conftest import free_port


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_probes_are_open(gateway: Gateway, path: str) -> None:
    with gateway.http("") as http:
        assert asked(http.get(path))["status"] == "ok"


def test_providers_are_shown_with_their_lanes(gateway: Gateway, http: httpx.Client) -> None:
    rows = {row["name"]: row for row in asked(http.get("/providers"))["data"]}
    assert {name for name, row in rows.items() if row["enabled"]} == set(LIVE) and "closed" in rows
    assert rows["inner"]["private"] is True and rows["openai"]["private"] is False
    assert rows["openai"]["workers"] == 1 and not rows["closed"]["workers"]
    assert rows["openai"]["lanes"].keys() == {"interactive", "batch"}


def test_an_administrator_sees_the_config_and_no_secret(gateway: Gateway) -> None:
    secrets = ["11" * 32, "22" * 32, ":secret@", gateway.admin_key]
    with gateway.http(gateway.admin_key) as http:
        config = http.get("/config")
        assert asked(config)["providers"]["inner"]["private"] is True
        assert asked(http.get("/settings"))["provider_models"]["openai"] == ["gpt-", "text-embedding"]
        redis = asked(http.get("/redis-test"))
        assert redis["status"] == "ok" and redis["round_trip_ms"] > 0
        for path in ("/config", "/settings", "/redis-test", "/providers", "/health", "/openapi.json"):
            text = http.get(path).text
            assert not [secret for secret in secrets if secret in text], path


def test_a_secret_is_in_no_log(gateway: Gateway, http: httpx.Client) -> None:
    http.post(CHAT, json=chat("down-1", "a swordfish in a prompt"))
    http.get("/v1/models", headers={"Authorization": "Bearer gw-1-swordfish"})
    for process in gateway.stack.processes:
        log = process.log.read_text(errors="replace")
        for secret in ("11" * 32, "22" * 32, ":secret@", gateway.key, "swordfish"):
            assert secret not in log, process.name


def test_metrics_have_a_port_of_their_own_and_no_tenants(gateway: Gateway) -> None:
    port = free_port()
    web = gateway.stack.start_web(GATEWAY_METRICS_PORT=str(port))
    with gateway.http(url=web.url) as http:
        asked(http.post(CHAT, json=chat(gateway.model()[0])))
        asked(http.post(CHAT, json=chat("no-such-model")), 404)
        asked(http.get("/metrics"), 404)
        asked(http.post(CHAT, json=chat("gpt-4-paid-f")))
        scarce = [http.post(CHAT, json=chat("gpt-4-rationed")).status_code for _ in range(2)]
        assert scarce == [200, 429]

    def scraped() -> str:
        return httpx.get(f"http://127.0.0.1:{port}/metrics").text

    text: Any = eventually(scraped, lambda text: 'status="404"' in text)
    assert re.search(r'gateway_requests_total\{endpoint="/v1/chat/completions",status="200"\} 3\.0', text)
    assert "gateway_request_seconds_bucket" in text
    assert re.search(r'gateway_limited_total\{limit="model.requests_per_minute"\} 1\.0', text)
    text = eventually(scraped, lambda text: 'gateway_spent_usd{provider="openai"}' in text)
    assert "acme" not in text and "no-such-model" not in text
    assert web.terminate() == 0


def test_a_model_tells_what_is_known_of_it(http: httpx.Client) -> None:
    listed = {model["id"]: model for model in asked(http.get("/v1/models"))["data"]}
    shown = asked(http.get("/v1/models/gpt-4o-mini"))

    assert shown == listed["gpt-4o-mini"]
    facts = shown["gateway"]
    assert facts["context_window"] == 128_000 and facts["price"]["input_usd_per_mtok"] == "0.15"
    assert facts["max_output"] is None and facts["tools"] is None
    assert all(set(model["gateway"]) == set(facts) for model in listed.values())
