"""Many conversations on one WebSocket, with a client library that is not the server's."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.acceptance.gateway import CHAT, FOUR_KEYS, SETTINGS, Gateway, asked, chat, eventually
from tests.standins import Fault, Reply

Frame = dict[str, Any]


class Talk:
    """A socket on which frames are said and heard."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, **frame: Any) -> None:
        self.connection.send(json.dumps(frame))

    def hear(self) -> Frame:
        frame: Frame = orjson.loads(self.connection.recv(timeout=10))
        return frame

    def until(self, *kinds: str, stream: str | None = None) -> list[Frame]:
        """All frames, up to one of these types (of this stream)."""
        heard: list[Frame] = []
        while not heard or heard[-1]["type"] not in kinds or stream not in (None, heard[-1]["stream_id"]):
            heard.append(self.hear())
        return heard

    def close_code(self) -> int | None:
        """Why the server closes the socket, whatever it says before."""
        try:
            while True:
                self.hear()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None


@contextlib.contextmanager
def open_talk(gateway: Gateway, *, url: str | None = None, key: str | None = None, **options: Any) -> Iterator[Talk]:
    headers = {"Authorization": f"Bearer {key or gateway.key}"} if key != "" else {}
    place = (url or gateway.url).replace("http", "ws", 1) + "/v1/ws"
    with connect(place, additional_headers=headers, max_size=2**24, **options) as connection:
        yield Talk(connection)


@pytest.fixture
def talk(gateway: Gateway) -> Iterator[Talk]:
    with open_talk(gateway) as opened:
        yield opened


def counted(model: str) -> dict[str, Any]:
    """Asks for the usage too: only then is every event of the log shown."""
    return chat(model, stream_options={"include_usage": True})


def told(frames: list[Frame], stream: str) -> str:
    chunks = [frame["data"] for frame in frames if frame["type"] == "chunk" and frame["stream_id"] == stream]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_the_usage_chunk_is_for_those_who_ask_for_it(gateway: Gateway, talk: Talk) -> None:
    talk.say(type="chat.create", stream_id="a", body=chat("gpt-4o-mini"))
    frames = talk.until("job.done", "error")
    assert all(frame["data"]["choices"] for frame in frames if frame["type"] == "chunk")
    assert frames[-1]["usage"]["total_tokens"] == 18


def test_a_conversation_is_queued_started_streamed_and_done(gateway: Gateway, talk: Talk) -> None:
    talk.say(type="chat.create", stream_id="a", body=counted("gpt-4o-mini"))
    frames = talk.until("job.done", "error")
    queued, started, *chunks, done = frames
    assert [frame["type"] for frame in (queued, started, done)] == ["job.queued", "job.started", "job.done"]
    assert {frame["type"] for frame in chunks} == {"chunk"}
    assert {frame["stream_id"] for frame in frames} == {"a"} and len({frame["job_id"] for frame in frames}) == 1
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert queued["position"] == 0 and "eta_ms" in queued
    assert (started["provider"], started["model"], started["attempt"]) == ("openai", "gpt-4o-mini", 1)
    assert told(chunks, "a") == Reply().text
    assert all(chunk["data"]["object"] == "chat.completion.chunk" for chunk in chunks)
    assert done["finish_reason"] == "stop" and done["usage"]["total_tokens"] == 18 and float(done["cost_usd"]) > 0
    assert gateway.job(done["job_id"])["state"] == "done"


def test_many_conversations_share_a_socket(gateway: Gateway, talk: Talk) -> None:
    played = {f"s{number}": gateway.model() for number in range(12)}
    for stream, (model, part) in played.items():
        part.reply = Reply(f"I am {stream}. " * 5)
        talk.say(type="chat.create", stream_id=stream, body=counted(model))
    frames: list[Frame] = []
    while sum(frame["type"] == "job.done" for frame in frames) < len(played):
        frames.append(talk.hear())
        assert frames[-1]["type"] != "error"
    for stream, (_, part) in played.items():
        mine = [frame for frame in frames if frame["stream_id"] == stream]
        assert told(mine, stream) == part.reply.text
        numbers = [frame["sequence_number"] for frame in mine]
        assert numbers == list(range(len(mine)))


def test_a_slow_conversation_does_not_hold_up_another(gateway: Gateway, talk: Talk) -> None:
    slow, slow_part = gateway.model()
    slow_part.hold(after=2)
    quick, _ = gateway.model()
    talk.say(type="chat.create", stream_id="slow", body=chat(slow))
    talk.until("chunk", stream="slow")
    talk.say(type="chat.create", stream_id="quick", body=chat(quick))
    talk.until("job.done", stream="quick")
    slow_part.let_go()
    talk.until("job.done", stream="slow")


def test_a_stream_may_be_used_again_when_it_has_ended(gateway: Gateway, talk: Talk) -> None:
    for _ in range(3):
        talk.say(type="chat.create", stream_id="a", body=chat(gateway.model()[0]))
        assert talk.until("job.done", "error")[-1]["type"] == "job.done"


def test_a_ping_is_answered(talk: Talk) -> None:
    talk.say(type="ping")
    assert talk.hear() == {"type": "pong"}
    assert talk.connection.ping(b"of the protocol").wait(10)


BAD = [
    pytest.param("hello", "invalid_json", None, id="not JSON"),
    pytest.param("", "invalid_json", None, id="nothing"),
    pytest.param("[]", "invalid_type", None, id="an array"),
    pytest.param(b"\xff\xfe", "invalid_json", None, id="bytes that are no text"),
    pytest.param("[" * 1000, "json_too_deep", None, id="too deep"),
    pytest.param("{}", "invalid_value", "type", id="no type"),
    pytest.param('{"type": "sing"}', "invalid_value", "type", id="an unknown type"),
    pytest.param('{"type": ["ping"]}', "invalid_value", "type", id="a type that is no text"),
    pytest.param('{"type": "chat.create", "body": {}}', "missing_required_parameter", "stream_id", id="no stream"),
    pytest.param(
        '{"type": "chat.create", "stream_id": 5, "body": {}}', "invalid_type", "stream_id", id="a number for a stream"
    ),
    pytest.param('{"type": "chat.create", "stream_id": "a"}', "invalid_type", "body", id="no body"),
    pytest.param(
        '{"type": "chat.create", "stream_id": "a", "body": []}', "invalid_type", "body", id="an array for a body"
    ),
    pytest.param(
        '{"type": "chat.create", "stream_id": "a", "body": {"messages": []}}',
        "missing_required_parameter",
        "model",
        id="no model",
    ),
    pytest.param(
        '{"type": "job.resume", "stream_id": "a"}', "missing_required_parameter", "job_id", id="resume nothing"
    ),
    pytest.param(
        '{"type": "job.resume", "stream_id": "a", "job_id": "job-1"}', "job_not_found", "job_id", id="resume no job"
    ),
    pytest.param(
        '{"type": "job.resume", "stream_id": "a", "job_id": "job-1", "starting_after": -1}',
        "invalid_value",
        "starting_after",
        id="a negative cursor",
    ),
    pytest.param(
        '{"type": "job.resume", "stream_id": "a", "job_id": "job-1", "starting_after": "1"}',
        "invalid_value",
        "starting_after",
        id="a text for a cursor",
    ),
    pytest.param('{"type": "job.cancel"}', "missing_required_parameter", "job_id", id="cancel nothing"),
    pytest.param('{"type": "job.cancel", "job_id": "job-1"}', "job_not_found", "job_id", id="cancel no job"),
]


@pytest.mark.parametrize(("sent", "code", "param"), BAD)
def test_a_bad_frame_is_answered_and_the_socket_stays(
    talk: Talk, sent: str | bytes, code: str, param: str | None
) -> None:
    talk.connection.send(sent)
    error = talk.hear()
    assert error["type"] == "error" and error["error"].keys() == FOUR_KEYS
    assert (error["error"]["code"], error["error"]["param"]) == (code, param)
    talk.say(type="ping")
    assert talk.hear() == {"type": "pong"}


def test_a_stream_that_is_open_is_not_opened_twice(gateway: Gateway, talk: Talk) -> None:
    model, part = gateway.model()
    part.hold()
    talk.say(type="chat.create", stream_id="a", body=chat(model))
    talk.until("job.started")
    talk.say(type="chat.create", stream_id="a", body=chat(model))
    (*_, error) = talk.until("error")
    assert (error["stream_id"], error["error"]["code"]) == ("a", "stream_open")
    part.let_go()
    assert talk.until("job.done", "error")[-1]["type"] == "job.done"
    assert len(part.asked) == 1


def test_the_hundred_and_first_stream_has_to_wait(gateway: Gateway, talk: Talk) -> None:
    model, part = gateway.model("idle-")
    for number in range(101):
        talk.say(type="chat.create", stream_id=str(number), body=chat(model))
    (*_, error) = talk.until("error")
    assert (
        error["stream_id"] == "100" and error["error"]["code"] == "rate_limit_exceeded" and error["retry_after_s"] > 0
    )
    assert part.asked == []


FAULTS = [
    pytest.param(Fault("status", 400), "provider_rejected", id="early"),
    pytest.param(Fault("cut", after=3), "provider_broke_off", id="late"),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS)
def test_a_failed_job_is_an_error_frame(gateway: Gateway, talk: Talk, fault: Fault, code: str) -> None:
    model, part = gateway.model()
    part.always = fault
    talk.say(type="chat.create", stream_id="a", body=chat(model))
    frames = talk.until("error", "job.done")
    assert frames[-1]["error"]["code"] == code and frames[-1]["error"].keys() == FOUR_KEYS
    assert frames[-1]["stream_id"] == "a" and frames[-1]["job_id"] == frames[0]["job_id"]
    assert frames[-1]["sequence_number"] == len(frames) - 1


def test_a_refused_request_is_an_error_frame_too(talk: Talk) -> None:
    talk.say(type="chat.create", stream_id="a", body=chat("no-such-model"))
    error = talk.hear()
    assert (error["type"], error["stream_id"], error["error"]["code"]) == ("error", "a", "model_not_found")


def test_a_waiting_conversation_hears_its_place(gateway: Gateway, talk: Talk, http: httpx.Client) -> None:
    model, _ = gateway.model("idle-")
    body = chat(model, priority="batch")
    first = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": body}), 202)["id"]
    before = gateway.job(first)["position"]
    talk.say(type="chat.create", stream_id="a", body=body)
    queued = talk.hear()
    assert queued["type"] == "job.queued" and queued["position"] == before + 1
    asked(http.delete(f"/v1/jobs/{first}"))
    moved = talk.hear()
    while moved["position"] != before:
        moved = talk.hear()
    assert moved["type"] == "job.queued" and moved["job_id"] == queued["job_id"]
    talk.say(type="job.cancel", job_id=queued["job_id"])
    assert talk.until("error")[-1]["error"]["code"] == "job_cancelled"


def test_a_running_conversation_is_cancelled_by_name(gateway: Gateway, talk: Talk) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    talk.say(type="chat.create", stream_id="a", body=chat(model))
    job_id = talk.until("chunk")[-1]["job_id"]
    talk.say(type="job.cancel", job_id=job_id)
    assert talk.until("error", "job.done")[-1]["error"]["code"] == "job_cancelled"
    eventually(lambda: part.hung_up, bool)
    assert gateway.job(job_id)["state"] == "cancelled"


def test_another_tenants_job_can_be_neither_resumed_nor_cancelled(gateway: Gateway, talk: Talk) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    talk.say(type="chat.create", stream_id="a", body=chat(model))
    job_id = talk.until("chunk")[-1]["job_id"]
    with open_talk(gateway, key=gateway.other_key) as other:
        for frame in ({"type": "job.resume", "stream_id": "a"}, {"type": "job.cancel"}):
            other.say(**frame, job_id=job_id)
            assert other.hear()["error"]["code"] == "job_not_found"
    part.let_go()
    assert talk.until("job.done", "error")[-1]["type"] == "job.done"


def test_a_cut_conversation_resumes_on_another_socket_after_any_frame(gateway: Gateway, talk: Talk) -> None:
    model, part = gateway.model()
    part.reply = Reply("A socket may break, a job does not. " * 2)
    talk.say(type="chat.create", stream_id="a", body=counted(model))
    frames = talk.until("job.done", "error")[1:]  # what a queue says is not part of the log
    job_id = frames[0]["job_id"]
    with open_talk(gateway) as other:
        for after in range(len(frames)):
            other.say(type="job.resume", stream_id="b", job_id=job_id, starting_after=after)
            assert other.until("job.done", "error") == [frame | {"stream_id": "b"} for frame in frames[after:]]
        other.say(type="job.resume", stream_id="b", job_id=job_id, starting_after=len(frames))
        assert other.hear() == frames[-1] | {"stream_id": "b"}  # nothing more: the end is told again
        other.say(type="job.resume", stream_id="b", job_id=job_id, starting_after=len(frames) + 1)
        assert other.hear()["error"]["code"] == "cursor_out_of_range"
    assert len(part.asked) == 1


def test_a_conversation_that_goes_on_is_resumed_while_it_runs(gateway: Gateway) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    with open_talk(gateway) as first:
        first.say(type="chat.create", stream_id="a", body=chat(model, disconnect="continue"))
        seen = first.until("chunk", stream="a")
    with open_talk(gateway) as second:
        second.say(
            type="job.resume", stream_id="b", job_id=seen[-1]["job_id"], starting_after=seen[-1]["sequence_number"]
        )
        part.let_go()
        rest = second.until("job.done", "error")
    assert rest[-1]["type"] == "job.done" and part.hung_up == 0
    assert told(seen, "a") + told(rest, "b") == part.reply.text


def test_a_closed_socket_ends_its_jobs(gateway: Gateway) -> None:
    model, part = gateway.model()
    part.hold(after=3)
    with open_talk(gateway) as opened:
        opened.say(type="chat.create", stream_id="a", body=chat(model))
        job_id = opened.until("chunk")[-1]["job_id"]
    assert gateway.ended(job_id, within_s=3)["state"] == "cancelled"
    eventually(lambda: part.hung_up, bool)


def test_a_key_may_come_as_a_subprotocol(gateway: Gateway) -> None:
    offered = Subprotocol(f"bearer.{gateway.key}")
    with open_talk(gateway, key="", subprotocols=[offered]) as opened:
        assert opened.connection.subprotocol == offered
        opened.say(type="ping")
        assert opened.hear() == {"type": "pong"}


REFUSED = [
    pytest.param({}, 401, "missing_api_key", id="no key"),
    pytest.param({"subprotocols": [Subprotocol("chat")]}, 401, "missing_api_key", id="another subprotocol"),
    pytest.param(
        {"subprotocols": [Subprotocol("bearer.gw-1-2")]}, 401, "invalid_api_key", id="a wrong key as a subprotocol"
    ),
    pytest.param({"key": "gw-1-2"}, 401, "invalid_api_key", id="a wrong key"),
    pytest.param({"origin": "https://evil.example", "right": True}, 403, "origin_not_allowed", id="another origin"),
    pytest.param({"origin": "null", "right": True}, 403, "origin_not_allowed", id="a page without an origin"),
]


@pytest.mark.parametrize(("options", "status", "code"), REFUSED)
def test_a_stranger_is_refused_before_the_upgrade(
    gateway: Gateway, options: dict[str, Any], status: int, code: str
) -> None:
    options = dict(options)
    key = gateway.key if options.pop("right", False) else options.pop("key", "")
    with pytest.raises(InvalidStatus) as caught, open_talk(gateway, key=key, **options):
        pass
    response = caught.value.response
    assert response.status_code == status and response.headers["x-request-id"]
    assert orjson.loads(response.body or b"")["error"]["code"] == code


def test_a_key_in_the_address_counts_for_nothing(gateway: Gateway) -> None:
    place = gateway.url.replace("http", "ws", 1)
    for query in (f"key={gateway.key}", f"api_key={gateway.key}", f"authorization=Bearer%20{gateway.key}"):
        with pytest.raises(InvalidStatus) as caught, connect(f"{place}/v1/ws?{query}"):
            pass
        assert caught.value.response.status_code == 401


@pytest.mark.parametrize("origin", ["https://app.example", "own"])
def test_a_page_of_ours_may_open_a_socket(gateway: Gateway, origin: str) -> None:
    with open_talk(gateway, origin=gateway.url if origin == "own" else origin) as opened:
        opened.say(type="ping")
        assert opened.hear() == {"type": "pong"}


def test_too_large_a_frame_closes_the_socket(talk: Talk) -> None:
    talk.connection.send(json.dumps({"type": "ping", "pad": "x" * 90_000}))
    assert talk.hear() == {"type": "pong"}
    with contextlib.suppress(ConnectionClosed):
        talk.connection.send(json.dumps({"type": "ping", "pad": "x" * 200_000}))
    assert talk.close_code() == 1009


@pytest.fixture
def small_web(gateway: Gateway, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "gateway-settings.yaml").write_text(SETTINGS.replace("max_websockets: 60", "max_websockets: 2"))
    web = gateway.stack.start_web(GATEWAY_CONFIG=str(tmp_path))
    yield web
    if web.alive:
        assert web.terminate() == 0


def test_one_too_many_is_sent_away_and_all_are_when_the_process_ends(gateway: Gateway, small_web: Any) -> None:
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(open_talk(gateway, url=small_web.url)) for _ in range(2)]
        for opened in kept:
            opened.say(type="ping")
            assert opened.hear() == {"type": "pong"}
        with open_talk(gateway, url=small_web.url) as third:
            assert third.close_code() == 1013
        model, part = gateway.model()
        part.hold(after=3)
        kept[0].say(type="chat.create", stream_id="a", body=chat(model, disconnect="continue"))
        job_id = kept[0].until("chunk")[-1]["job_id"]
        small_web.popen.terminate()
        assert [opened.close_code() for opened in kept] == [1001, 1001]
        assert small_web.popen.wait(10) == 0
    part.let_go()
    assert gateway.ended(job_id)["state"] == "done"


def test_a_place_becomes_free_when_a_socket_closes(gateway: Gateway, small_web: Any) -> None:
    def answered() -> bool:
        with open_talk(gateway, url=small_web.url) as opened, contextlib.suppress(ConnectionClosed):
            opened.say(type="ping")
            return opened.hear() == {"type": "pong"}
        return False

    for _ in range(6):
        eventually(answered, bool)
