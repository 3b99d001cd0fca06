"""Whatever way a request comes and its answer goes, the guard is in it, and what is hidden stays hidden."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from mesh.seal import Sealer
from tests.acceptance.gateway import CHAT, SETTINGS, asked, chat, eventually, refused
from tests.acceptance.guarded import REFUSAL, RULES, WAYS, Guarded, Outcome, Way
from tests.acceptance.upstream import Upstream
from tests.conftest import RedisServer
from tests.stack import Stack
from tests.standins import Fault

LIVE = ("openai", "inner")
EMAIL, SSN, PHONE = "jane.roe@example.com", "536-22-8741", "415-555-0132"
BLOCKED, WARNED, LOGGED = "zorblatting", "quibblery", "frandling"
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "gateway-settings.yaml").write_text(
        SETTINGS + "guard: {window_chars: 40, overlap_chars: 60, delay_ms: 700, inline_chars: 2000}\n"
    )
    (folder / "guardrail-settings.yaml").write_text(RULES)
    redis = RedisServer(folder)
    redis.start()
    stack = Stack(redis, folder, {"UPSTREAM_URL": f"{upstream.url}/v1"}, LIVE, folder)
    try:
        web, other = stack.start_web(), stack.start_web()
        stack.start_worker()
        yield Guarded(
            stack=stack, web=web, other=other, upstream=upstream, admin_key=stack.key("acme"),
            key=stack.key("acme", "user"), other_key=stack.key("umbrella", "user"),
        )  # fmt: skip
    finally:
        stack.stop()
        redis.stop()


def audited(gateway: Guarded, category: str) -> list[dict[str, str]]:
    return [row for row in gateway.stack.audit() if row["category"] == category]


def sent(asked_of: list[dict[str, Any]]) -> str:
    """All that a provider has seen of one request."""
    assert len(asked_of) == 1
    return orjson.dumps(asked_of[0]).decode()


@ways
def test_a_blocked_request_reaches_nobody(gateway: Guarded, way: Way) -> None:
    model, part = gateway.model()
    before = len(audited(gateway, "VIOLENCE"))
    body = chat(model, "Hello") | {
        "messages": [{"role": "user", "content": "Hello"}, {"role": "user", "content": f"No {BLOCKED} here"}]
    }
    error = way(gateway, body).error
    assert error is not None and error["code"] == "content_policy_violation" and "VIOLENCE" in error["message"]
    assert error["param"] == "messages[1].content" and BLOCKED not in str(error)
    assert part.asked == []
    row = audited(gateway, "VIOLENCE")[before]
    assert (row["what"], row["tenant"], row["action"]) == ("guard.request", "acme", "block")
    assert row["key"] and row["job"].startswith("job-") and int(row["at"]) > 0 and BLOCKED not in str(row)


@ways
@pytest.mark.parametrize(
    ("word", "category", "noted"), [(WARNED, "WEAPONS", "warn; WEAPONS"), (LOGGED, "CYBER_CRIME", None)]
)
def test_a_warning_is_told_and_a_log_is_kept(
    gateway: Guarded, way: Way, word: str, category: str, noted: str | None
) -> None:
    model, part = gateway.model()
    outcome = way(gateway, chat(model, f"Some {word} here"))
    assert outcome.text == part.reply.text and outcome.guard == noted
    assert word in sent(part.asked)
    rows = [row for row in audited(gateway, category) if row["job"] == outcome.job]
    assert [(row["what"], row["action"]) for row in rows] == [("guard.request", "warn" if noted is not None else "log")]


def test_headers_warn_before_there_is_an_answer(gateway: Guarded) -> None:
    model, _ = gateway.model()
    with gateway.http() as http:
        stream = http.post(CHAT, json=chat(model, WARNED, stream=True))
        later = http.post(CHAT, json=chat(model, WARNED), headers={"Prefer": "respond-async"})
    assert stream.headers["x-gateway-guard"] == later.headers["x-gateway-guard"] == "warn; WEAPONS"
    assert later.json()["guard"] == "warn; WEAPONS"


@ways
@pytest.mark.parametrize("shift", range(0, 12, 3))
def test_what_is_masked_is_hidden_from_the_provider_and_restored(gateway: Guarded, way: Way, shift: int) -> None:
    model, part = gateway.model()
    said = "x" * shift + " <EMAIL_1>, <EMAIL_2>; <EMAIL_1> <EMAIL_9> < <a"
    part.reply = type(part.reply)(said)
    outcome = way(gateway, chat(model, f"Write to {EMAIL} and bob@example.org, not {EMAIL}. SSN {SSN}"))
    told = part.asked[0]["messages"][0]["content"]
    assert "Write to <EMAIL_1> and <EMAIL_2>, not <EMAIL_1>." in told
    assert EMAIL not in sent(part.asked) and SSN not in sent(part.asked)
    assert outcome.text == said.replace("<EMAIL_1>", EMAIL).replace("<EMAIL_2>", "bob@example.org")
    assert outcome.finish == "stop" and outcome.usage is not None and outcome.usage["total_tokens"] == 18


@ways
def test_arguments_of_tools_are_masked_and_restored(gateway: Guarded, way: Way) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("", calls=(("mail", {"to": "<EMAIL_1>", "cc": ["<EMAIL_1>"]}),))
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": f'{{"to": "{EMAIL}"}}'}}
    body = chat(model) | {
        "messages": [
            {"role": "user", "content": "Go"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": f"sent to {EMAIL}"},
        ],
        "tools": [{"type": "function", "function": {"name": "mail", "description": f"Ask {EMAIL}"}}],
        "metadata": {"who": EMAIL},
    }
    outcome = way(gateway, body)
    assert EMAIL not in sent(part.asked) and sent(part.asked).count("<EMAIL_1>") == 4
    assert [orjson.loads(call) for call in outcome.calls] == [{"to": EMAIL, "cc": [EMAIL]}]


@ways
def test_a_private_route_sees_everything(gateway: Guarded, way: Way) -> None:
    model, part = gateway.model("inner-")
    part.reply = type(part.reply)(f"You are {EMAIL}")
    outcome = way(gateway, chat(model, f"I am {EMAIL}, {SSN}"))
    assert part.asked[0]["messages"][0]["content"] == f"I am {EMAIL}, {SSN}"
    assert outcome.text == f"You are {EMAIL}"


def test_one_target_that_is_not_private_masks_for_all(gateway: Guarded) -> None:
    model, part = gateway.model("inner-")
    WAYS["blocking"](gateway, chat(model, f"I am {EMAIL}", fallbacks=["gpt-4-other"]))
    assert part.asked[0]["messages"][0]["content"] == "I am <EMAIL_1>"


def test_health_data_goes_to_private_providers_only(gateway: Guarded) -> None:
    model, part = gateway.model()
    text = "Medical record number MRN 00482913 of John Smith: diagnosed with diabetes"
    with gateway.http() as http:
        error = refused(http.post(CHAT, json=chat(model, text)), 400)
        assert (error["code"], error["param"]) == ("no_private_target", "private") and part.asked == []
        inner, inner_part = gateway.model("inner-")
        job = http.post(CHAT, json=chat(model, text, fallbacks=[inner])).headers["x-gateway-job"]
    assert inner_part.asked[0]["messages"][0]["content"] == text
    assert gateway.job(job)["provider"] == "inner" and part.asked == []


@pytest.mark.parametrize(
    ("path", "body", "seen"),
    [
        pytest.param("/v1/completions", {"prompt": [f"a {EMAIL}", "b"]}, ["a <EMAIL_1>", "b"], id="completions"),
        pytest.param("/v1/embeddings", {"input": [f"a {EMAIL}"]}, ["a <EMAIL_1>"], id="embeddings"),
    ],
)
def test_other_endpoints_are_guarded_too(gateway: Guarded, path: str, body: dict[str, Any], seen: Any) -> None:
    model, part = gateway.model()
    with gateway.http() as http:
        asked(http.post(path, json={"model": model, **body}))
        error = refused(http.post(path, json={"model": model, next(iter(body)): BLOCKED}), 400)
    assert error["code"] == "content_policy_violation" and error["param"] == next(iter(body))
    assert part.asked[0][next(iter(body))] == seen and len(part.asked) == 1


@ways
def test_a_blocked_answer_ends_with_a_refusal(gateway: Guarded, way: Way) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("This is harmless. " * 6 + f"And now {BLOCKED} follows. " + "The rest. " * 20)
    outcome = way(gateway, chat(model))
    assert outcome.error is None and outcome.finish == "content_filter" and outcome.guard == "block; VIOLENCE"
    assert outcome.text.endswith(REFUSAL) and BLOCKED not in outcome.text and "The rest" not in outcome.text
    released = outcome.text.removesuffix(REFUSAL)
    assert part.reply.text.startswith(released)
    assert bool(released) == (way in (WAYS["streamed"], WAYS["socket"], WAYS["replayed"]))
    job = gateway.job(outcome.job)
    assert job["state"] == "done" and BLOCKED not in str(job) and float(job["cost_usd"] or 0) >= 0
    assert outcome.usage is not None and outcome.usage["completion_tokens"] > 0
    rows = [row for row in audited(gateway, "VIOLENCE") if row["job"] == outcome.job]
    assert [(row["what"], row["action"]) for row in rows] == [("guard.response", "block")]


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_a_word_cut_by_a_window_is_still_seen(gateway: Guarded, at: int) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("y" * at + f" {BLOCKED} and so on")
    outcome = WAYS["streamed"](gateway, chat(model))
    assert outcome.finish == "content_filter" and BLOCKED not in outcome.text


@ways
@pytest.mark.parametrize(
    ("word", "category", "noted"), [(WARNED, "WEAPONS", "warn; WEAPONS"), (LOGGED, "CYBER_CRIME", None)]
)
def test_an_answer_is_warned_of_and_logged(
    gateway: Guarded, way: Way, word: str, category: str, noted: str | None
) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)(f"Some {word} here, and a little more of it, so that there are windows.")
    outcome = way(gateway, chat(model))
    assert outcome.text == part.reply.text and outcome.guard == noted and outcome.finish == "stop"
    rows = [row for row in audited(gateway, category) if row["job"] == outcome.job]
    assert [row["what"] for row in rows] == ["guard.response"]


@ways
@pytest.mark.parametrize("shift", range(0, 90, 30))
def test_what_is_redacted_in_answers_is_nowhere(gateway: Guarded, way: Way, shift: int) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("z" * shift + f" your SSN is {SSN}, and {EMAIL} is how to reach you; " + "w" * 50)
    outcome = way(gateway, chat(model))
    assert SSN not in outcome.text and SSN[-4:] not in outcome.text and SSN not in str(gateway.job(outcome.job))
    assert outcome.text.startswith("z" * shift + " your SSN is ") and f"{EMAIL} is how" in outcome.text
    assert outcome.text.endswith("w" * 50) and outcome.finish == "stop"


@ways
def test_what_is_masked_in_answers_is_masked_for_good(gateway: Guarded, way: Way) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)(f"Please call {PHONE}; and then some more words, so that there is a window or two.")
    outcome = way(gateway, chat(model, f"Call me at {PHONE}"))
    assert PHONE in sent(part.asked), "nothing is said of it in requests"
    assert outcome.text == part.reply.text.replace(PHONE, "***-***-**32") and outcome.finish == "stop"
    assert PHONE not in str(gateway.job(outcome.job)) and outcome.guard is None


@ways
def test_arguments_of_an_answers_calls_are_watched(gateway: Guarded, way: Way) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("", calls=(("mail", {"to": "<EMAIL_1>", "about": f"{SSN} and {PHONE}"}),))
    outcome = way(gateway, chat(model, EMAIL))
    assert [orjson.loads(call) for call in outcome.calls] == [{"to": EMAIL, "about": "[SSN] and ***-***-**32"}]
    part.reply = type(part.reply)("", calls=(("mail", {"about": f"a {BLOCKED} thing " + "and more " * 9}),))
    outcome = way(gateway, chat(model))
    assert outcome.finish == "content_filter" and outcome.text == REFUSAL
    assert BLOCKED not in str(outcome) and BLOCKED not in str(gateway.job(outcome.job))


@ways
def test_what_a_model_thinks_is_watched_as_what_it_says(gateway: Guarded, way: Way) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("Nothing to see.", reasoning=f"Perhaps a {BLOCKED} thing. " + "Or not. " * 9)
    outcome = way(gateway, chat(model))
    assert outcome.finish == "content_filter" and outcome.text == REFUSAL
    assert outcome.guard == "block; VIOLENCE" and BLOCKED not in str(gateway.job(outcome.job))


PERSONAL = [
    pytest.param("IBAN", "DE89 3704 0044 0532 0130 00", "block", id="block"),
    pytest.param("CREDIT_CARD", "4111 1111 1111 1111", "warn", id="warn"),
    pytest.param("IP_ADDRESS", "93.184.216.34", "log", id="log"),
]


@ways
@pytest.mark.parametrize(("kind", "value", "action"), PERSONAL)
def test_personal_data_may_be_blocked_or_told_of(
    gateway: Guarded, way: Way, kind: str, value: str, action: str
) -> None:
    model, part = gateway.model()
    before = len(audited(gateway, kind))
    outcome = way(gateway, chat(model, f"The number is {value}, said I"))
    (row,) = audited(gateway, kind)[before:]
    assert (row["what"], row["action"]) == ("guard.request", action) and value not in str(row)
    if action == "block":
        assert part.asked == [] and outcome.error is not None
        assert outcome.error["code"] == "content_policy_violation" and kind in outcome.error["message"]
        assert outcome.error["param"] == "messages[0].content" and value not in str(outcome.error)
    else:
        assert value in sent(part.asked) and outcome.text == part.reply.text
        assert outcome.guard == (f"warn; {kind}" if action == "warn" else None)


@ways
@pytest.mark.parametrize(("kind", "value", "action"), PERSONAL)
def test_personal_data_in_answers_may_be_blocked_or_told_of(
    gateway: Guarded, way: Way, kind: str, value: str, action: str
) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("Of all the numbers there are, take this: " + value + ", and keep it well. Or not.")
    outcome = way(gateway, chat(model))
    rows = [row for row in audited(gateway, kind) if row["job"] == outcome.job]
    assert [(row["what"], row["action"]) for row in rows] == [("guard.response", action)]
    assert outcome.guard == (None if action == "log" else f"{action}; {kind}")
    if action == "block":
        assert outcome.finish == "content_filter" and outcome.text.endswith(REFUSAL)
        assert value not in outcome.text and value not in str(gateway.job(outcome.job))
    else:
        assert outcome.finish == "stop" and outcome.text == part.reply.text


def test_a_silent_provider_does_not_hold_back_what_was_said(gateway: Guarded) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("a" * 30 + "b" * 90)
    part.hold(after=6)  # the role, and thirty letters
    with (
        gateway.http() as http,
        http.stream("POST", CHAT, json=chat(model, stream=True)) as response,
    ):
        lines = (line for line in response.iter_lines() if '"content":"a' in line)
        began = time.monotonic()
        try:
            assert next(lines) and time.monotonic() - began < 5
        finally:
            part.let_go()


WAITING = "A text that waits: "  # shorter than a window
broken = pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param(WAITING + "<EMAIL_1>", WAITING + EMAIL, id="harmless"),
        pytest.param(WAITING + SSN, WAITING + "[SSN]", id="personal"),
        pytest.param(WAITING + BLOCKED, REFUSAL, id="forbidden"),
    ],
)


def events_of(gateway: Guarded, model: str, **more: Any) -> tuple[str, str, str]:
    """A stream's job, its text, and the code of the error at its end."""
    with gateway.http() as http:
        response = http.post(CHAT, json=chat(model, EMAIL, stream=True, **more))
    data = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    *chunks, last = [orjson.loads(each) for each in data]
    text = "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks)
    return response.headers["x-gateway-job"], text, last["error"]["code"]


@broken
def test_what_waits_when_the_time_is_up_is_judged_and_given(gateway: Guarded, said: str, shown: str) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)(said + " and so on" * 9)
    part.hold(after=1 + len(type(part.reply)(said).pieces()))
    job, text, code = events_of(gateway, model, timeout_ms=500)
    part.let_go()
    assert code == "deadline_exceeded" and text.startswith(shown) and SSN not in text and BLOCKED not in text
    ended = gateway.ended(job)
    assert ended["state"] == "expired" and ended["result"]["choices"][0]["message"]["content"] == text


@broken
def test_what_waits_when_a_provider_breaks_off_is_judged_and_given(gateway: Guarded, said: str, shown: str) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)(said + " and so on" * 9)
    part.always = Fault("cut", after=1 + len(type(part.reply)(said).pieces()))
    job, text, code = events_of(gateway, model)
    assert code == "provider_broke_off" and text.startswith(shown) and SSN not in text and BLOCKED not in text
    ended = gateway.ended(job)
    assert ended["state"] == "failed" and ended["result"]["choices"][0]["message"]["content"] == text
    assert len(part.asked) == 1, "its role had been told, so there is no second answer"


def test_what_waits_when_a_job_is_cancelled_is_not_told(gateway: Guarded) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)(WAITING + "and so on" * 9)
    part.hold(after=4)
    with gateway.http() as http:
        job = asked(http.post("/v1/jobs", json={"endpoint": CHAT, "body": chat(model, stream=True)}), 202)["id"]
        eventually(lambda: part.asked, bool)
        asked(http.delete(f"/v1/jobs/{job}"))
    ended = gateway.ended(job)
    part.let_go()
    assert ended["state"] == "cancelled" and WAITING[:6] not in str(ended.get("result"))


def test_the_same_conversation_keeps_its_placeholders(gateway: Guarded) -> None:
    model, part = gateway.model()
    turns: list[dict[str, Any]] = [{"role": "user", "content": f"I am {EMAIL}"}]
    for number in range(3):
        WAYS["blocking"](gateway, {"model": model, "messages": turns})
        turns += [
            {"role": "assistant", "content": f"Hello {EMAIL}"},
            {"role": "user", "content": f"And friend{number}@example.org"},
        ]
    for earlier, later in zip(part.asked, part.asked[1:], strict=False):
        assert later["messages"][: len(earlier["messages"])] == earlier["messages"]


def test_a_repeated_request_is_the_same_whatever_was_masked(gateway: Guarded) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("to <EMAIL_1>")
    with gateway.http() as http, gateway.http(url=gateway.other.url) as other:
        headers = {"Idempotency-Key": f"k-{model}"}
        first = http.post(CHAT, json=chat(model, EMAIL), headers=headers)
        again = other.post(CHAT, json=chat(model, EMAIL), headers=headers)
        refused(http.post(CHAT, json=chat(model, "bob@example.org"), headers=headers), 409)
    assert asked(first) == asked(again) and len(part.asked) == 1
    assert asked(again)["choices"][0]["message"]["content"] == f"to {EMAIL}"


def test_a_json_answer_stays_json(gateway: Guarded) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)('{"mail": "<EMAIL_1>"}')
    body = chat(model, EMAIL, response_format={"type": "json_object"})
    assert orjson.loads(WAYS["streamed"](gateway, body).text) == {"mail": EMAIL}


def test_workers_cannot_open_what_was_masked_and_redis_holds_nothing_in_clear(gateway: Guarded) -> None:
    model, part = gateway.model()
    part.hold()
    with gateway.http() as http:
        job_id = asked(
            http.post(CHAT, json=chat(model, f"My {EMAIL} is secret"), headers={"Prefer": "respond-async"}), 202
        )["id"]
    eventually(lambda: part.asked, bool)
    client: Any = gateway.stack.client()
    stored = {name.decode(): value for name, value in client.hgetall(f"gw:job:{job_id}").items()}
    seal = Sealer({"a": bytes.fromhex("11" * 32)}).job("acme", job_id)
    assert b"<EMAIL_1>" in seal.open("request", stored["request"])
    with pytest.raises(Exception, match="mask"):
        seal.open("mask", stored["mask"])
    part.let_go()
    gateway.ended(job_id)
    for file in Path(gateway.stack.folder, "appendonlydir").iterdir():
        raw = file.read_bytes()
        assert EMAIL.encode() not in raw and b"is secret" not in raw


def test_long_requests_are_judged_beside_the_door(gateway: Guarded) -> None:
    model, part = gateway.model()
    long = "lorem ipsum dolor " * 2_000
    outcome = WAYS["blocking"](gateway, chat(model, f"{long} {EMAIL}"))
    assert outcome.error is None and part.asked[0]["messages"][0]["content"].endswith("<EMAIL_1>")
    error = WAYS["blocking"](gateway, chat(model, f"{long} {BLOCKED}")).error
    assert error is not None and error["code"] == "content_policy_violation" and error["param"] == "messages[0].content"


def test_moderations_are_read_strictly_by_openais_client(gateway: Guarded) -> None:
    client = gateway.client(_strict_response_validation=True)
    harmless, harmful = client.moderations.create(
        input=["Hello", f"No {BLOCKED}"], model="omni-moderation-latest"
    ).results
    assert not harmless.flagged and not any(harmless.categories.model_dump().values())
    assert harmful.flagged and harmful.categories.violence and harmful.category_scores.violence > 0.5
    assert harmful.to_dict()["gateway"]["category"] == "VIOLENCE"  # type: ignore[index]
    parts: Any = [{"type": "text", "text": BLOCKED}, {"type": "image_url", "image_url": {"url": "https://a.example/b"}}]
    assert [result.flagged for result in client.moderations.create(input=parts).results] == [True]
    long = client.moderations.create(input=["lorem ipsum " * 500, BLOCKED]).results
    assert [result.flagged for result in long] == [False, True]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        pytest.param("/v1/moderations", {}, "input", id="no input"),
        pytest.param("/v1/moderations", {"input": ""}, "input", id="an empty input"),
        pytest.param("/v1/moderations", {"input": [1]}, "input[0]", id="tokens"),
        pytest.param("/v1/moderations", {"input": "a", "inputs": "b"}, "inputs", id="an unknown parameter"),
        pytest.param("/v1/guard/check", {"text": 1}, "text", id="no text"),
        pytest.param("/v1/guard/check", {"text": "a", "stage": "both"}, "stage", id="no stage"),
    ],
)
def test_a_question_that_is_none_is_refused(gateway: Guarded, path: str, body: dict[str, Any], param: str) -> None:
    with gateway.http() as http, gateway.http("") as nobody:
        assert refused(http.post(path, json=body), 400)["param"] == param
        refused(nobody.post(path, json=body), 401)


def test_a_dry_run_shows_what_would_be_done_and_where(gateway: Guarded) -> None:
    text = f"a {WARNED} for {EMAIL}, {SSN}"
    with gateway.http() as http:
        said = asked(http.post("/v1/guard/check", json={"text": text}))
        answer = asked(http.post("/v1/guard/check", json={"text": text, "stage": "response"}))
        harmless = asked(http.post("/v1/guard/check", json={"text": "Hello"}))
    assert (said["action"], said["category"]) == ("redact", "SSN")
    found = {finding["kind"]: text[finding["start"] : finding["end"]] for finding in said["findings"]}
    assert found == {"WEAPONS": WARNED, "EMAIL": EMAIL, "SSN": SSN}
    assert said["masked"] == f"a {WARNED} for <EMAIL_1>, [SSN]" and set(said["flagged"]) == set(found)
    assert answer["masked"] == f"a {WARNED} for {EMAIL}, [SSN]"
    assert (harmless["action"], harmless["category"], harmless["masked"]) == ("allow", None, "Hello")
    assert harmless["findings"] == [] and harmless["flagged"] == []


def test_an_edit_holds_within_two_seconds_and_a_bad_one_is_refused(gateway: Guarded) -> None:
    model, part = gateway.model()
    part.reply = type(part.reply)("a mumblecrust of words")
    file = gateway.stack.folder / "guardrail-settings.yaml"

    def ask() -> Outcome:
        return WAYS["blocking"](gateway, chat(model, "gobbledyhook"))

    def settings(http: httpx.Client) -> Any:
        return asked(http.get("/settings"))["guardrails"]

    assert ask().error is None
    with gateway.http(gateway.admin_key) as http:
        before = settings(http)
        try:
            file.write_text(RULES.replace("zorblatting", "zorblatting, gobbledyhook"))
            eventually(ask, lambda outcome: outcome.error is not None, 2)
            assert settings(http)["loads"] == before["loads"] + 1 and settings(http)["refused"] is None
            file.write_text(RULES.replace("action: block", "action: blok"))
            refusal = eventually(lambda: settings(http), lambda state: state["refused"], 2)["refused"]
            assert "categories.VIOLENCE.action" in refusal
            assert ask().error is not None
            file.write_text(RULES.replace("zorblatting", "zorblatting, mumblecrust"))
            eventually(ask, lambda outcome: outcome.finish == "content_filter", 4)
        finally:
            file.write_text(RULES)
        eventually(ask, lambda outcome: outcome.finish == "stop", 4)


def test_no_text_of_anybody_is_in_a_log(gateway: Guarded) -> None:
    """Last in this file: everything before it was asked of these processes."""
    for process in gateway.stack.processes:
        log = process.log.read_text(errors="replace")
        for text in (EMAIL, SSN, PHONE, BLOCKED, WARNED, LOGGED, "gobbledyhook", "harmless", "lorem"):
            assert text not in log, (process.name, text)
