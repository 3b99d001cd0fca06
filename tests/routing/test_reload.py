"""A changed gateway-settings.yaml is in force within two seconds, in the door and in the workers, without a restart."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.acceptance.gateway import CHAT, asked, chat, eventually, refused
from tests.acceptance.test_socket import open_talk
from tests.routing.conftest import Running
from tests.standins import Fault

SOON_S = 2.0


def settings(admin: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = asked(admin.get("/settings"))
    return found


def route(http: httpx.Client, model: str, **more: Any) -> list[str]:
    response = http.post("/v1/route", json=chat(model, **more))
    return list(response.json().get("targets", [])) if response.status_code == 200 else []


def test_a_new_prefix_is_asked_without_a_restart(gateway: Running, http: httpx.Client) -> None:
    model, part = gateway.model("fresh-")
    assert refused(http.post(CHAT, json=chat(model)), 404)["code"] == "model_not_found"
    gateway.edit("second: [two-]", "second: [two-, fresh-]")
    answer = eventually(
        lambda: http.post(CHAT, json=chat(model)), lambda r: r.status_code == 200, SOON_S, "it is asked"
    )
    assert answer.json()["provider"] == "second" and len(part.asked) == 1


def test_a_new_price_is_charged_by_the_workers(gateway: Running, http: httpx.Client) -> None:
    def cost(model: str) -> str | None:
        return http.post(CHAT, json=chat(model)).headers.get("x-gateway-cost-usd")

    model, _ = gateway.model("one-")
    assert cost(model) is None
    gateway.edit("\nmodels:\n", f"\nmodels:\n  {model}: {{input_usd_per_mtok: 1000000, output_usd_per_mtok: 0}}\n")
    assert eventually(lambda: cost(model), lambda usd: usd is not None, SOON_S, "the price is charged") == "11"


def test_what_an_unanswered_attempt_costs_is_taken_up_by_the_workers(gateway: Running, http: httpx.Client) -> None:
    def outcome() -> str:
        model, part = gateway.model("one-")
        part.always = Fault("cut")
        job = gateway.ended(http.post(CHAT, json=chat(model, fallbacks=[])).headers["x-gateway-job"])
        return str(job["attempts"][0]["outcome"])

    assert outcome() == "unknown"
    gateway.add("ledger: {unanswered: nothing}\n")
    eventually(outcome, lambda told: told == "failed", SOON_S, "it costs nothing")


def test_a_new_rule_and_a_new_alias_order_the_next_request(gateway: Running, http: httpx.Client) -> None:
    cheapest = ["inner/inner-free", "second/two-dear", "first/one-dear"]
    eventually(lambda: route(http, "both"), lambda targets: targets == cheapest, SOON_S)
    gateway.edit("rule: cheapest", "rule: ordered")
    eventually(lambda: route(http, "both"), lambda targets: targets == cheapest[::-1], SOON_S, "the new rule")
    gateway.edit("aliases:\n", "aliases:\n  fresh: {targets: [two-dear]}\n")
    eventually(lambda: route(http, "fresh"), lambda targets: targets == ["second/two-dear"], SOON_S, "the new alias")
    assert "fresh" in [model["id"] for model in asked(http.get("/v1/models"))["data"]]


def test_a_new_stanza_is_routed_to_and_says_that_it_needs_a_worker(
    gateway: Running, http: httpx.Client, admin: httpx.Client
) -> None:
    gateway.edit("providers:\n", "providers:\n  third: {adapter: openai, base_url_env: UPSTREAM_URL}\n")
    eventually(lambda: route(http, "third/x"), lambda targets: targets == ["third/x"], SOON_S, "the new provider")
    assert any("needs a worker" in what for what in settings(admin)["waiting_for_restart"])


def test_a_changed_stanza_is_used_by_the_workers_while_older_jobs_go_on(gateway: Running, http: httpx.Client) -> None:
    model, part = gateway.model("two-")
    part.hold()
    job = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model)}), 202)["id"]
    eventually(lambda: part.asked, bool, what="the old job is under way")
    gateway.edit(
        "second: {adapter: openai, base_url_env: UPSTREAM_URL}",
        'second: {adapter: openai, base_url: "http://127.0.0.1:1/v1"}',
    )

    def fails() -> bool:
        return http.post(CHAT, json=chat("two-other", fallbacks=[])).status_code == 502

    eventually(fails, bool, SOON_S + 1, "the new address is used")
    part.let_go()
    assert gateway.ended(job)["state"] == "done"


def test_a_new_sockets_frames_may_be_as_large_as_config_says_then(gateway: Running) -> None:
    def too_large() -> bool:
        with open_talk(gateway) as talk:
            talk.say(type="ping", pad="x" * 2_000)
            try:
                return talk.hear()["type"] != "pong"
            except ConnectionClosed as closed:
                return closed.rcvd is not None and closed.rcvd.code == 1009

    assert not too_large()
    gateway.add("requests: {max_frame_bytes: 1000}\n")
    eventually(too_large, bool, SOON_S, "the new limit holds")


def test_the_default_model_is_asked_where_none_is_named(gateway: Running, http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    assert refused(http.post(CHAT, json=body), 400)["param"] == "model"
    gateway.add("requests: {default_model: one-default}\n")
    answer = eventually(lambda: http.post(CHAT, json=body), lambda r: r.status_code == 200, SOON_S, "it has a default")
    assert answer.json()["model"] == "one-default"


BROKEN = [
    pytest.param("retentoin: {}\n", "retentoin: unknown field, did you mean retention?", id="a typo"),
    pytest.param("circuit: {failures: 0}\n", "circuit.failures", id="out of bounds"),
    pytest.param("fallbacks: {one-: {error: [zzz]}}\n", "fallbacks.one-.error.0: no alias", id="leads nowhere"),
    pytest.param("lanes: [\n", "not YAML", id="not YAML"),
]


@pytest.mark.parametrize(("text", "place"), BROKEN)
def test_a_broken_file_is_refused_with_its_place_and_the_old_one_stays(
    gateway: Running, http: httpx.Client, admin: httpx.Client, text: str, place: str
) -> None:
    eventually(lambda: settings(admin)["file"]["refused"], lambda why: why is None, SOON_S)
    before = settings(admin)
    logged = [process.log.stat().st_size for process in gateway.stack.processes]
    if text.startswith(("circuit", "lanes")):
        gateway.edit(f"{text.partition(':')[0]}: {{", f"was_{text.partition(':')[0]}: {{")
    gateway.add(text)
    file = eventually(lambda: settings(admin)["file"], lambda file: file["refused"], SOON_S, "it is refused")
    assert place in file["refused"] and "gateway-settings.yaml" in file["refused"]
    assert file["refusals"] > before["file"]["refusals"] and file["loads"] == before["file"]["loads"]
    assert settings(admin)["aliases"] == before["aliases"]
    assert asked(http.post(CHAT, json=chat("one-x")))["provider"] == "first"
    metrics = eventually(
        lambda: httpx.get(gateway.metrics_url).text,
        lambda text: f'gateway_config_refusals{{file="gateway-settings.yaml"}} {file["refusals"]}.0' in text,
        SOON_S,
        "the metrics tell",
    )
    assert f'gateway_config_loads{{file="gateway-settings.yaml"}} {file["loads"]}.0' in metrics
    for process, size in zip(gateway.stack.processes, logged, strict=True):
        eventually(
            lambda process=process, size=size: process.log.read_bytes()[size:],
            lambda log: b"config_refused" in log,
            SOON_S,
            f"the log of {process.name} tells",
        )


def test_an_adapter_that_there_is_not_is_refused_by_the_workers(gateway: Running, http: httpx.Client) -> None:
    worker = gateway.stack.processes[-1]
    size = worker.log.stat().st_size
    gateway.edit("second: {adapter: openai,", "second: {adapter: opnai,")
    log = eventually(
        lambda: worker.log.read_bytes()[size:], lambda log: b"config_refused" in log, SOON_S, "the worker refuses it"
    )
    assert b"did you mean openai?" in log
    assert asked(http.post(CHAT, json=chat("two-x")))["provider"] == "second"
