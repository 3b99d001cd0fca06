"""A gateway that guards, and the ways in which a caller uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from tests.acceptance.gateway import CHAT, Gateway, asked
from tests.acceptance.test_socket import open_talk
from tests.stack import Process

RULES = """
jailbreak: {enabled: false}
categories:
  VIOLENCE: {action: block, keywords: [zorblatting]}
  WEAPONS: {action: warn, keywords: [quibblery]}
  CYBER_CRIME: {action: log, keywords: [frandling]}
pii:
  EMAIL: {action: mask}
  SSN: {action: redact}
  IBAN: {action: block}
  CREDIT_CARD: {action: warn}
  IP_ADDRESS: {action: log}
stages:
  response:
    pii:
      SSN: {action: redact}
      PHONE: {action: mask, strategy: partial}
refusal: "This was withheld."
"""
REFUSAL = "This was withheld."


@dataclass
class Guarded(Gateway):
    """
    other: a second web process, which has seen none of the requests to the first.
    """

    other: Process


@dataclass(frozen=True)
class Outcome:
    """What a caller got, whichever way it came."""

    text: str = ""
    calls: tuple[str, ...] = ()  # the arguments of tool calls
    finish: str | None = None
    guard: str | None = None
    error: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    job: str = ""


def _whole(answer: Mapping[str, Any], guard: str | None, job: str) -> Outcome:
    choice = answer["choices"][0]
    message = choice["message"]
    calls = tuple(call["function"]["arguments"] for call in message.get("tool_calls") or ())
    return Outcome(message["content"] or "", calls, choice["finish_reason"], guard, None, answer["usage"], job)


def _chunks(chunks: list[dict[str, Any]], job: str) -> Outcome:
    text, finish, guard, usage = "", None, None, None
    calls: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            assert finish is None, "nothing comes behind the end of a choice"
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                said = (call.get("function") or {}).get("arguments") or ""
                calls[call["index"]] = calls.get(call["index"], "") + said
            finish = choice["finish_reason"]
        usage = chunk.get("usage") or usage
        guard = (chunk.get("gateway") or {}).get("guard", guard)
    return Outcome(text, tuple(calls.values()), finish, guard, None, usage, job)


def _events(response: httpx.Response) -> Outcome:
    data = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return _chunks([orjson.loads(each) for each in data[:-1]], response.headers["x-gateway-job"])


def blocking(gateway: Guarded, body: Mapping[str, Any]) -> Outcome:
    with gateway.http() as http:
        response = http.post(CHAT, json=body)
        if response.status_code != 200:
            return Outcome(error=response.json()["error"])
        return _whole(response.json(), response.headers.get("x-gateway-guard"), response.headers["x-gateway-job"])


def streamed(gateway: Guarded, body: Mapping[str, Any]) -> Outcome:
    with gateway.http() as http:
        response = http.post(CHAT, json={**body, "stream": True, "stream_options": {"include_usage": True}})
        return Outcome(error=response.json()["error"]) if response.status_code != 200 else _events(response)


def socket(gateway: Guarded, body: Mapping[str, Any]) -> Outcome:
    with open_talk(gateway) as talk:
        talk.say(type="chat.create", stream_id="a", body={**body, "stream_options": {"include_usage": True}})
        frames = talk.until("job.done", "error")
    last = frames[-1]
    if last["type"] == "error":
        return Outcome(error=last["error"])
    outcome = _chunks([frame["data"] for frame in frames if frame["type"] == "chunk"], last["job_id"])
    assert outcome.finish == last["finish_reason"]
    return Outcome(outcome.text, outcome.calls, outcome.finish, last["guard"], None, outcome.usage, outcome.job)


def polled(gateway: Guarded, body: Mapping[str, Any]) -> Outcome:
    with gateway.http() as http:
        response = http.post(CHAT, json=body, headers={"Prefer": "respond-async"})
    if response.status_code != 202:
        return Outcome(error=response.json()["error"])
    job_id = response.json()["id"]
    gateway.ended(job_id)
    with gateway.http(url=gateway.other.url) as http:
        job = asked(http.get(f"/v1/jobs/{job_id}"))
    return _whole(job["result"], job["guard"], job_id)


def replayed(gateway: Guarded, body: Mapping[str, Any]) -> Outcome:
    """A stream's events, read at a web process that has not seen the request."""
    first = streamed(gateway, body)
    if first.error is not None:
        return first
    with gateway.http(url=gateway.other.url) as http:
        outcome = _events(http.get(f"/v1/jobs/{first.job}/events"))
    assert (outcome.text, outcome.calls) == (first.text, first.calls)
    return outcome


Way = Callable[[Guarded, Mapping[str, Any]], Outcome]
WAYS: Mapping[str, Way] = {
    "blocking": blocking,
    "streamed": streamed,
    "socket": socket,
    "polled": polled,
    "replayed": replayed,
}
