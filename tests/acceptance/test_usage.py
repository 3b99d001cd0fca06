"""Tokens that no provider reported: estimated, billed, and never shown as if they had been reported."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.acceptance.gateway import CHAT, Gateway, asked, chat, eventually
from tests.acceptance.test_openai_client import unknown_fields
from tests.acceptance.test_streams import USAGE, events, told
from tests.standins import Fault, Reply

SAID = "Queues are useful: nobody waits in vain. "
# 4 for the message and 2 for the five bytes of "Hello"; a token for each four bytes of what was said.
COUNTED = {"prompt_tokens": 6, "completion_tokens": 11, "total_tokens": 17}
REPORTED = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
MARKED = COUNTED | {"estimated": True}


def ledger_row(gateway: Gateway, job_id: str) -> dict[str, str]:
    (row,) = [row for row in gateway.stack.ledger() if row["job"] == job_id]
    return row


def silent(gateway: Gateway) -> tuple[str, Any]:
    """A model with a price, whose server reports no usage."""
    model, part = gateway.model("gpt-4o-mini-")
    part.reply = Reply(SAID, usage=None)
    return model, part


def test_a_whole_answer_without_usage_is_counted_and_marked(gateway: Gateway, http: httpx.Client) -> None:
    model = "gpt-4o-mini-2024-07-18"  # one that has a price
    gateway.upstream.part(model).reply = Reply(SAID, usage=None)
    response = http.post(CHAT, json=chat(model))
    body = asked(response)

    assert body["usage"] == COUNTED and body["gateway"] == {"estimated": True}
    assert response.headers["x-gateway-estimated"] == "true"
    job = gateway.ended(response.headers["x-gateway-job"])
    assert job["usage"] == MARKED and job["attempts"][0]["estimated"] is True
    row = ledger_row(gateway, job["id"])
    assert orjson.loads(row["usage"]) == MARKED and row["cost_usd"] == job["cost_usd"] == "0.0000075"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_openais_client_reads_an_estimate_as_any_usage(gateway: Gateway, stream: bool) -> None:
    model, _ = silent(gateway)
    answered = gateway.client().chat.completions.create(**chat(model), **({"stream": True, **USAGE} if stream else {}))
    last: Any = list(answered)[-1] if stream else answered

    assert unknown_fields(last) == []
    assert last.usage.model_dump(exclude_unset=True) == COUNTED
    assert last.model_extra["gateway"]["estimated"] is True


def test_a_stream_without_usage_ends_with_a_marked_chunk_where_it_was_asked_for(
    gateway: Gateway, http: httpx.Client
) -> None:
    model, _ = silent(gateway)
    *chunks, last, _ = events(http.post(CHAT, json=chat(model, stream=True, **USAGE)).text)

    assert last.data["choices"] == [] and last.data["usage"] == COUNTED
    assert last.data["gateway"]["estimated"] is True
    assert {last.data[name] for name in ("id", "model", "object")} == {
        chunks[0].data[name] for name in ("id", "model", "object")
    }
    response = http.post(CHAT, json=chat(model, stream=True))
    assert not any("usage" in event.data or "gateway" in event.data for event in events(response.text)[:-1])
    job = gateway.ended(response.headers["x-gateway-job"])
    assert job["usage"] == MARKED
    assert job["result"]["usage"] == COUNTED and job["result"]["gateway"] == {"estimated": True}


def test_what_was_reported_bears_no_mark(gateway: Gateway, http: httpx.Client) -> None:
    model, _ = gateway.model()
    response = http.post(CHAT, json=chat(model))

    assert asked(response)["usage"] == REPORTED and "gateway" not in response.json()
    assert "x-gateway-estimated" not in response.headers
    assert gateway.ended(response.headers["x-gateway-job"])["usage"] == REPORTED
    last = events(http.post(CHAT, json=chat(model, stream=True, **USAGE)).text)[-2].data
    assert last["usage"] == REPORTED and last["gateway"]["estimated"] is False


def test_a_cancelled_stream_bills_the_tokens_so_far(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model("gpt-4o-mini-")
    part.reply = Reply(SAID * 3)
    part.hold(after=8)
    job_id = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model, stream=True)}), 202)["id"]

    eventually(lambda: len(part.asked), bool)
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as live:
        text = ""
        for piece in live.iter_text():
            text += piece
            if text.count('"content":"') >= 7:
                break
    asked(http.delete(f"/v1/jobs/{job_id}"))
    job = gateway.ended(job_id)
    eventually(lambda: part.hung_up, bool, 1)

    said = job["result"]["choices"][0]["message"]["content"]
    assert job["state"] == "cancelled" and said and (SAID * 3).startswith(said) and said != SAID * 3
    completion = -(-len(said) // 4)
    counted = {"prompt_tokens": 6, "completion_tokens": completion, "total_tokens": 6 + completion}
    assert job["usage"] == counted | {"estimated": True}
    assert orjson.loads(ledger_row(gateway, job_id)["usage"]) == job["usage"]


def test_a_stream_that_broke_off_bills_the_tokens_so_far(gateway: Gateway, http: httpx.Client) -> None:
    model, part = silent(gateway)
    part.always = Fault("cut", after=4)
    response = http.post(CHAT, json=chat(model, stream=True))
    said = told(events(response.text)[:-2])
    job = gateway.ended(response.headers["x-gateway-job"])

    assert job["state"] == "failed" and said
    assert job["usage"]["completion_tokens"] == -(-len(said) // 4) and job["usage"]["estimated"] is True


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_never_began_bills_nothing(gateway: Gateway, http: httpx.Client, stream: bool) -> None:
    model, part = silent(gateway)
    part.always = Fault("status", 400)
    job = gateway.ended(http.post(CHAT, json=chat(model, stream=stream)).headers["x-gateway-job"])

    assert job["state"] == "failed" and job["usage"] is None and job["cost_usd"] is None
