"""What only Bedrock's wire has: blocks and their order, each maker's own fields, typed errors, threads, credentials."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import string
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh import errors
from mesh.errors import GatewayError, RequestError
from mesh.settings import ProviderConfig
from tests.contract.conversations import CALLED, CLOCK, PERSON, WEATHER
from tests.contract.exchange import Pair, assembled, call, chat, collected, ended, run, until
from tests.standins import Fault, Reply, Turn
from tests.standins import openai as openai_stand_in
from tests.standins.bedrock import SERVICE, Server
from workers.providers import Call, bedrock, open_provider
from workers.transports.faults import Refusal

PAIR = Pair("bedrock", "sdk", Server)

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NEW_CLAUDE = "global.anthropic.claude-opus-4-7"
OLD_CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
ARN = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123"

HOUR = datetime.timedelta(hours=1)
PNG = base64.b64encode(b"\x89PNG").decode()


def _of(model: str, body: dict[str, Any], endpoint: Any = "chat.completions") -> Call:
    one = call(body, endpoint)
    return Call(endpoint, model, one.public_model, one.body, one.answer_id, one.created)


def _sent(model: str, body: dict[str, Any], endpoint: Any = "chat.completions") -> dict[str, Any]:
    return bedrock.requests(_of(model, body, endpoint), False)[0].body or {}


def _said(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **more}


def _user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if content and isinstance(content[0], str) else list(content)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("model", "given_", "expected"),
    [
        pytest.param(LLAMA, {"max_tokens": 5}, {"inferenceConfig": {"maxTokens": 5}}, id="max_tokens"),
        pytest.param(
            LLAMA,
            {"temperature": 0, "top_p": 0.5, "stop": "x"},
            {"inferenceConfig": {"temperature": 0, "topP": 0.5, "stopSequences": ["x"]}},
            id="sampling",
        ),
        pytest.param(CLAUDE, {"top_k": 3}, {"additionalModelRequestFields": {"top_k": 3}}, id="top_k of Claude"),
        pytest.param(
            NOVA, {"top_k": 3}, {"additionalModelRequestFields": {"inferenceConfig": {"topK": 3}}}, id="top_k of Nova"
        ),
        pytest.param(
            CLAUDE,
            {"reasoning_effort": "high"},
            {
                "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 16_384}},
                "inferenceConfig": {"maxTokens": 16_384 + 4096},
            },
            id="a budget",
        ),
        pytest.param(
            CLAUDE,
            {"reasoning_effort": "high", "max_completion_tokens": 4000},
            {
                "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
                "inferenceConfig": {"maxTokens": 4000},
            },
            id="a budget within the limit",
        ),
        pytest.param(
            NEW_CLAUDE,
            {"reasoning_effort": "xhigh"},
            {
                "additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "summarized"}},
                "outputConfig": {"effort": "xhigh"},
            },
            id="an effort",
        ),
        pytest.param(CLAUDE, {"reasoning_effort": "none"}, {}, id="no effort"),
        pytest.param(
            "openai.gpt-oss-120b-1:0",
            {"reasoning_effort": "minimal"},
            {"additionalModelRequestFields": {"reasoning_effort": "low"}},
            id="effort of gpt-oss",
        ),
        pytest.param(
            NOVA_2,
            {"reasoning_effort": "medium"},
            {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}},
            id="effort of Nova",
        ),
        pytest.param(LLAMA, {"service_tier": "flex"}, {"serviceTier": {"type": "flex"}}, id="service_tier"),
        pytest.param(LLAMA, {"service_tier": "auto"}, {}, id="no service_tier"),
        pytest.param(LLAMA, {"metadata": {"team": "a b"}}, {"requestMetadata": {"team": "a b"}}, id="metadata"),
        pytest.param(
            LLAMA,
            {"performanceConfig": {"latency": "optimized"}},
            {"performanceConfig": {"latency": "optimized"}},
            id="latency",
        ),
        pytest.param(
            LLAMA, {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}}, {}, id="nothing"
        ),
        pytest.param(LLAMA, {"temperature": None, "stop": None, "max_tokens": None}, {}, id="null is absent"),
    ],
)
def test_a_parameter_becomes_bedrocks(model: str, given_: dict[str, Any], expected: dict[str, Any]) -> None:
    hello = [{"role": "user", "content": [{"text": "Hello"}]}]
    assert _sent(model, chat(**given_)) == {"modelId": model, "messages": hello, **expected}


SPEC = {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
NAMED = {"type": "function", "function": {"name": "clock"}}


@pytest.mark.parametrize(
    ("model", "more", "config", "fields"),
    [
        pytest.param(LLAMA, {}, {}, {}, id="unsaid"),
        pytest.param(LLAMA, {"tool_choice": "auto"}, {"toolChoice": {"auto": {}}}, {}, id="auto"),
        pytest.param(NOVA, {"tool_choice": "required"}, {"toolChoice": {"any": {}}}, {}, id="required"),
        pytest.param(NOVA, {"tool_choice": NAMED}, {"toolChoice": {"tool": {"name": "clock"}}}, {}, id="named"),
        pytest.param(
            CLAUDE,
            {"parallel_tool_calls": False},
            {},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            id="one at a time",
        ),
        pytest.param(
            CLAUDE,
            {"parallel_tool_calls": False, "tool_choice": NAMED},
            {},
            {"tool_choice": {"type": "tool", "name": "clock", "disable_parallel_tool_use": True}},
            id="one at a time, named",
        ),
    ],
)
def test_the_choice_of_a_tool_is_told(
    model: str, more: dict[str, Any], config: dict[str, Any], fields: dict[str, Any]
) -> None:
    sent = _sent(model, chat(tools=[CLOCK], **more))

    assert sent["toolConfig"] == {"tools": [SPEC], **config}
    assert sent.get("additionalModelRequestFields", {}) == fields


RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
OTHER_RESULT = {"role": "tool", "tool_call_id": "call_2", "content": "noon"}


def test_without_a_choice_no_tools_are_sent_unless_the_conversation_has_some() -> None:
    assert "toolConfig" not in _sent(LLAMA, chat(tools=[CLOCK], tool_choice="none"))

    used = _said(_user("Well?"), CALLED, RESULT, OTHER_RESULT, tools=[CLOCK], tool_choice="none")
    sent = _sent(CLAUDE, used)
    assert [tool["toolSpec"]["name"] for tool in sent["toolConfig"]["tools"]] == ["clock", "weather"]
    assert sent["additionalModelRequestFields"] == {"tool_choice": {"type": "none"}}
    with pytest.raises(RequestError) as caught:
        _sent(LLAMA, used)
    assert caught.value.param == "tool_choice"


def test_results_of_tools_are_one_message_in_the_order_of_the_calls() -> None:
    sent = _sent(CLAUDE, _said(_user("Well?"), CALLED, OTHER_RESULT, RESULT, _user("And?"), tools=[WEATHER, CLOCK]))

    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "call_1", "content": [{"text": "rain"}]}},
        {"toolResult": {"toolUseId": "call_2", "content": [{"text": "noon"}]}},
        {"text": "And?"},
    ]
    assert sent["messages"][1]["content"][1]["toolUse"] == {"toolUseId": "call_2", "name": "clock", "input": {}}


@pytest.mark.parametrize(
    ("messages", "system", "roles"),
    [
        pytest.param([{"role": "system", "content": "A"}], [{"text": "A"}], ["user"], id="nothing but a system text"),
        pytest.param(
            [{"role": "assistant", "content": "Hi"}, _user("Yo")], None, ["user", "assistant", "user"], id="greeted"
        ),
        pytest.param([_user("a"), _user("b")], None, ["user"], id="user twice"),
        pytest.param(
            [_user("a"), {"role": "assistant", "content": ""}, _user("b")], None, ["user"], id="nothing was answered"
        ),
        pytest.param([_user("a"), {"role": "system", "content": " \n"}], None, ["user"], id="a blank system text"),
    ],
)  # fmt: skip
def test_roles_take_turns_and_the_user_begins(messages: list[dict[str, Any]], system: Any, roles: list[str]) -> None:
    sent = _sent(LLAMA, _said(*messages))

    assert sent.get("system") == system
    assert [message["role"] for message in sent["messages"]] == roles
    assert all(message["content"] for message in sent["messages"])


def _file(name: str, kind: str = "application/pdf") -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{PNG}"}}


def test_files_are_documents_with_plain_names_and_none_twice() -> None:
    names = ["../../etc/p\u00e4ss_wd  (1).pdf", "a.pdf", "a.pdf", "notes.md"]
    parts = [_text("Read"), *(_file(name, "" if name.endswith("md") else "application/pdf") for name in names)]
    (message,) = _sent(CLAUDE, _said(_user(*parts)))["messages"]

    documents = [block["document"] for block in message["content"][1:]]
    assert [document["name"] for document in documents] == ["etc p ss wd (1)", "a", "a 2", "notes"]
    assert [document["format"] for document in documents] == ["pdf", "pdf", "pdf", "md"]
    assert documents[0]["source"] == {"bytes": b"\x89PNG"}


def test_a_point_of_the_cache_stands_behind_what_is_cached() -> None:
    control = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    parts = {"content": [{**_text("Long"), **control}, _text("short")]}
    sent = _sent(CLAUDE, _said({"role": "system", **parts}, {"role": "user", **parts}, tools=[{**CLOCK, **control}]))

    assert sent["system"] == sent["messages"][0]["content"] == [{"text": "Long"}, point, {"text": "short"}]
    assert sent["toolConfig"]["tools"] == [SPEC, point]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        pytest.param({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "data URL", id="https"),
        pytest.param({"type": "image_url", "image_url": {"url": "/etc/passwd"}}, "data URL", id="a path"),
        pytest.param({"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}, "base64", id="no base64"),
        pytest.param({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "nothing", id="empty"),
        pytest.param({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,YQ=="}}, "tiff", id="tiff"),
        pytest.param({"type": "file", "file": {"file_id": "file-1"}}, "file_data", id="a file elsewhere"),
        pytest.param(_file("a.exe", "application/x-msdownload"), "msdownload", id="a program"),
        pytest.param({"type": "video"}, "video", id="video"),
    ],
)
def test_what_bedrock_cannot_be_shown_is_refused_with_its_place(part: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError) as caught:
        _sent(CLAUDE, _said(_user("a"), _user(_text("b"), part)))

    assert caught.value.param == "messages[1].content[1]"
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param(chat(metadata={"team": "ä"}), "metadata.team", id="metadata"),
        pytest.param(chat(reasoning_effort="extreme"), "reasoning_effort", id="effort"),
        pytest.param(chat(reasoning_effort="low", max_tokens=100), "max_completion_tokens", id="no room to think"),
        pytest.param(chat(response_format={"type": "grammar"}), "response_format", id="format"),
        pytest.param(chat(tools=[{"type": "custom"}]), "tools[0]", id="custom tool"),
        pytest.param(chat(tools=[CLOCK], tool_choice={"type": "custom"}), "tool_choice", id="choice"),
        pytest.param(_said({"role": "function", "name": "f", "content": "x"}), "messages[0].role", id="function"),
        pytest.param(
            _said({"role": "system", "content": [_file("a.pdf")]}), "messages[0].content[0]", id="system file"
        ),
        pytest.param(_said(_user("a"), RESULT), "messages[1].tool_call_id", id="a result of nothing"),
    ],
)
def test_what_bedrock_cannot_be_told_is_refused_with_its_place(body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        _sent(CLAUDE, body)

    assert caught.value.param == param


@pytest.mark.parametrize("model", [OLD_CLAUDE, NOVA])
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_a_model_cannot_hold_to_is_the_input_of_a_tool(model: str, stream: bool) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    one = _of(model, chat(response_format=shape))

    async def main() -> tuple[dict[str, Any], Server]:
        async with PAIR.opened() as (server, provider):
            assert isinstance(server, Server)
            server.reply = Reply(text='{"name":"Łódź"}')
            answer = assembled(await collected(provider, one)) if stream else (await provider.answer(one)).body
            return answer, server

    answer, server = run(main())

    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ('{"name":"Łódź"}', "stop")
    assert "tool_calls" not in choice["message"]
    heard = server.heard(server.bodies[0])
    assert (heard.schema, heard.tools, heard.json) == (PERSON, (), False)


def test_an_answer_in_json_beside_tools_may_be_either() -> None:
    sent = _sent(
        NOVA, chat(tools=[CLOCK, {**CLOCK, "function": {"name": "answer"}}], response_format={"type": "json_object"})
    )

    assert [tool["toolSpec"]["name"] for tool in sent["toolConfig"]["tools"]] == ["clock", "answer", "answer_"]
    assert sent["toolConfig"]["toolChoice"] == {"any": {}}


@pytest.mark.parametrize("answered", [True, False])
def test_what_is_said_around_an_answer_in_json_is_no_part_of_it(answered: bool) -> None:
    one = _of(NOVA, chat(response_format={"type": "json_object"}))
    use = {"toolUseId": "a", "name": "answer"}
    uses = [{"toolUse": {**use, "input": {"a": 1}}}] * 2 if answered else []
    events = [_delta(0, {"text": "Here "}), _delta(0, {"text": "it is"})]
    for number in range(1, 1 + len(uses)):
        events.append({"contentBlockStart": {"contentBlockIndex": number, "start": {"toolUse": use}}})
        events += [_delta(number, {"toolUse": {"input": piece}}) for piece in ('{"a"', ":1}")]
    stop = "tool_use" if answered else "guardrail_intervened"
    events.append({"messageStop": {"stopReason": stop}})

    whole, _ = bedrock.answer(one, [_whole([{"text": "Here it is"}, *uses], stop)])
    reader = bedrock.reader(one, 0, {})
    streamed = assembled([chunk for event in events for chunk in reader.read(event)])

    for choice in (whole["choices"][0], streamed["choices"][0]):
        assert choice["message"]["content"] == ('{"a":1}' if answered else "Here it is")
        assert choice["finish_reason"] == ("stop" if answered else "content_filter")


def _whole(content: list[dict[str, Any]], stop: str = "end_turn", **usage: int) -> dict[str, Any]:
    counted = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, **usage}
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": counted}


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("content_filtered", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("of_tomorrow", "stop"),
    ],
)
def test_why_it_ended_is_told_in_openais_words(stop: str, expected: str) -> None:
    body, _ = bedrock.answer(call(chat()), [_whole([{"text": "a"}], stop)])
    assert body["choices"][0]["finish_reason"] == expected


def test_every_reason_that_the_sdk_knows_has_one_of_openais() -> None:
    for stop in SERVICE.shape_for("StopReason").enum:
        if stop in bedrock.MALFORMED:
            with pytest.raises(Refusal) as caught:
                bedrock.answer(call(chat()), [_whole([], stop)])
            assert type(bedrock.refused(caught.value, "up", "m")) is errors.ProviderUnavailable
        else:
            bedrock.answer(call(chat()), [_whole([], stop)])


def test_what_was_cached_is_part_of_the_prompt() -> None:
    kept = [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 3}]
    reported = {"cacheReadInputTokens": 100, "cacheWriteInputTokens": 7, "cacheDetails": kept}
    _, usage = bedrock.answer(call(chat()), [_whole([], **reported)])

    assert usage == {
        "prompt_tokens": 117,
        "completion_tokens": 5,
        "total_tokens": 122,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 7, "cache_write_1h_tokens": 4},
    }


@pytest.mark.parametrize("model", ["cohere.embed-multilingual-v3", "eu.cohere.embed-v4:0"])
@pytest.mark.parametrize("dimensions", [{}, {"dimensions": 4}])
def test_cohere_embeds_many_texts_at_once(model: str, dimensions: dict[str, int]) -> None:
    texts = [f"text {number}" for number in range(200)]
    one = _of(model, {"model": "m", "input": texts, "input_type": "search_query", **dimensions}, "embeddings")

    async def main() -> tuple[Any, list[dict[str, Any]]]:
        async with PAIR.opened() as (server, provider):
            return await provider.answer(one), server.bodies

    answer, bodies = run(main())

    assert [len(body["texts"]) for body in bodies] == [96, 96, 8]
    assert {body["input_type"] for body in bodies} == {"search_query"}
    assert len(answer.body["data"]) == 200 and len(answer.body["data"][199]["embedding"]) == dimensions.get(
        "dimensions", 8
    )
    assert answer.usage == {"prompt_tokens": 600, "total_tokens": 600}


def test_titan_normalizes_on_request() -> None:
    body = {"model": "m", "input": "a", "normalize": False, "dimensions": 256}
    sent = _sent("amazon.titan-embed-text-v2:0", body, "embeddings")
    assert sent["body"] == {"inputText": "a", "dimensions": 256, "normalize": False}


@pytest.mark.parametrize("model", [ARN, CLAUDE, "amazon.nova-pro-v1:0"])
def test_any_name_of_a_model_reaches_bedrock_as_it_is(model: str) -> None:
    async def main() -> str:
        async with PAIR.opened() as (server, provider):
            await provider.answer(_of(model, chat()))
            await collected(provider, _of(model, chat()))
            names = {body["model"] for body in server.bodies}
            return names.pop() if len(names) == 1 else str(names)

    assert run(main()) == model


# Errors.

SHAPES = {
    shape.name: shape.metadata["error"]["httpStatusCode"]
    for name in SERVICE.operation_names
    for shape in SERVICE.operation_model(name).error_shapes
}
EXPECTED = {
    "AccessDeniedException": errors.ProviderKeyRefused,
    "ConflictException": errors.ProviderRejected,
    "InternalServerException": errors.ProviderUnavailable,
    "ModelErrorException": errors.ProviderUnavailable,
    "ModelNotReadyException": errors.ProviderUnavailable,
    "ModelStreamErrorException": errors.ProviderUnavailable,
    "ModelTimeoutException": errors.ProviderTimeout,
    "ResourceNotFoundException": errors.ModelNotFound,
    "ServiceQuotaExceededException": errors.ProviderLimited,
    "ServiceUnavailableException": errors.ProviderUnavailable,
    "ThrottlingException": errors.ProviderLimited,
    "ValidationException": errors.ProviderRejected,
    # Of AWS's own front, in no service's list.
    "ExpiredTokenException": errors.ProviderKeyRefused,
    "UnrecognizedClientException": errors.ProviderKeyRefused,
    "InvalidSignatureException": errors.ProviderKeyRefused,
}
OF_THE_FRONT = {"ExpiredTokenException": 403, "UnrecognizedClientException": 403, "InvalidSignatureException": 403}


def test_every_error_that_the_sdk_knows_is_looked_at() -> None:
    assert set(EXPECTED) >= set(SHAPES)


@pytest.mark.parametrize("mode", ["whole", "stream"])
@pytest.mark.parametrize(("kind", "status"), [*SHAPES.items(), *OF_THE_FRONT.items()])
def test_a_typed_error_is_one_of_ours(kind: str, status: int, mode: str) -> None:
    account = "User: arn:aws:sts::123456789012:assumed-role/x is not authorized"

    async def main() -> BaseException | None:
        async with PAIR.opened() as (server, provider):
            server.fault = Fault("status", status, error={"type": kind, "message": account})
            return await ended(provider.answer(call(chat())) if mode == "whole" else collected(provider, call(chat())))

    error = run(main())

    assert isinstance(error, GatewayError)
    assert type(error) is EXPECTED[kind]
    assert type(error) is not errors.ProviderKeyRefused or "123456789012" not in error.message


EVENTS = [
    name for name, shape in SERVICE.shape_for("ConverseStreamOutput").members.items() if shape.metadata.get("exception")
]


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("name", EVENTS)
def test_an_exception_inside_a_stream_is_one_of_ours(name: str, after: int) -> None:
    async def main() -> BaseException | None:
        async with PAIR.opened() as (server, provider):
            server.fault = Fault("error inside", after=after, error={"type": name, "message": "the reason"})
            return await ended(collected(provider, call(chat())))

    error = run(main())

    assert type(error) is EXPECTED[name[0].upper() + name[1:]]
    assert "the reason" in str(error)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Input is too long for requested model.", errors.ContextTooLong),
        (
            "The model returned the following errors: prompt is too long: 2000 tokens > 1000 maximum",
            errors.ContextTooLong,
        ),
        ("The provided model identifier is invalid.", errors.ModelNotFound),
        ("Invocation of model ID x with on-demand throughput isn’t supported.", errors.ModelNotFound),
        ("Malformed input request", errors.ProviderRejected),
    ],
)
def test_a_validation_error_is_what_it_says(message: str, expected: type[GatewayError]) -> None:
    error = bedrock.refused(Refusal(400, {"type": "ValidationException", "message": message}), "up", "m")

    assert type(error) is expected
    assert error.message == message


@pytest.mark.parametrize("unset", ["AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"])
def test_what_is_missing_is_told_with_what_to_set(unset: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv(unset)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))

    async def main() -> BaseException | None:
        async with PAIR.opened() as (server, provider):
            error = await ended(collected(provider, call(chat())))
            assert server.connections == 0
            return error

    error = run(main())

    assert type(error) is errors.ProviderKeyRefused
    assert unset in error.message


def test_config_gives_the_region_and_boto3s_own_variable_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "us-west-2")

    async def main() -> str:
        async with Server() as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
            config = {"adapter": "bedrock", "transport": "sdk", "region": "eu-west-1", "region_env": "AWS_REGION"}
            provider = open_provider("up", ProviderConfig.model_validate(config))
            try:
                await provider.answer(call(chat()))
            finally:
                await provider.aclose()
            return server.headers[-1]["Authorization"]

    assert "/us-west-2/bedrock/aws4_request" in run(main())


def test_models_that_may_not_be_listed_are_none() -> None:
    async def main() -> list[str]:
        async with PAIR.opened() as (server, provider):
            server.fault = Fault("status", 403)
            return await provider.models()

    assert run(main()) == []


# Threads.


def test_no_more_threads_than_calls_and_none_is_left() -> None:
    async def main() -> None:
        async with PAIR.opened(timeouts={"first_token_s": 20}) as (server, provider):
            server.fault = Fault("stall")
            tasks = [asyncio.ensure_future(collected(provider, call(chat()))) for _ in range(20)]
            await until(lambda: len(server.bodies) == 20, 10)
            assert sum(thread.name.startswith("up_") for thread in threading.enumerate()) <= 20
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await until(lambda: server.connections == 0, 1)
        await until(lambda: not any(thread.name.startswith("up_") for thread in threading.enumerate()), 5)

    run(main())


def test_cancelling_one_call_never_cuts_another() -> None:
    async def main() -> None:
        async with PAIR.opened(timeouts={"first_token_s": 20}) as (_, provider):
            for turn in range(60):
                first = asyncio.ensure_future(collected(provider, call(chat())))
                others = [asyncio.ensure_future(collected(provider, call(chat()))) for _ in range(3)]
                await asyncio.sleep(turn / 10_000)
                first.cancel()
                for chunks in await asyncio.gather(*others):
                    assert chunks[-1]["usage"]

    run(main())


def test_a_thread_waits_for_who_is_slow_to_read() -> None:
    async def main() -> None:
        async with PAIR.opened() as (server, provider):
            server.fault = Fault("flood")
            async with contextlib.aclosing(provider.stream(call(chat()))) as stream:
                for _ in range(3000):
                    assert await anext(stream)
            server.fault = None
            assert (await collected(provider, call(chat())))[-1]["usage"]
        await until(lambda: not any(thread.name.startswith("up_") for thread in threading.enumerate()), 5)

    run(main())


@contextlib.asynccontextmanager
async def _behind_tls(server: Server, folder: Path) -> AsyncIterator[str]:
    """The address of a server that unwraps TLS, with a certificate that AWS_CA_BUNDLE vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now - HOUR, now + HOUR)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")

    async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        await asyncio.gather(copied(reader, inner_writer), copied(inner_reader, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as front:
        yield f"https://127.0.0.1:{front.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("mode", ["whole", "stream"])
@pytest.mark.parametrize("kind", ["hang", "stall"])
def test_cancelling_closes_the_socket_over_tls_too(
    kind: Any, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))

    async def main() -> None:
        async with Server() as server, _behind_tls(server, tmp_path) as url, PAIR.opened(base_url=url) as (_, provider):
            assert (await provider.answer(call(chat()))).usage
            assert await collected(provider, call(chat()))
            server.fault = Fault(kind)
            attempt = provider.answer(call(chat())) if mode == "whole" else collected(provider, call(chat()))
            task = asyncio.ensure_future(attempt)
            await until(lambda: len(server.bodies) == 3, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.connections == 0, 1)

    run(main())


def test_boto3_is_loaded_only_where_bedrock_is_served() -> None:
    code = (
        "import sys; from mesh.settings import ProviderConfig; from workers.providers import open_provider;"
        "open_provider('a', ProviderConfig(adapter='openai')); assert not {'boto3', 'botocore'} & set(sys.modules);"
        "open_provider('b', ProviderConfig(adapter='bedrock')); assert 'boto3' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


# Any conversation.

WORDS = st.text(min_size=1, max_size=30).filter(lambda text: not text.isspace())
IDS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=3)
NAMES = st.sampled_from(["weather", "clock"])
PARTS = st.lists(
    st.one_of(
        WORDS.map(_text),
        st.binary(min_size=1, max_size=8).map(
            lambda raw: {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;base64,{base64.b64encode(raw).decode()}"},
            }
        ),
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def conversations(draw: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(WORDS)}]
    used: set[str] = set()
    for _ in range(draw(st.integers(0, 5))):
        match draw(st.sampled_from(["system", "developer", "user", "assistant", "tools"])):
            case "user":
                messages.append({"role": "user", "content": draw(st.one_of(WORDS, PARTS))})
            case "tools":
                ids = draw(st.lists(IDS.filter(lambda each: each not in used), min_size=1, max_size=3, unique=True))
                used.update(ids)
                functions = [{"name": draw(NAMES), "arguments": json.dumps(draw(ARGUMENTS))} for _ in ids]
                calls = [
                    {"id": each, "type": "function", "function": function}
                    for each, function in zip(ids, functions, strict=True)
                ]
                messages.append({"role": "assistant", "content": draw(st.none() | WORDS), "tool_calls": calls})
                messages += [{"role": "tool", "tool_call_id": each, "content": draw(WORDS)} for each in ids]
            case role:
                messages.append({"role": role, "content": draw(WORDS)})
    return messages


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversations())
def test_any_conversation_reaches_bedrock_whole(messages: list[dict[str, Any]]) -> None:
    sent = _wire(_sent(CLAUDE, _said(*messages, tools=[WEATHER, CLOCK])))

    Server().check("converse", sent)
    understood = openai_stand_in.understand({"messages": messages})
    assert list(Server().heard(sent).turns) == _merged(understood.turns)
    said = [block for message in sent["messages"] for block in message["content"]]
    ids = [each["id"] for message in messages for each in message.get("tool_calls") or ()]
    assert [block["toolUse"]["toolUseId"] for block in said if "toolUse" in block] == ids
    assert [block["toolResult"]["toolUseId"] for block in said if "toolResult" in block] == ids


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    """One system text, and no role twice in a row but that of tools."""
    systems = [turn.text for turn in turns if turn.role == "system"]
    merged = [Turn("system", "\n".join(systems))] if systems else []
    for turn in turns:
        last = merged[-1] if merged else None
        if turn.role == "system":
            continue
        if last is None or turn.role == "tool" or turn.role != last.role:
            merged.append(turn)
        else:
            text = "\n".join(each.text for each in (last, turn) if each.text)
            merged[-1] = Turn(turn.role, text, last.images + turn.images, last.calls + turn.calls)
    return merged


def _wire(sent: dict[str, Any]) -> dict[str, Any]:
    """As JSON, where bytes are base64."""
    wire: dict[str, Any] = json.loads(json.dumps(sent, default=lambda raw: base64.b64encode(raw).decode()))
    return wire


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(st.text(max_size=20), max_size=5),
    thoughts=st.lists(st.text(min_size=1, max_size=20), max_size=3),
    calls=st.lists(st.tuples(NAMES, ARGUMENTS, st.integers(1, 7)), max_size=3),
)
def test_any_answer_comes_back_whole(
    texts: list[str], thoughts: list[str], calls: list[tuple[str, dict[str, Any], int]]
) -> None:
    one = call(chat())
    content: list[dict[str, Any]] = [{"reasoningContent": {"reasoningText": {"text": "".join(thoughts)}}}]
    content.append({"text": "".join(texts)})
    events: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}]
    events += [_delta(0, {"reasoningContent": {"text": thought}}) for thought in thoughts]
    events += [_delta(1, {"text": text}) for text in texts]
    for number, (name, given_, size) in enumerate(calls, 2):
        use = {"toolUseId": f"id_{number}", "name": name}
        content.append({"toolUse": {**use, "input": given_}})
        events.append({"contentBlockStart": {"contentBlockIndex": number, "start": {"toolUse": use}}})
        raw = json.dumps(given_) if given_ else ""
        events += [
            _delta(number, {"toolUse": {"input": raw[start : start + size]}}) for start in range(0, len(raw), size)
        ]
        events.append({"contentBlockStop": {"contentBlockIndex": number}})
    stop = "tool_use" if calls else "end_turn"
    events += [{"messageStop": {"stopReason": stop}}, {"metadata": {"usage": _whole([])["usage"]}}]

    whole, usage = bedrock.answer(one, [_whole(content, stop)])
    reader = bedrock.reader(one, 0, {})
    chunks = [chunk for event in events for chunk in reader.read(event)]
    streamed = assembled(chunks)["choices"][0]

    assert reader.finished and reader.usage == usage
    assert _parsed(streamed) == _parsed(whole["choices"][0])
    assert (streamed["message"].get("content") or "") == "".join(texts)
    assert [each["id"] for each in streamed["message"].get("tool_calls", ())] == [
        f"id_{n}" for n in range(2, 2 + len(calls))
    ]


def _delta(number: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": number, "delta": delta}}


def _parsed(choice: dict[str, Any]) -> Any:
    message = choice["message"]
    calls = [
        (each["id"], each["function"]["name"], json.loads(each["function"]["arguments"]))
        for each in message.get("tool_calls") or ()
    ]
    return (
        choice["finish_reason"],
        message["role"],
        message.get("content"),
        message.get("reasoning_content"),
        calls,
    )
