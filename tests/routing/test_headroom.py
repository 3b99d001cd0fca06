"""The limits that config gives a model lead to the next target, at the door and in a fallback, and are never passed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.acceptance.gateway import CHAT, asked, chat, eventually
from tests.counters import taken
from tests.routing.conftest import Running
from tests.routing.test_reload import SOON_S
from tests.standins import Fault

USED = 18  # tokens of each answer


def limit(gateway: Running, http: httpx.Client, limits: dict[str, str], alias: tuple[str, ...] = ()) -> None:
    """Put these limits of models into force everywhere, and an alias `pair`."""
    probe, _ = gateway.model("one-")
    text = (gateway.stack.folder / "gateway-settings.yaml").read_text()
    text = text.replace("\nmodels:\n", f"\nmodels:\n  {probe}: {{input_usd_per_mtok: 1, output_usd_per_mtok: 1}}\n")
    if alias:
        text = text.replace("aliases:\n", f"aliases:\n  pair: {{targets: [{', '.join(alias)}]}}\n")
    told = ", ".join(f"{model}: {{{of}}}" for model, of in limits.items())
    gateway.write(f"{text}limits: {{models: {{{told}}}}}\n")

    def in_force() -> bool:
        with gateway.http(gateway.admin_key) as admin:
            known = asked(admin.get("/config"))["limits"]["models"]
        return known.keys() == limits.keys() and "x-gateway-cost-usd" in http.post(CHAT, json=chat(probe)).headers

    eventually(in_force, bool, 2 * SOON_S, "the door routes and the worker charges by it")


def window(gateway: Running, what: str, model: str) -> int:
    return taken(gateway.stack.client(), f"{what}:model:{model}")


def at_once(http: httpx.Client, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: http.post(CHAT, json=body), bodies))


def test_a_full_target_is_passed_by_and_none_gets_more_than_its_limit(gateway: Running, http: httpx.Client) -> None:
    (first, first_part), (second, second_part) = gateway.model("two-"), gateway.model("one-")
    limit(gateway, http, {first: "requests_per_minute: 3"}, (first, second))
    told = at_once(http, [chat("pair")] * 8)
    assert Counter(asked(each)["provider"] for each in told) == {"second": 3, "first": 5}
    assert (len(first_part.asked), len(second_part.asked)) == (3, 5)

    def candidates() -> dict[str, str | None]:
        found = asked(http.post("/v1/route", json=chat("pair")))["candidates"]
        return {each["model"]: each["reason"] for each in found}

    eventually(candidates, lambda found: found == {second: None, first: "no_headroom"}, SOON_S)


def test_when_all_are_full_the_refusal_names_the_limit(gateway: Running, http: httpx.Client) -> None:
    (first, _), (second, _) = gateway.model("two-"), gateway.model("one-")
    limit(gateway, http, dict.fromkeys((first, second), "requests_per_minute: 2"), (first, second))
    told = at_once(http, [chat("pair")] * 6)
    assert Counter(each.status_code for each in told) == {200: 4, 429: 2}
    refused = [each for each in told if each.status_code == 429]
    assert {each.headers["x-gateway-limit"] for each in refused} == {"model.requests_per_minute"}


def test_a_fallback_moves_what_it_counts_and_never_passes_the_next_ones_limit(
    gateway: Running, http: httpx.Client
) -> None:
    (ill, ill_part), (well, well_part) = gateway.model("one-"), gateway.model("two-")
    ill_part.always = Fault("status", 503)
    both = "tokens_per_minute: 100000, requests_per_minute"
    limit(gateway, http, {ill: f"{both}: 50", well: f"{both}: 3"})
    told = at_once(http, [chat(ill, fallbacks=[well], timeout_ms=4_000)] * 6)
    assert Counter(each.status_code for each in told) == {200: 3, 429: 3}
    refused = [each for each in told if each.status_code == 429]
    said = {each.json()["error"]["message"] for each in refused}
    assert all("requests per minute of the model" in message and well in message for message in said)
    assert {each.headers["x-gateway-limit"] for each in refused} == {"model.requests_per_minute"}
    assert len(well_part.asked) == 3
    # Who was refused has taken no tokens, who answered has taken what it used.
    assert window(gateway, "requests_per_minute", ill) == len(ill_part.asked)
    assert window(gateway, "requests_per_minute", well) == 3
    assert window(gateway, "tokens_per_minute", ill) == 0
    assert window(gateway, "tokens_per_minute", well) == 3 * USED
    client = gateway.stack.client()
    places = [value for owner in client.scan_iter("gw:holds:tenant:*") for value in client.hgetall(owner).items()]  # type: ignore[union-attr]
    assert {int(value) for counter, value in places if counter.startswith(b"lane.")} == {0}


def test_a_fallback_waits_for_a_place_at_the_next_target(gateway: Running, http: httpx.Client) -> None:
    (ill, ill_part), (narrow, part) = gateway.model("one-"), gateway.model("two-")
    ill_part.always = Fault("status", 503)
    part.hold()
    limit(gateway, http, {narrow: "concurrent: 1"})
    body = {"endpoint": CHAT, "body": chat(ill, fallbacks=[narrow])}
    jobs = [asked(http.post("/v1/jobs", json=body), 202)["id"] for _ in range(3)]
    states = eventually(
        lambda: Counter(gateway.job(job)["state"] for job in jobs), lambda seen: seen["parked"] == 2, 10, "two wait"
    )
    assert states["running"] == 1 and len(part.asked) == 1
    part.let_go()
    assert {gateway.ended(job)["state"] for job in jobs} == {"done"} and len(part.asked) == 3
