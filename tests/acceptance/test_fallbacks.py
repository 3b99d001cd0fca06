"""What fails at one provider is tried again, or elsewhere; and large, strange and many requests arrive whole."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.acceptance.gateway import CHAT, Gateway, asked, chat, refused
from tests.acceptance.test_streams import events
from tests.acceptance.test_streams import told as text_of
from tests.standins import Fault, Reply


def attempts(gateway: Gateway, response: httpx.Response) -> list[tuple[str, str, str | None]]:
    """Each try of the answer's job: who, what came of it, and why."""
    job = gateway.job(response.headers["x-gateway-job"])
    return [(each["provider"], each["outcome"], each.get("error")) for each in job["attempts"]]


def test_the_second_target_answers_when_the_first_is_down(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model("second-")
    response = http.post(CHAT, json=chat("down-1", fallbacks=[model]))
    answer = asked(response)
    assert answer["choices"][0]["message"]["content"] == part.reply.text
    # The caller's name for the model stays; who answered is told.
    assert answer["model"] == "down-1" and answer["provider"] == "second"
    assert response.headers["x-gateway-provider"] == "second" and response.headers["x-gateway-attempts"] == "2"
    assert response.headers["x-gateway-model"] == model
    assert attempts(gateway, response) == [("down", "failed", "provider_unavailable"), ("second", "done", None)]
    assert part.asked == [chat(model)]


def test_a_stream_falls_back_before_its_first_word(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.always = Fault("status", 503)
    second, second_part = gateway.model("second-")
    response = http.post(CHAT, json=chat(model, stream=True, fallbacks=[second]))
    sent = events(response.text)
    assert text_of(sent) == second_part.reply.text and sent[-1].data == "[DONE]"
    assert {event.data["provider"] for event in sent[:-1]} == {"second"}
    assert attempts(gateway, response) == [("openai", "failed", "provider_unavailable"), ("second", "done", None)]


MEND = [
    pytest.param(Fault("status", 503), "provider_unavailable", id="overloaded"),
    pytest.param(Fault("status", 429), "provider_rate_limited", id="limited"),
    pytest.param(Fault("status", 401), "provider_key_refused", id="our key refused"),
    pytest.param(Fault("status", 404), "model_not_found", id="no such model"),
    pytest.param(Fault("reset"), "provider_unavailable", id="reset"),
    pytest.param(Fault("garbage"), "provider_broke_off", id="garbage"),
    pytest.param(
        Fault("status", 400, error={"message": "too long", "code": "context_length_exceeded"}),
        "context_length_exceeded",
        id="too long for it",
    ),
]


@pytest.mark.parametrize(("fault", "code"), MEND)
def test_what_another_may_do_better_goes_to_another(
    gateway: Gateway, http: httpx.Client, fault: Fault, code: str
) -> None:
    model, part = gateway.model()
    part.always = fault
    second, second_part = gateway.model("second-")
    response = http.post(CHAT, json=chat(model), headers={"X-Gateway-Fallbacks": f"{second}, inner/other"})
    assert asked(response)["provider"] == "second"
    first, last = attempts(gateway, response)
    # What began to answer may have been billed.
    outcome = "unknown" if code == "provider_broke_off" else "failed"
    assert first == ("openai", outcome, code) and last == ("second", "done", None)
    assert len(part.asked) == len(second_part.asked) == 1


def test_what_is_wrong_with_the_request_is_wrong_everywhere(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.always = Fault("status", 400)
    second, second_part = gateway.model("second-")
    response = http.post(CHAT, json=chat(model, fallbacks=[second]))
    assert refused(response, 400)["code"] == "provider_rejected" and second_part.asked == []


def test_a_busy_provider_is_asked_again_after_a_pause(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.faults.append(Fault("status", 503, headers={"Retry-After": "1"}))
    began = time.monotonic()
    response = http.post(CHAT, json=chat(model))
    assert time.monotonic() - began >= 1
    assert asked(response)["choices"][0]["message"]["content"] == part.reply.text and len(part.asked) == 2
    assert attempts(gateway, response) == [("openai", "failed", "provider_unavailable"), ("openai", "done", None)]
    states = [step["state"] for step in gateway.job(response.headers["x-gateway-job"])["timeline"]]
    assert states.count("running") == 2 and states[-1] == "done"


def test_when_nobody_answers_the_last_failure_is_told(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.always = Fault("status", 429)
    response = http.post(CHAT, json=chat("down-1", fallbacks=[model]))
    assert refused(response, 429)["code"] == "provider_rate_limited"
    assert response.headers["x-gateway-attempts"] == "2" and len(part.asked) == 1


def test_a_private_request_falls_back_only_to_private_providers(gateway: Gateway, http: httpx.Client) -> None:
    open_model, open_part = gateway.model()
    inner, inner_part = gateway.model("inner-")
    response = http.post(CHAT, json=chat(open_model, fallbacks=[inner], private=True))
    assert asked(response)["provider"] == "inner" and len(inner_part.asked) == 1 and open_part.asked == []
    key = gateway.stack.key("acme", "user", private=True)
    with gateway.http(key) as secret:
        assert refused(secret.post(CHAT, json=chat(open_model, private=False)), 400)["code"] == "no_private_target"
        assert asked(secret.post(CHAT, json=chat(inner)))["provider"] == "inner"
    assert open_part.asked == []


def test_every_attempt_is_in_the_ledger_once(gateway: Gateway, http: httpx.Client) -> None:
    response = http.post(CHAT, json=chat("down-1", fallbacks=["gpt-4o-mini"]))
    job = gateway.job(response.headers["x-gateway-job"])
    rows = [row for row in gateway.stack.ledger() if row.get("job") == job["id"]]
    assert len(rows) == 1 and rows[0]["state"] == "done" and rows[0]["cost_usd"] == job["cost_usd"]


TEXTS = [
    pytest.param("x" * 200_000, id="200 KB, the freight's way"),
    pytest.param("é" * 40_000, id="80 KB of two-byte letters"),
    pytest.param("Grüße 👋🏽 \u202eحطﻪ\u202c 漢字 \x7f \u0000 \ufffd \U0010ffff " * 3, id="letters of all kinds"),
    pytest.param('"\\ \n\r\t </script> {{x}} %s id: 1\n\ndata: [DONE]\n\n', id="what ends other texts"),
    pytest.param("", id="nothing"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["blocking", "streamed"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_it_was_sent_and_comes_back_so(
    gateway: Gateway, http: httpx.Client, text: str, stream: bool
) -> None:
    model, part = gateway.model()
    part.reply = Reply(text[:10_000] or "nothing")
    response = http.post(CHAT, json=chat(model, text, stream=stream))
    assert part.asked[0]["messages"] == [{"role": "user", "content": text}]
    if stream:
        assert text_of(events(response.text)) == part.reply.text
    else:
        assert asked(response)["choices"][0]["message"]["content"] == part.reply.text


NAMES = ["漢字", "\r\nX-Evil: 1", "é", "\x00\x1f\x7f", "\u2028\x85", " blanks ", "50%", "y" * 238]


@pytest.mark.parametrize("name", NAMES)
def test_a_models_name_may_be_any_text(gateway: Gateway, http: httpx.Client, name: str) -> None:
    model, part = gateway.model()
    model += name
    part = gateway.upstream.part(model)
    response = http.post(CHAT, json=chat("down-" + name, fallbacks=[model]))
    assert asked(response)["model"] == "down-" + name and len(part.asked) == 1
    told = response.headers["x-gateway-model"]
    assert told.isascii() and unquote(told).strip() == model.strip() and "x-evil" not in response.headers
    job = gateway.job(response.headers["x-gateway-job"])
    assert job["model"] == "down-" + name and job["timeline"][-1]["state"] == "done"
    sent = events(http.post(CHAT, json=chat(model, stream=True, stream_options={"include_usage": True})).text)
    assert sent[-2].data["gateway"]["model"] == model


def test_a_providers_code_may_be_any_text(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.always = Fault("status", 400, error={"message": "no\r\n", "code": "a\nb c\r\n\nd \x85 é", "type": "x\ny"})
    response = http.post(CHAT, json=chat(model))
    assert refused(response, 400)["code"] == "a\nb c\r\n\nd \x85 é"
    assert gateway.job(response.headers["x-gateway-job"])["timeline"][-1]["state"] == "failed"


@pytest.mark.parametrize("endpoint", [CHAT, "/v1/jobs"])
def test_a_large_answer_comes_back_whole(gateway: Gateway, http: httpx.Client, endpoint: str) -> None:
    model, part = gateway.model()
    part.reply = Reply("a long answer, " * 200_000)
    if endpoint == CHAT:
        answer = asked(http.post(CHAT, json=chat(model)))
    else:
        job = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model)}), 202)
        answer = gateway.ended(job["id"])["result"]
    assert answer["choices"][0]["message"]["content"] == part.reply.text


def test_a_large_request_leaves_nothing_behind(gateway: Gateway, http: httpx.Client) -> None:
    model, _ = gateway.model()
    response = http.post(CHAT, json=chat(model, "x" * 200_000))
    job_id = asked(response) and response.headers["x-gateway-job"]
    assert gateway.stack.redis.admin().exists(f"gw:request:{job_id}") == 0


def test_prompts_and_answers_are_sealed_at_rest(gateway: Gateway, http: httpx.Client) -> None:
    model, part = gateway.model()
    part.reply = Reply("the answer is swordfish-7731")
    part.hold()
    ids = [
        asked(
            http.post(
                "/v1/jobs",
                json={"endpoint": CHAT, "body": chat(model, f"what is swordfish-{'x' * size}?", stream=True)},
            ),
            202,
        )["id"]
        for size in (10, 100_000)
    ]
    for _ in range(2):
        _nothing_holds(gateway, b"swordfish")
        part.let_go()
        for job_id in ids:
            assert "swordfish-7731" in str(gateway.ended(job_id)["result"])


def _nothing_holds(gateway: Gateway, text: bytes) -> None:
    admin: Any = gateway.stack.redis.admin()
    for key in admin.scan_iter(count=1000):
        assert text not in (admin.dump(key) or b""), key
    assert text not in b"".join(path.read_bytes() for path in gateway.stack.folder.rglob("appendonly*/*"))


def test_fifty_clients_at_once_get_each_their_own_answer(gateway: Gateway) -> None:
    def ask(number: int) -> None:
        model, part = gateway.model()
        part.reply = Reply(f"answer {number} " * 3)
        with gateway.http() as client:
            for stream in (False, True):
                response = client.post(CHAT, json=chat(model, f"question {number}", stream=stream))
                told = text_of(events(response.text)) if stream else asked(response)["choices"][0]["message"]["content"]
                assert told == part.reply.text
        assert [body["messages"][0]["content"] for body in part.asked] == [f"question {number}"] * 2

    with ThreadPoolExecutor(50) as pool:
        for done in [pool.submit(ask, number) for number in range(50)]:
            done.result(30)
