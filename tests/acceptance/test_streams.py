"""Server-sent events byte by byte: numbers, ends, errors early and late, resuming, and hanging up."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from tests.acceptance.gateway import CHAT, FOUR_KEYS, Gateway, asked, chat, eventually, refused
from tests.standins import Fault, Reply

USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


@dataclass(frozen=True)
class Sent:
    """One event as it stood on the wire."""

    job: str
    number: int
    data: Any  # parsed, or "[DONE]"


def events(text: str) -> list[Sent]:
    """The events of a whole answer, each of which has an id and one line of data."""
    found = []
    assert text.endswith("\n\n")
    for block in text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        lines = block.split("\n")
        if lines == ["data: [DONE]"]:
            found.append(Sent("", 0, "[DONE]"))
            continue
        assert len(lines) == 2 and lines[0].startswith("id: ") and lines[1].startswith("data: "), block
        job, _, number = lines[0].removeprefix("id: ").rpartition(":")
        data = lines[1].removeprefix("data: ")
        found.append(Sent(job, int(number), data if data == "[DONE]" else orjson.loads(data)))
    return found


def told(sent: list[Sent]) -> str:
    """The text that the events say."""
    chunks = [event.data for event in sent if event.data != "[DONE]" and "error" not in event.data]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def _first_word(client: socket.socket) -> None:
    """Read until something of the answer has come: the head may come alone."""
    seen = b""
    while b"data: " not in seen:
        came = client.recv(65536)
        assert came, seen
        seen += came


def test_every_event_bears_its_number(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    response = http.post(CHAT, json=chat(model, stream=True))
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"].startswith("no-cache") and response.headers["x-request-id"]
    sent = events(response.text)
    assert {event.job for event in sent} == {response.headers["x-gateway-job"]}
    numbers = [event.number for event in sent]
    assert numbers == sorted(set(numbers)) and sent[-1].data == "[DONE]"
    assert told(sent) == part.reply.text
    assert not any("usage" in event.data or "gateway" in event.data for event in sent[:-1])


def test_the_last_chunk_says_what_it_cost_when_asked(gateway: Gateway, http: httpx.Client) -> None:
    response = http.post(CHAT, json=chat("gpt-4o-mini", stream=True, **USAGE))
    *chunks, last, done = events(response.text)
    assert done.data == "[DONE]" and last.number == chunks[-1].number + 1 == done.number - 1
    assert last.data["choices"] == [] and last.data["usage"]["total_tokens"] == 18
    facts = last.data["gateway"]
    names = "job provider model attempts queue_ms overhead_ms cost_usd estimated guard"
    assert facts.keys() == set(names.split())
    assert (
        facts["job"] == response.headers["x-gateway-job"] and facts["provider"] == "openai" and facts["attempts"] == 1
    )
    assert float(facts["cost_usd"]) > 0
    assert not any("gateway" in chunk.data for chunk in chunks)


EARLY = [
    pytest.param(Fault("status", 400), 400, "provider_rejected", id="refused"),
    pytest.param(Fault("status", 404), 404, "model_not_found", id="no such model"),
    pytest.param(Fault("status", 429, headers={"Retry-After": "50"}), 429, "provider_rate_limited", id="limited"),
    pytest.param(Fault("error inside", after=0), 502, "provider_unavailable", id="an error before anything else"),
    pytest.param(Fault("silent end", after=0), 502, "provider_broke_off", id="nothing at all"),
]


@pytest.mark.parametrize(("fault", "status", "code"), EARLY)
def test_a_failure_before_the_first_word_is_a_real_status(
    gateway: Gateway, http: httpx.Client, fault: Fault, status: int, code: str
) -> None:
    model, part = gateway.model()
    part.always = fault
    response = http.post(CHAT, json=chat(model, stream=True))
    assert refused(response, status)["code"] == code
    assert response.headers["x-gateway-job"].startswith("job-")


LATE = [
    pytest.param(Fault("cut", after=3), "provider_broke_off", id="cut off"),
    pytest.param(Fault("silent end", after=3), "provider_broke_off", id="ended without an end"),
    pytest.param(Fault("garbage", after=3), None, id="garbage"),
    pytest.param(Fault("error inside", after=3), None, id="an error inside"),
]


@pytest.mark.parametrize(("fault", "code"), LATE)
def test_a_failure_after_the_first_word_is_told_in_the_stream(
    gateway: Gateway, http: httpx.Client, fault: Fault, code: str | None
) -> None:
    model, part = gateway.model()
    part.always = fault
    response = http.post(CHAT, json=chat(model, stream=True, fallbacks=[gateway.model("second-")[0]]))
    assert response.status_code == 200
    *chunks, failed, done = events(response.text)
    assert done.data == "[DONE]" and failed.data.keys() == {"error"} and failed.data["error"].keys() == FOUR_KEYS
    assert code is None or failed.data["error"]["code"] == code
    # What a client has read is not followed by another provider's words.
    assert told(chunks) == "".join(part.reply.pieces()[:2]) and len(part.asked) == 1
    job = gateway.ended(response.headers["x-gateway-job"])
    assert job["state"] == "failed" and job["error"] == failed.data["error"]
    assert job["result"]["choices"][0]["message"]["content"] == told(chunks)


def test_silence_in_the_middle_is_told_in_the_stream(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model("hasty-")
    part.always = Fault("stall", after=3)
    *_, failed, done = events(http.post(CHAT, json=chat(model, stream=True)).text)
    assert failed.data["error"]["code"] == "provider_timeout" and done.data == "[DONE]"


def test_a_deadline_in_the_middle_is_told_in_the_stream(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    *chunks, failed, done = events(http.post(CHAT, json=chat(model, stream=True, timeout_ms=700)).text)
    assert failed.data["error"]["code"] == "deadline_exceeded" and done.data == "[DONE]" and told(chunks)
    eventually(lambda: part.hung_up, bool)


def streamed(gateway: Gateway, http: httpx.Client, **more: Any) -> tuple[str, list[Sent]]:
    model, part = gateway.model()
    part.reply = Reply("Numbers are cheap: every event has one. " * 4)
    response = http.post(CHAT, json=chat(model, stream=True, **more))
    return response.headers["x-gateway-job"], events(response.text)


@pytest.mark.parametrize("more", [{}, USAGE], ids=["no usage", "usage"])
def test_a_stream_resumes_after_any_event(gateway: Gateway, http: httpx.Client, more: dict[str, Any]) -> None:
    job_id, sent = streamed(gateway, http, **more)
    for event in [Sent(job_id, 0, None), *sent]:
        expected = [each for each in sent if each.number > event.number]
        if not expected:
            expected = [Sent("", 0, "[DONE]")]
        by_query = http.get(f"/v1/jobs/{job_id}/events", params={"starting_after": event.number})
        by_header = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": f"{job_id}:{event.number}"})
        for response in (by_query, by_header):
            assert response.status_code == 200, response.text
            assert [_plain(each) for each in events(response.text)] == [_plain(each) for each in expected]


def _plain(sent: Sent) -> Sent:
    """Without what is measured afresh for each viewer."""
    if isinstance(sent.data, dict) and "gateway" in sent.data:
        gateway = {name: value for name, value in sent.data["gateway"].items() if name != "overhead_ms"}
        return Sent(sent.job, sent.number, sent.data | {"gateway": gateway})
    return sent


def test_several_watch_one_job_while_it_is_answered(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    job_id = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model, stream=True)}), 202)["id"]
    with gateway.http() as other, http.stream("GET", f"/v1/jobs/{job_id}/events") as one:
        lines = one.iter_text()
        text = next(lines)
        with other.stream("GET", f"/v1/jobs/{job_id}/events") as two:
            more = two.iter_text()
            early = next(more)
            part.let_go()
            early += "".join(more)
        text += "".join(lines)
    assert events(text) == events(early) and told(events(text)) == part.reply.text


def test_a_client_who_reads_late_gets_all(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.reply = Reply("a word " * 16_000)  # 5 MB on the wire; Linux sends up to 4 ahead of who reads
    part.hold(after=1)
    with open_request(gateway, chat(model, stream=True), received=65_536) as client:
        _first_word(client)
        part.let_go()
        job_id = _newest(http, model)["id"]
        assert gateway.ended(job_id)["state"] == "done"
        late = b""
        while not late.endswith(b"\r\n0\r\n\r\n"):
            late += client.recv(65536)
    replayed = events(http.get(f"/v1/jobs/{job_id}/events").text)
    assert told(replayed) == part.reply.text and len(replayed) > 18_000
    numbers = [int(line.rpartition(b":")[2]) for line in late.split(b"\n") if line.startswith(b"id: ")]
    chunks = [orjson.loads(line[6:]) for line in late.split(b"\n") if line.startswith(b"data: {")]
    assert len(chunks) > 18_000
    seen = [*zip(numbers, [*chunks, "[DONE]"], strict=True)]
    assert seen == [(event.number, event.data) for event in replayed[-len(seen) :]]


def test_a_viewer_who_leaves_does_not_end_the_job(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    job_id = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model, stream=True)}), 202)["id"]
    with http.stream("GET", f"/v1/jobs/{job_id}/events") as viewer:
        next(viewer.iter_text())
    part.let_go()
    assert gateway.ended(job_id)["state"] == "done" and part.hung_up == 0


def test_who_only_asks_for_the_head_of_a_stream_does_not_stay(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    job_id = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model, stream=True)}), 202)["id"]
    for _ in range(3):
        head = http.head(f"/v1/jobs/{job_id}/events")
        assert head.status_code == 200 and head.headers["content-type"].startswith("text/event-stream")
    eventually(lambda: asked(http.get("/health"))["waiting"], lambda count: count == 0, what="nobody follows")
    part.let_go()
    assert gateway.ended(job_id)["state"] == "done"


def test_the_events_of_a_blocking_answer_are_its_whole(gateway: Gateway, http: httpx.Client) -> None:
    model, _ = gateway.model()
    response = http.post(CHAT, json=chat(model))
    (whole, done) = events(http.get(f"/v1/jobs/{response.headers['x-gateway-job']}/events").text)
    assert whole.data == response.json() and done.data == "[DONE]"


def open_request(gateway: Gateway, body: dict[str, Any], received: int = 0) -> socket.socket:
    """A request on a socket of our own, to be hung up on.

    received: bytes that may wait to be read; 0: as many as the system likes.
    """
    host, port = gateway.url.removeprefix("http://").split(":")
    sent = orjson.dumps(body)
    client = socket.socket()
    client.settimeout(10)
    if received:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
    client.connect((host, int(port)))
    head = [f"POST {CHAT} HTTP/1.1", "Host: x", f"Authorization: Bearer {gateway.key}", f"Content-Length: {len(sent)}"]
    client.sendall("\r\n".join([*head, "", ""]).encode() + sent)
    return client


def close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize(
    "after", [pytest.param(None, id="blocked"), pytest.param(0, id="no word yet"), pytest.param(3, id="in mid-stream")]
)
def test_a_hang_up_ends_the_job_within_a_second(
    gateway: Gateway, http: httpx.Client, after: int | None, leave: Callable[[socket.socket], None]
) -> None:
    model, part = gateway.model()
    part.hold(after or 0)
    client = open_request(gateway, chat(model, stream=after is not None))
    eventually(lambda: part.asked, bool)
    if after:
        _first_word(client)
    leave(client)
    eventually(lambda: part.hung_up, bool, within_s=1.5, what="the provider's call was closed")
    job = _newest(http, model)
    assert gateway.ended(job["id"])["state"] == "cancelled"


@pytest.mark.parametrize("stream", [False, True], ids=["blocking", "streamed"])
def test_a_job_that_is_to_go_on_survives_a_hang_up(gateway: Gateway, http: httpx.Client, stream: bool) -> None:
    model, part = gateway.model()
    part.hold(after=3 if stream else 0)
    client = open_request(gateway, chat(model, stream=stream, disconnect="continue"))
    eventually(lambda: part.asked, bool)
    if stream:
        _first_word(client)
    close(client)
    # Another who comes later and is hung up on tells that the door has had the time to notice the first.
    other, other_part = gateway.model()
    other_part.hold()
    second = open_request(gateway, chat(other))
    eventually(lambda: other_part.asked, bool)
    close(second)
    eventually(lambda: other_part.hung_up, bool)
    part.let_go()
    job = gateway.ended(_newest(http, model)["id"])
    assert job["state"] == "done" and part.hung_up == 0
    assert job["result"]["choices"][0]["message"]["content"] == part.reply.text


def _newest(http: httpx.Client, model: str) -> dict[str, Any]:
    jobs = asked(http.get("/v1/jobs", params={"limit": 100}))["data"]
    return next(job for job in jobs if job["model"] == model)


@pytest.mark.parametrize("stream", [False, True], ids=["blocking", "streamed"])
def test_a_pipelined_request_waits_for_its_turn(gateway: Gateway, stream: bool) -> None:
    model, part = gateway.model()
    part.hold()
    client = open_request(gateway, chat(model, stream=stream))
    client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    eventually(lambda: part.asked, bool)
    part.let_go()
    said = b"".join(iter(lambda: client.recv(65536), b""))
    assert said.count(b"HTTP/1.1 200 OK") == 2 and said.endswith(b'{"status":"ok"}')
    assert part.hung_up == 0
