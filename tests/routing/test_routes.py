"""Routes as callers meet them: aliases, chains by cause, circuits and parking, shadows, and the dry run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway import CHAT, asked, chat, eventually, refused
from tests.routing.conftest import Running
from tests.stack import ROOT
from tests.standins import Fault, Reply


def explained(http: httpx.Client, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    found: dict[str, Any] = asked(http.post("/v1/route", json=body, headers=headers))
    return found


def fate(route: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(f"{each['provider']}/{each['model']}", each["role"], each["reason"]) for each in route["candidates"]]


def ill(admin: httpx.Client) -> list[str]:
    return [each["name"] for each in asked(admin.get("/settings"))["ill"]]


def in_force(http: httpx.Client, model: str) -> None:
    eventually(lambda: http.post("/v1/route", json=chat(model)).status_code, lambda status: status == 200, 2, model)


def test_the_dry_run_explains_every_candidate_and_sends_nothing(gateway: Running, http: httpx.Client) -> None:
    in_force(http, "both")
    route = explained(http, chat("both", "x" * 4000, max_completion_tokens=1000, max_cost=0.01))
    assert route["targets"] == ["inner/inner-free", "second/two-dear"]
    assert route["rule"] == "cheapest" and route["error"] is None
    assert route["line"] == "alias both, cheapest, without first/one-dear (max_cost)"
    assert fate(route) == [
        ("inner/inner-free", "route", None),
        ("second/two-dear", "route", None),
        ("first/one-dear", "route", "max_cost"),
    ]
    first, second, dropped = route["candidates"]
    assert (first["order"], second["order"], dropped["order"]) == (0, 1, None)
    assert first["price_usd"] == "0" and float(second["price_usd"]) < 0.01 < float(dropped["price_usd"])
    assert all(each["eta_ms"] == each["wait_ms"] + each["service_ms"] > 0 for each in route["candidates"])
    assert gateway.upstream.part("two-dear").asked == []


def test_the_dry_run_tells_the_refusal(gateway: Running, http: httpx.Client) -> None:
    route = explained(http, chat("one-x", private=True))
    assert route["targets"] == [] and route["error"]["code"] == "no_private_target"
    assert fate(route) == [("first/one-x", "route", "not_private")]
    assert refused(http.post("/v1/route", json=chat("zzz")), 404)["code"] == "model_not_found"
    assert refused(http.post("/v1/route", json=chat("one-x", endpoint="/v1/zzz")), 400)["param"] == "endpoint"
    assert refused(http.post("/v1/route", json=[]), 400)
    with gateway.http("") as stranger:
        refused(stranger.post("/v1/route", json=chat("one-x")), 401)


def test_the_dry_run_takes_each_endpoints_body_and_the_headers(http: httpx.Client) -> None:
    body = {"endpoint": "/v1/embeddings", "model": "one-x", "input": "text"}
    assert explained(http, body, **{"X-Gateway-Fallbacks": "two-y"})["targets"] == ["first/one-x", "second/two-y"]


def test_a_key_that_is_private_routes_privately(gateway: Running) -> None:
    with gateway.http(gateway.stack.key("acme", "user", private=True)) as secret:
        in_force(secret, "both")
        assert explained(secret, chat("both"))["targets"] == ["inner/inner-free"]


def test_tools_go_only_where_there_are_some(http: httpx.Client) -> None:
    in_force(http, "both")
    tools = [{"type": "function", "function": {"name": "f"}}]
    route = explained(http, chat("both", tools=tools))
    assert route["targets"] == ["inner/inner-free", "first/one-dear"]
    assert ("second/two-dear", "route", "no_tools") in fate(route)


def test_the_timeline_tells_the_decision(gateway: Running, http: httpx.Client) -> None:
    in_force(http, "both")
    response = http.post(CHAT, json=chat("both"))
    assert asked(response)["model"] == "both" and response.json()["provider"] == "inner"
    steps = gateway.job(response.headers["x-gateway-job"])["timeline"]
    assert [step["detail"] for step in steps if step["state"] == "routed"] == ["alias both, cheapest"]
    plain = http.post(CHAT, json=chat("one-x"))
    steps = gateway.job(plain.headers["x-gateway-job"])["timeline"]
    assert [step["detail"] for step in steps if step["state"] == "routed"] == ["prefix one-"]


TOO_LONG = Fault("status", 400, error={"message": "x", "code": "context_length_exceeded"})
NOT_THIS = Fault("status", 400, error={"message": "x", "code": "content_filter"})
CAUSES = [
    pytest.param(TOO_LONG, "two-long", id="too long"),
    pytest.param(Fault("status", 429), "two-limited", id="limited"),
    pytest.param(NOT_THIS, "inner-tolerant", id="refused by its policy"),
    pytest.param(Fault("status", 503), "two-any", id="anything else"),
]
CHAINED = """
fallbacks:
  one-chained:
    context_length: [two-long]
    rate_limit: [two-limited]
    content_policy: [inner-tolerant]
    error: [two-any]
"""


@pytest.mark.parametrize(("fault", "answers"), CAUSES)
def test_a_failure_leads_on_by_its_cause(gateway: Running, http: httpx.Client, fault: Fault, answers: str) -> None:
    model, part = gateway.model("one-chained-")
    part.always = fault
    gateway.add(CHAINED)
    eventually(
        lambda: [each["role"] for each in explained(http, chat(model))["candidates"]], lambda roles: "chain" in roles, 2
    )
    answer = http.post(CHAT, json=chat(model))
    assert asked(answer)["model"] == model and answer.headers["x-gateway-model"] == answers
    assert answer.headers["x-gateway-attempts"] == "2" and len(part.asked) == 1
    none = http.post(CHAT, json=chat(model, fallbacks=[]))
    assert none.status_code >= 400


def test_an_ill_target_is_left_out_and_tried_again_when_its_time_is_over(
    gateway: Running, http: httpx.Client, admin: httpx.Client
) -> None:
    model, part = gateway.model("one-ill-")
    part.always = Fault("status", 503)
    body = chat(model, fallbacks=["two-well"])
    for _ in range(3):
        assert asked(http.post(CHAT, json=body))["provider"] == "second"
    route = eventually(
        lambda: explained(http, body), lambda route: len(route["targets"]) == 1, 3, "the circuit is open"
    )
    assert route["targets"] == ["second/two-well"]
    assert (f"first/{model}", "route", "circuit_open") in fate(route)
    assert f"first/{model}" in ill(admin)
    tried = len(part.asked)
    assert asked(http.post(CHAT, json=body))["provider"] == "second" and len(part.asked) == tried
    part.always = None
    eventually(lambda: http.post(CHAT, json=body).json()["provider"], lambda name: name == "first", 6, "it is tried")


def test_a_job_is_parked_while_its_only_target_cools_down_and_done_after(
    gateway: Running, http: httpx.Client, admin: httpx.Client
) -> None:
    model, part = gateway.model("one-parked-")
    part.always = Fault("status", 503)
    assert http.post(CHAT, json=chat(model)).status_code == 502
    eventually(lambda: ill(admin), lambda names: f"first/{model}" in names, 3, "it counts as ill")
    jobs = "/v1/jobs"
    waiting = [asked(http.post(jobs, json={"endpoint": CHAT, "body": chat(model)}), 202)["id"] for _ in range(3)]
    eventually(
        lambda: [[step["state"] for step in gateway.job(job)["timeline"]] for job in waiting],
        lambda all_: all("parked" in states for states in all_),
        6,
        "they are parked",
    )
    part.always = None
    for job in waiting:
        ended = gateway.ended(job, 20)
        assert ended["state"] == "done" and ended["result"]["choices"][0]["message"]["content"] == part.reply.text


def test_a_shadow_is_asked_too_and_kept_beside_the_answer(
    gateway: Running, http: httpx.Client, admin: httpx.Client
) -> None:
    model, part = gateway.model("one-")
    other, shadow = gateway.model("two-")
    part.reply, shadow.reply = Reply("the answer"), Reply("another answer")
    gateway.edit("aliases:\n", f"aliases:\n  watched: {{targets: [{model}], shadow: {{model: {other}, share: 1}}}}\n")
    in_force(http, "watched")
    response = http.post(CHAT, json=chat("watched", stream=True))
    assert response.status_code == 200 and "another" not in response.text
    job = gateway.job(response.headers["x-gateway-job"])
    twin = eventually(lambda: http.get(f"/v1/jobs/{job['shadow']}").json(), lambda twin: twin.get("state") == "done", 5)
    assert twin["shadow_of"] == job["id"] and twin["provider"] == "second"
    assert twin["result"]["choices"][0]["message"]["content"] == "another answer"
    assert twin["timeline"][0]["detail"] == "second.batch" and shadow.asked[0]["messages"] == part.asked[0]["messages"]
    pairs = asked(admin.get("/v1/shadows"))["data"]
    (pair,) = [pair for pair in pairs if pair["job"]["id"] == job["id"]]
    assert pair["shadow"]["id"] == twin["id"] and pair["tenant"] == "acme" and pair["model"] == "watched"
    assert refused(http.get("/v1/shadows"), 403)


def test_a_shadow_that_fails_is_nobodys_business(gateway: Running, http: httpx.Client) -> None:
    model, _ = gateway.model("one-")
    other, shadow = gateway.model("two-")
    shadow.always = Fault("status", 400)
    gateway.edit("aliases:\n", f"aliases:\n  risky: {{targets: [{model}], shadow: {{model: {other}, share: 1}}}}\n")
    in_force(http, "risky")
    response = http.post(CHAT, json=chat("risky"))
    assert asked(response)["provider"] == "first"
    job = gateway.job(response.headers["x-gateway-job"])
    eventually(lambda: http.get(f"/v1/jobs/{job['shadow']}").json(), lambda twin: twin.get("state") == "failed", 5)


def test_a_private_request_casts_no_shadow_abroad(gateway: Running, http: httpx.Client) -> None:
    model, _ = gateway.model("inner-")
    other, shadow = gateway.model("two-")
    gateway.edit("aliases:\n", f"aliases:\n  home: {{targets: [{model}], shadow: {{model: {other}, share: 1}}}}\n")
    in_force(http, "home")
    secret = http.post(CHAT, json=chat("home", private=True))
    assert asked(secret)["provider"] == "inner" and "shadow" not in gateway.job(secret.headers["x-gateway-job"])
    plain = http.post(CHAT, json=chat("home"))
    twin = gateway.job(plain.headers["x-gateway-job"])["shadow"]
    gateway.ended(twin)
    assert len(shadow.asked) == 1


def test_an_alias_is_a_model_that_can_be_listed(http: httpx.Client) -> None:
    in_force(http, "both")
    found = asked(http.get("/v1/models/both"))
    assert found["provider"] == "first" and found["gateway"]["price"]["input_usd_per_mtok"] == "10"


def test_the_command_shows_the_route(gateway: Running, http: httpx.Client) -> None:
    in_force(http, "both")
    command = [sys.executable, "-m", "cli.main", "route", "hello", "-m", "both", "--max-cost", "0.05"]
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "200", "GATEWAY_URL": gateway.url, "GATEWAY_API_KEY": gateway.key}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "both goes to inner/inner-free → second/two-dear (alias both, cheapest" in done.stdout
    assert "first/one-dear" in done.stdout and "max_cost" in done.stdout
