"""Jobs that are submitted now and asked for later: 202, polling, lists, cancelling, and one job for one key."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.acceptance.gateway import CHAT, ENDED, Gateway, asked, chat, eventually, refused
from tests.standins import Fault, Reply, vector

ASYNC = {"Prefer": "respond-async"}


def submit(http: httpx.Client, body: dict[str, Any], endpoint: str = CHAT, **options: Any) -> dict[str, Any]:
    job: dict[str, Any] = asked(http.post("/v1/jobs", json={"endpoint": endpoint, "body": body}, **options), 202)
    return job


def test_a_job_is_accepted_now_and_answered_later(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.hold()
    response = http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model)})
    accepted = asked(response, 202)
    assert response.headers["location"] == f"/v1/jobs/{accepted['id']}"
    assert response.headers["x-gateway-job"] == accepted["id"]
    assert accepted["state"] == "queued" and accepted["object"] == "job" and accepted["endpoint"] == CHAT
    running = eventually(lambda: asked(http.get(response.headers["location"])), lambda job: job["state"] == "running")
    assert running["result"] is None and running["error"] is None and running["usage"] is None
    part.let_go()
    job = gateway.ended(accepted["id"])
    assert job["state"] == "done" and job["error"] is None
    assert job["result"]["choices"][0]["message"]["content"] == part.reply.text
    assert job["usage"]["total_tokens"] == 18 and job["result"]["usage"] == job["usage"]
    assert (job["model"], job["provider"], job["position"]) == (model, "openai", None)
    (attempt,) = job["attempts"]
    assert (attempt["attempt"], attempt["provider"], attempt["outcome"]) == (1, "openai", "done")
    steps = [step["state"] for step in job["timeline"]]
    assert steps[0] == "queued" and steps[-1] == "done" and "running" in steps
    moments = [step["at_ms"] for step in job["timeline"]]
    assert moments == sorted(moments) and abs(moments[-1] / 1000 - time.time()) < 30


ENDPOINTS = [
    pytest.param("/v1/completions", {"model": "gpt-", "prompt": "Once"}, id="completions"),
    pytest.param("/v1/embeddings", {"model": "text-embedding-", "input": "one"}, id="embeddings"),
    pytest.param(
        CHAT, {"model": "gpt-", "messages": [{"role": "user", "content": "Hi"}], "stream": True}, id="a streamed chat"
    ),
]


@pytest.mark.parametrize(("endpoint", "body"), ENDPOINTS)
def test_every_endpoint_can_be_a_job(gateway: Gateway, http: httpx.Client, endpoint: str, body: dict[str, Any]) -> None:
    model, part = gateway.model(body["model"])
    job = gateway.ended(submit(http, body | {"model": model}, endpoint)["id"])
    assert job["state"] == "done" and job["endpoint"] == endpoint
    match endpoint:
        case "/v1/embeddings":
            assert job["result"]["data"][0]["embedding"] == vector("one", None)
        case "/v1/completions":
            assert job["result"]["choices"][0]["text"] == part.reply.text
        case _:
            assert job["result"]["object"] == "chat.completion"
            assert job["result"]["choices"][0]["message"]["content"] == part.reply.text
            assert (
                job["result"]["usage"]
                == job["usage"]
                == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
            )


def test_a_preference_makes_a_chat_a_job(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    response = http.post(CHAT, json=chat(model), headers=ASYNC)
    job = gateway.ended(asked(response, 202)["id"])
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["result"]["choices"][0]["message"]["content"] == part.reply.text
    # What waits for nobody does not stand in the way of those who wait.
    assert job["timeline"][0]["detail"] == "openai.batch"


def test_waiting_n_seconds_is_either_the_answer_or_a_202_and_the_same_job(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    response = http.post(CHAT, json=chat(model), headers={"Prefer": "wait=20"})
    assert asked(response)["choices"][0]["message"]["content"] == part.reply.text
    part.hold()
    began = time.monotonic()
    response = http.post(CHAT, json=chat(model), headers={"Prefer": "wait=1"})
    job_id = asked(response, 202)["id"]
    assert 0.9 < time.monotonic() - began < 3 and response.headers["location"] == f"/v1/jobs/{job_id}"
    assert gateway.job(job_id)["state"] == "running"
    part.let_go()
    assert gateway.ended(job_id)["result"]["choices"][0]["message"]["content"] == part.reply.text
    assert len(part.asked) == 2 and part.hung_up == 0


@pytest.mark.parametrize("prefer", ["wait=0", "wait=0, respond-async", "respond-async; wait=0"])
def test_waiting_no_time_at_all_is_a_202(gateway: Gateway, http: httpx.Client, prefer: str) -> None:
    model, _ = gateway.model()
    gateway.ended(asked(http.post(CHAT, json=chat(model), headers={"Prefer": prefer}), 202)["id"])


@pytest.mark.parametrize("prefer", ["", "return=minimal", "wait=soon", "handling=lenient"])
def test_another_preference_changes_nothing(gateway: Gateway, http: httpx.Client, prefer: str) -> None:
    asked(http.post(CHAT, json=chat(gateway.model()[0]), headers={"Prefer": prefer}))


def test_a_failed_job_says_why(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.always = Fault("status", 400)
    job = gateway.ended(submit(http, chat(model))["id"])
    assert job["state"] == "failed" and job["result"] is None and job["cost_usd"] is None
    assert job["error"] == {
        "message": "the reason for 400", "type": "invalid_request_error", "param": None, "code": "provider_rejected",
    }  # fmt: skip
    assert job["attempts"][0]["outcome"] == "failed" and job["attempts"][0]["error"] == "provider_rejected"


def test_jobs_are_listed_newest_first_in_pages(gateway: Gateway) -> None:
    key = gateway.stack.key("pages", "user")
    model, _ = gateway.model()
    bad, bad_part = gateway.model()
    bad_part.always = Fault("status", 400)
    with gateway.http(key) as http:
        assert asked(http.get("/v1/jobs")) == {
            "object": "list",
            "data": [],
            "has_more": False,
            "first_id": None,
            "last_id": None,
        }
        ids = [submit(http, chat(model if number % 3 else bad))["id"] for number in range(7)]
        eventually(
            lambda: [job["state"] for job in asked(http.get("/v1/jobs"))["data"]],
            lambda states: set(states) <= ENDED,
            15,
        )
        seen, after, pages = [], "", 0
        while True:
            page = asked(http.get("/v1/jobs", params={"limit": 3} | ({"after": after} if after else {})))
            seen += [job["id"] for job in page["data"]]
            assert page["first_id"] == page["data"][0]["id"] and page["last_id"] == page["data"][-1]["id"]
            pages, after = pages + 1, page["last_id"]
            if not page["has_more"]:
                break
        assert seen == ids[::-1] and pages == 3
        failed = asked(http.get("/v1/jobs", params={"state": "failed"}))["data"]
        assert [job["id"] for job in failed] == [ids[6], ids[3], ids[0]]
        assert {job["error"]["code"] for job in failed} == {"provider_rejected"}
        assert asked(http.get("/v1/jobs", params={"state": "queued"}))["data"] == []
        one = asked(http.get("/v1/jobs", params={"state": "failed", "limit": 1}))
        assert one["has_more"] is True and one["last_id"] == ids[6]


def test_a_waiting_job_knows_its_place_and_is_cancelled_at_once(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model("idle-")
    jobs = [submit(http, chat(model)) for _ in range(3)]
    places = [asked(http.get(f"/v1/jobs/{job['id']}"))["position"] for job in jobs]
    assert places == [job["position"] for job in jobs] == [0, 1, 2]
    cancelled = asked(http.delete(f"/v1/jobs/{jobs[1]['id']}"))
    assert (
        cancelled["state"] == "cancelled"
        and cancelled["error"]["code"] == "job_cancelled"
        and cancelled["position"] is None
    )
    assert asked(http.get(f"/v1/jobs/{jobs[2]['id']}"))["position"] == 1
    again = asked(http.delete(f"/v1/jobs/{jobs[1]['id']}"))
    assert again == cancelled
    for job in jobs:
        http.delete(f"/v1/jobs/{job['id']}")
    assert part.asked == []


def test_how_long_it_waits_is_told_once_the_lanes_pace_is_known(gateway: Gateway, http: httpx.Client) -> None:
    played = [gateway.model("idle-") for _ in range(5)]
    jobs = [submit(http, chat(model)) for model, _ in played]
    assert [job["eta_ms"] for job in jobs] == [None] * 5
    for _, part in played[2:]:
        part.hold()
    worker = gateway.stack.start_worker(queues="tasks.idle", GATEWAY_SLOTS="1")
    for job in jobs[:2]:
        gateway.ended(job["id"])
    eventually(lambda: gateway.job(jobs[2]["id"])["state"], lambda state: state == "running")
    waiting = [gateway.job(job["id"]) for job in jobs[3:]]
    assert [job["position"] for job in waiting] == [0, 1]
    first, second = (job["eta_ms"] for job in waiting)
    assert 0 <= first < 10_000 and abs(second - 2 * first) <= 1
    for _, part in played:
        part.let_go()
    for job in jobs:
        assert gateway.ended(job["id"])["state"] == "done"
    assert worker.terminate() == 0


def test_a_running_job_is_stopped_with_what_it_has(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.reply = Reply("one two three four five")
    part.hold(after=3)
    job_id = submit(http, chat(model, stream=True))["id"]
    eventually(
        lambda: asked(http.get(f"/v1/jobs/{job_id}"))["timeline"],
        lambda steps: any(step["state"] == "answering" for step in steps),
        what="it answers",
    )
    asked(http.delete(f"/v1/jobs/{job_id}"))
    job = gateway.ended(job_id)
    assert job["state"] == "cancelled" and job["error"]["code"] == "job_cancelled"
    assert job["result"]["choices"][0]["message"]["content"] == "".join(part.reply.pieces()[:2])
    eventually(lambda: part.hung_up, lambda count: count == 1, what="the provider's call was closed")


def test_an_ended_job_stays_as_it_ended(gateway: Gateway, http: httpx.Client) -> None:
    job = gateway.ended(submit(http, chat(gateway.model()[0]))["id"])
    assert asked(http.delete(f"/v1/jobs/{job['id']}")) == job == gateway.job(job["id"])


def test_a_job_past_its_deadline_expires(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.hold()
    idle, _ = gateway.model("idle-")
    ids = [submit(http, chat(name, timeout_ms=300))["id"] for name in (model, idle)]
    for job_id in ids:
        job = gateway.ended(job_id)
        assert job["state"] == "expired" and job["error"]["code"] == "deadline_exceeded"
        asked(http.get(f"/v1/jobs/{job_id}"))


@pytest.mark.parametrize("how", ["jobs", "respond-async"])
def test_the_same_key_is_the_same_job(gateway: Gateway, http: httpx.Client, how: str) -> None:
    model, part = gateway.model()
    headers = {"Idempotency-Key": model}

    def ask(text: str = "Hello") -> httpx.Response:
        if how == "jobs":
            return http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model, text)}, headers=headers)
        return http.post(CHAT, json=chat(model, text), headers=headers | ASYNC)

    first = asked(ask(), 202)["id"]
    assert asked(ask(), 202)["id"] == first
    gateway.ended(first)
    assert asked(ask(), 202)["id"] == first
    error = refused(ask("Goodbye"), 409)
    assert error["code"] == "idempotency_key_reused" and first in error["message"]
    with gateway.http(gateway.other_key) as other:  # each tenant has keys of its own
        assert asked(other.post(CHAT, json=chat(model), headers=headers | ASYNC), 202)["id"] != first
    eventually(lambda: len(part.asked), lambda count: count == 2)


@pytest.mark.parametrize("streamed", [False, True], ids=["blocking", "streamed"])
def test_twenty_at_once_with_one_key_are_one_call(gateway: Gateway, streamed: bool) -> None:
    model, part = gateway.model()
    part.hold()

    def ask(number: int) -> tuple[str, str]:
        with gateway.http() as http:
            response = http.post(CHAT, json=chat(model, stream=streamed), headers={"Idempotency-Key": model})
            assert response.status_code == 200, response.text
            return response.headers["x-gateway-job"], response.text

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(ask, number) for number in range(20)]
        eventually(lambda: len(part.asked), bool)
        eventually(lambda: _waiting(gateway), lambda count: count >= 1)
        part.let_go()
        told = [answer.result() for answer in answers]
    assert len(set(told)) == 1 and len(part.asked) == 1


def _waiting(gateway: Gateway) -> int:
    with gateway.http() as http:
        return int(asked(http.get("/health"))["waiting"])


def test_one_who_shares_a_key_and_leaves_does_not_end_it_for_the_others(gateway: Gateway) -> None:
    model, part = gateway.model()
    part.hold()
    headers = {"Idempotency-Key": model}
    with ThreadPoolExecutor(1) as pool, gateway.http() as http:
        stays = pool.submit(lambda: gateway.client().chat.completions.create(**chat(model), extra_headers=headers))
        eventually(lambda: part.asked, bool)
        with pytest.raises(httpx.ReadTimeout):
            http.post(CHAT, json=chat(model), headers=headers, timeout=1.5)
        part.let_go()
        assert stays.result().choices[0].message.content == part.reply.text
    assert len(part.asked) == 1 and part.hung_up == 0
