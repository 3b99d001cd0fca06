"""What the door accepts, refuses and hands on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_type_hints

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import completion_create_params as openai_chat
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as OpenAICompletion
from openai.types.embedding_create_params import EmbeddingCreateParams as OpenAIEmbedding
from pydantic import TypeAdapter

from mesh.errors import NotFound, RequestError
from mesh.settings import RequestLimits
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS, JOBS, GatewayFields, Parsed, check, headers_in, parse
from web.requests.chat import ChatRequest
from web.requests.completions import CompletionRequest
from web.requests.documents import depth
from web.requests.embeddings import EmbeddingRequest
from web.requests.gateway_fields import HEADERS, NAMES
from web.requests.sampling import Sampling

LIMITS = RequestLimits()
EXTENSIONS = {"top_k", "min_p", "repetition_penalty"}
HI = [{"role": "user", "content": "hi"}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
PNG = "data:image/png;base64,iVBORw0KGgo="


def chat(**parameters: Any) -> dict[str, Any]:
    return {"model": "m", "messages": HI, **parameters}


def said(*messages: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages)}


def part(**fields: Any) -> dict[str, Any]:
    return said({"role": "user", "content": [{"type": "text", "text": "what is this?"}, fields]})


def ask(
    body: Any, endpoint: str = CHAT, headers: dict[str, str] | None = None, limits: RequestLimits = LIMITS
) -> Parsed:
    return parse(endpoint, body if isinstance(body, bytes) else orjson.dumps(body), limits, headers or {})


def refused(*arguments: Any, **keywords: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ask(*arguments, **keywords)
    assert caught.value.status == 400
    assert set(caught.value.body()) == {"message", "type", "param", "code"}
    assert caught.value.type == "invalid_request_error"
    return caught.value


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        # no JSON, or no object
        pytest.param(b"", None, "invalid_json", id="empty body"),
        pytest.param(b" \n\t", None, "invalid_json", id="only blanks"),
        pytest.param(b"hello", None, "invalid_json", id="no JSON"),
        pytest.param(b'{"model": "m", "messages": [', None, "invalid_json", id="cut off"),
        pytest.param(b'{"model": "m",}', None, "invalid_json", id="trailing comma"),
        pytest.param(b"{'model': 'm'}", None, "invalid_json", id="single quotes"),
        pytest.param(b'{"model": "m"} {}', None, "invalid_json", id="two documents"),
        pytest.param(b'{"temperature": NaN}', None, "invalid_json", id="NaN"),
        pytest.param(b'{"temperature": -Infinity}', None, "invalid_json", id="Infinity"),
        pytest.param(b'{"temperature": 1e999}', None, "invalid_json", id="a number beyond all floats"),
        pytest.param(b'{"model": "\xff\xfe"}', None, "invalid_json", id="invalid UTF-8"),
        pytest.param(b'{"model": "\\ud800"}', None, "invalid_json", id="lone surrogate"),
        pytest.param(b"\xef\xbb\xbf{}", None, "invalid_json", id="byte order mark"),
        pytest.param(b'{"model": "a\nb"}', None, "invalid_json", id="raw line break in a string"),
        pytest.param(b"[]", None, "invalid_type", id="an array"),
        pytest.param(b"null", None, "invalid_type", id="null"),
        pytest.param(b'"hi"', None, "invalid_type", id="a string"),
        pytest.param(b"[" * 70 + b"]" * 70, None, "json_too_deep", id="too deep"),
        pytest.param(b"[" * 100_000, None, "json_too_deep", id="too deep for any parser"),
        pytest.param(b'{"a":' * 70 + b"1" + b"}" * 70, None, "json_too_deep", id="objects too deep"),
        # model and messages
        pytest.param({}, "model", "missing_required_parameter", id="nothing"),
        pytest.param({"messages": HI}, "model", "missing_required_parameter", id="no model"),
        pytest.param(chat(model=None), "model", "invalid_type", id="null model"),
        pytest.param(chat(model=""), "model", "empty_string", id="empty model"),
        pytest.param(chat(model="m" * 257), "model", "string_above_max_length", id="long model"),
        pytest.param({"model": "m"}, "messages", "missing_required_parameter", id="no messages"),
        pytest.param(chat(messages=[]), "messages", "empty_array", id="empty messages"),
        pytest.param(chat(messages="hi"), "messages", "invalid_type", id="messages as a string"),
        pytest.param(chat(messages={"0": HI}), "messages", "invalid_type", id="messages as an object"),
        pytest.param(said("hi"), "messages[0]", "invalid_type", id="a message that is a string"),
        pytest.param(said(*HI, {}), "messages[1].role", "missing_required_parameter", id="no role"),
        pytest.param(said({"role": 5}), "messages[0].role", "invalid_type", id="role is a number"),
        pytest.param(said({"role": ["user"]}), "messages[0].role", "invalid_type", id="role is an array"),
        pytest.param(said({"role": "robot", "content": "hi"}), "messages[0].role", "invalid_value", id="unknown role"),
        pytest.param(said({"role": "user"}), "messages[0].content", "missing_required_parameter", id="no content"),
        pytest.param(said({"role": "user", "content": None}), "messages[0].content", "invalid_type", id="null content"),
        pytest.param(said({"role": "user", "content": 5}), "messages[0].content", "invalid_type", id="number content"),
        pytest.param(said({"role": "user", "content": {}}), "messages[0].content", "invalid_type", id="object content"),
        pytest.param(said({"role": "user", "content": []}), "messages[0].content", "empty_array", id="no parts"),
        pytest.param(
            said({"role": "user", "content": "a", "name": 1}), "messages[0].name", "invalid_type", id="name is a number"
        ),
        pytest.param(
            said({"role": "user", "user": {"content": 1}, "content": 5}), "messages[0].content", "invalid_type",
            id="a key named like the role",
        ),
        # parts
        pytest.param(part(), "messages[0].content[1].type", "missing_required_parameter", id="a part without type"),
        pytest.param(part(type="video"), "messages[0].content[1].type", "invalid_value", id="unknown part"),
        pytest.param(part(type="text"), "messages[0].content[1].text", "missing_required_parameter", id="no text"),
        pytest.param(part(type="text", text=None), "messages[0].content[1].text", "invalid_type", id="null text"),
        pytest.param(
            part(type="image_url"), "messages[0].content[1].image_url", "missing_required_parameter", id="no image_url"
        ),
        pytest.param(
            part(type="image_url", image_url=PNG), "messages[0].content[1].image_url", "invalid_type",
            id="image_url as a string",
        ),
        pytest.param(
            part(type="image_url", image_url={}), "messages[0].content[1].image_url.url", "missing_required_parameter",
            id="no url",
        ),
        pytest.param(
            part(type="image_url", image_url={"url": 5}), "messages[0].content[1].image_url.url", "invalid_type",
            id="url is a number",
        ),
        pytest.param(
            part(type="image_url", image_url={"url": "file:///etc/passwd"}), "messages[0].content[1].image_url.url",
            "invalid_value", id="url of another scheme",
        ),
        pytest.param(
            part(type="image_url", image_url={"url": PNG, "detail": "max"}), "messages[0].content[1].image_url.detail",
            "invalid_value", id="unknown detail",
        ),
        pytest.param(
            part(type="input_audio", input_audio={"data": "AA==", "format": "ogg"}),
            "messages[0].content[1].input_audio.format", "invalid_value", id="unknown audio format",
        ),
        pytest.param(part(type="file", file=[]), "messages[0].content[1].file", "invalid_type", id="file is an array"),
        pytest.param(
            part(type="refusal", refusal="no"), "messages[0].content[1].type", "invalid_value", id="a user refuses"
        ),
        # tools and their answers
        pytest.param(
            said(*HI, {"role": "assistant"}), "messages[1].content", "invalid_value", id="an assistant says nothing"
        ),
        pytest.param(
            said(*HI, {"role": "assistant", "tool_calls": []}), "messages[1].tool_calls", "empty_array",
            id="no tool calls",
        ),
        pytest.param(
            said(*HI, {"role": "assistant", "tool_calls": [{"id": "x", "type": "function"}]}),
            "messages[1].tool_calls[0].function", "missing_required_parameter", id="a call without function",
        ),
        pytest.param(
            said(*HI, {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "look", "arguments": {}}}]}),
            "messages[1].tool_calls[0].function.arguments", "invalid_type", id="arguments as an object",
        ),
        pytest.param(
            said(*HI, {"role": "tool", "content": "5"}), "messages[1].tool_call_id", "missing_required_parameter",
            id="a tool message without id",
        ),
        pytest.param(
            said(*HI, {"role": "tool", "content": "5", "tool_call_id": "call_1"}), "messages[1].tool_call_id",
            "invalid_value", id="an answer to no call",
        ),
        pytest.param(
            said({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "5", "tool_call_id": "x"}),
            "messages[1].tool_call_id", "invalid_value", id="an answer to another call",
        ),
        pytest.param(
            said({"role": "assistant", "tool_calls": [CALL]}, *HI), "messages[0].tool_calls", "invalid_value",
            id="a call without an answer",
        ),
        pytest.param(
            said(*HI, {"role": "assistant", "tool_calls": [CALL]}), "messages[1].tool_calls", "invalid_value",
            id="a last call without an answer",
        ),
        pytest.param(chat(tools={}), "tools", "invalid_type", id="tools as an object"),
        pytest.param(chat(tools=None), "tools", "invalid_type", id="null tools"),
        pytest.param(chat(tools=[{"type": "web"}]), "tools[0].type", "invalid_value", id="unknown tool"),
        pytest.param(chat(tools=[LOOK, {"type": "function", "function": {}}]), "tools[1].function.name",
                     "missing_required_parameter", id="a tool without name"),
        pytest.param(chat(tools=[{"type": "function", "function": {"name": "a b"}}]), "tools[0].function.name",
                     "invalid_value", id="a tool's name with a blank"),
        pytest.param(chat(tools=[{"type": "function", "function": {"name": "a" * 65}}]), "tools[0].function.name",
                     "string_above_max_length", id="a tool's long name"),
        pytest.param(chat(tools=[{"type": "function", "function": {"name": "a", "parameters": []}}]),
                     "tools[0].function.parameters", "invalid_type", id="parameters as an array"),
        pytest.param(
            chat(tools=[{"type": "custom", "custom": {"name": "a", "format": {"type": "grammar", "grammar": {
                "syntax": "bnf", "definition": ""}}}}]),
            "tools[0].custom.format.grammar.syntax", "invalid_value", id="unknown grammar"),
        pytest.param(chat(tools=[LOOK], tool_choice="any"), "tool_choice", "invalid_value", id="unknown tool choice"),
        pytest.param(chat(tools=[LOOK], tool_choice=1), "tool_choice", "invalid_type", id="tool choice is a number"),
        pytest.param(chat(tools=[LOOK], tool_choice={"type": "function", "function": {}}), "tool_choice.function.name",
                     "missing_required_parameter", id="tool choice without name"),
        pytest.param(chat(tool_choice="required"), "tool_choice", "invalid_value", id="tool choice without tools"),
        pytest.param(chat(tools=[LOOK], tool_choice={"type": "function", "function": {"name": "other"}}), "tool_choice",
                     "invalid_value", id="a chosen tool that is not there"),
        # numbers and switches
        pytest.param(chat(temperature="0.5"), "temperature", "invalid_type", id="a number as a string"),
        pytest.param(chat(temperature=True), "temperature", "invalid_type", id="a boolean is no number"),
        pytest.param(chat(temperature=2.1), "temperature", "decimal_above_max_value", id="too hot"),
        pytest.param(chat(temperature=-1), "temperature", "decimal_below_min_value", id="too cold"),
        pytest.param(chat(top_p=1.01), "top_p", "decimal_above_max_value", id="top_p"),
        pytest.param(chat(presence_penalty=-3), "presence_penalty", "decimal_below_min_value", id="penalty"),
        pytest.param(chat(repetition_penalty=0), "repetition_penalty", "decimal_below_min_value", id="no penalty"),
        pytest.param(chat(n=0), "n", "integer_below_min_value", id="no answers"),
        pytest.param(chat(n=129), "n", "integer_above_max_value", id="too many answers"),
        pytest.param(chat(n=1.5), "n", "invalid_type", id="one and a half answers"),
        pytest.param(chat(n=True), "n", "invalid_type", id="a boolean is no integer"),
        pytest.param(chat(max_tokens=0), "max_tokens", "integer_below_min_value", id="no tokens"),
        pytest.param(
            chat(max_tokens=5, max_completion_tokens=5), "max_tokens", "invalid_value", id="two limits of tokens"
        ),
        pytest.param(b'{"model":"m","messages":[{"role":"user","content":"a"}],"seed":1' + b"0" * 30 + b"}", "seed",
                     "integer_above_max_value", id="a huge seed"),
        pytest.param(b'{"model":"m","messages":[{"role":"user","content":"a"}],"seed":-1' + b"0" * 30 + b"}", "seed",
                     "integer_below_min_value", id="a huge negative seed"),
        pytest.param(chat(seed=2**63), "seed", "integer_above_max_value", id="a seed of 64 bits"),
        pytest.param(chat(stream="true"), "stream", "invalid_type", id="stream as a string"),
        pytest.param(chat(stream=1), "stream", "invalid_type", id="stream as a number"),
        pytest.param(
            chat(stream_options={"include_usage": True}), "stream_options", "invalid_value", id="options of no stream"
        ),
        pytest.param(chat(stream=True, stream_options={"include_usage": 1}), "stream_options.include_usage",
                     "invalid_type", id="include_usage is a number"),
        pytest.param(chat(top_logprobs=2), "top_logprobs", "invalid_value", id="top_logprobs without logprobs"),
        pytest.param(
            chat(logprobs=True, top_logprobs=21), "top_logprobs", "integer_above_max_value", id="too many top_logprobs"
        ),
        pytest.param(chat(logit_bias={"5": 101}), "logit_bias.5", "integer_above_max_value", id="too much bias"),
        pytest.param(chat(logit_bias=[]), "logit_bias", "invalid_type", id="bias as an array"),
        # texts and lists
        pytest.param(chat(stop=["a"] * 5), "stop", "array_above_max_length", id="five stops"),
        pytest.param(chat(stop=[]), "stop", "empty_array", id="no stop"),
        pytest.param(chat(stop=["a", 1]), "stop[1]", "invalid_type", id="a stop that is a number"),
        pytest.param(chat(stop=1), "stop", "invalid_type", id="stop is a number"),
        pytest.param(chat(metadata={str(n): "x" for n in range(17)}), "metadata", "object_above_max_properties",
                     id="too much metadata"),
        pytest.param(chat(metadata={"a": 1}), "metadata.a", "invalid_type", id="metadata is no text"),
        pytest.param(chat(metadata={"a": "x" * 513}), "metadata.a", "string_above_max_length", id="long metadata"),
        pytest.param(chat(modalities=["text", "video"]), "modalities[1]", "invalid_value", id="unknown modality"),
        pytest.param(chat(audio={"format": "wav"}), "audio.voice", "missing_required_parameter", id="no voice"),
        pytest.param(chat(reasoning_effort="hard"), "reasoning_effort", "invalid_value", id="unknown effort"),
        pytest.param(chat(response_format="json"), "response_format", "invalid_type", id="format as a string"),
        pytest.param(chat(response_format={"type": "xml"}), "response_format.type", "invalid_value", id="XML"),
        pytest.param(chat(response_format={"type": "json_schema"}), "response_format.json_schema",
                     "missing_required_parameter", id="no schema"),
        pytest.param(chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": "x"}}),
                     "response_format.json_schema.schema", "invalid_type", id="a schema that is a string"),
        pytest.param(chat(user=5), "user", "invalid_type", id="user is a number"),
        pytest.param(chat(web_search_options={"user_location": {"type": "approximate", "approximate": {"city": 1}}}),
                     "web_search_options.user_location.approximate.city", "invalid_type", id="city is a number"),
        # the gateway's own
        pytest.param(chat(private="yes"), "private", "invalid_type", id="private as a string"),
        pytest.param(chat(max_cost=0), "max_cost", "decimal_below_min_value", id="no cost allowed"),
        pytest.param(chat(max_cost="0.1"), "max_cost", "invalid_type", id="cost as a string"),
        pytest.param(chat(max_cost=1e300), "max_cost", "decimal_above_max_value", id="all the money"),
        pytest.param(chat(provider=""), "provider", "empty_string", id="empty provider"),
        pytest.param(chat(fallbacks="a,b"), "fallbacks", "invalid_type", id="fallbacks as a string"),
        pytest.param(chat(fallbacks=["a"] * 9), "fallbacks", "array_above_max_length", id="nine fallbacks"),
        pytest.param(chat(fallbacks=["a", ""]), "fallbacks[1]", "empty_string", id="empty fallback"),
        pytest.param(chat(timeout_ms=0), "timeout_ms", "integer_below_min_value", id="no time"),
        pytest.param(chat(timeout_ms=86_400_001), "timeout_ms", "integer_above_max_value", id="more than a day"),
        pytest.param(chat(priority="urgent"), "priority", "invalid_value", id="unknown priority"),
        pytest.param(chat(disconnect="stay"), "disconnect", "invalid_value", id="unknown disconnect"),
    ],
)  # fmt: skip
def test_a_bad_chat_request_is_told_what_is_wrong_and_where(body: Any, param: str | None, code: str) -> None:
    error = refused(body)
    assert (error.param, error.code) == (param, code), error.message


@pytest.mark.parametrize(
    ("endpoint", "body", "param", "code"),
    [
        pytest.param(COMPLETIONS, {"model": "m"}, "prompt", "missing_required_parameter", id="no prompt"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": []}, "prompt", "empty_array", id="empty prompt"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": 5}, "prompt", "invalid_type", id="number prompt"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": ["a", 5]}, "prompt[1]", "invalid_type", id="mixed prompt"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": [5, "a"]}, "prompt[1]", "invalid_type", id="mixed tokens"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": [[1], [2, "a"]]}, "prompt[1][1]", "invalid_type",
                     id="a token that is text"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": [[1], []]}, "prompt[1]", "empty_array", id="no tokens"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": [-1]}, "prompt[0]", "integer_below_min_value",
                     id="a token below zero"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": "a", "best_of": 1, "n": 2}, "best_of", "invalid_value",
                     id="best_of below n"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": "a", "best_of": 2, "stream": True}, "best_of",
                     "invalid_value", id="best_of streamed"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": "a", "logprobs": 6}, "logprobs", "integer_above_max_value",
                     id="too many logprobs"),
        pytest.param(EMBEDDINGS, {"model": "m"}, "input", "missing_required_parameter", id="no input"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": ""}, "input", "empty_string", id="empty input"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": None}, "input", "invalid_type", id="null input"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": []}, "input", "empty_array", id="empty list"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": ["a", ""]}, "input[1]", "empty_string", id="an empty text"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": ["a"] * 2049}, "input", "array_above_max_length",
                     id="too many texts"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": "a", "encoding_format": "hex"}, "encoding_format",
                     "invalid_value", id="unknown encoding"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value",
                     id="no dimensions"),
        pytest.param(JOBS, {}, "endpoint", "missing_required_parameter", id="a job for nobody"),
        pytest.param(JOBS, {"endpoint": "/v1/jobs", "body": {}}, "endpoint", "invalid_value", id="a job for a job"),
        pytest.param(JOBS, {"endpoint": CHAT}, "body", "missing_required_parameter", id="a job without body"),
        pytest.param(JOBS, {"endpoint": CHAT, "body": "hi"}, "body", "invalid_type", id="a body that is a string"),
        pytest.param(JOBS, {"endpoint": CHAT, "body": chat(), "private": True}, "private", "unknown_parameter",
                     id="a gateway field beside the body"),
        pytest.param(JOBS, {"endpoint": CHAT, "body": said({"role": "user", "content": 1})}, "body.messages[0].content",
                     "invalid_type", id="bad content in a job"),
        pytest.param(JOBS, {"endpoint": CHAT, "body": chat(timeout_ms=10**12)}, "body.timeout_ms",
                     "integer_above_max_value", id="a job that takes years"),
    ],
)  # fmt: skip
def test_the_other_endpoints_say_what_is_wrong_too(endpoint: str, body: Any, param: str, code: str) -> None:
    error = refused(body, endpoint)
    assert (error.param, error.code) == (param, code), error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (chat(temperature="0.5"), "Invalid type for 'temperature': expected a decimal, but got a string instead."),
        (chat(n="2"), "Invalid type for 'n': expected an integer, but got a string instead."),
        (chat(user=None), "Invalid type for 'user': expected a string, but got null instead."),
        ({"model": "m"}, "Missing required parameter: 'messages'."),
        (
            said({"role": "user", "content": 5}),
            "Invalid type for 'messages[0].content': "
            "expected one of a string or an array of objects, but got an integer instead.",
        ),
        (
            said({"role": "bot"}),
            "Invalid value: 'bot'. "
            "Supported values are: 'system', 'developer', 'user', 'assistant', 'tool', and 'function'.",
        ),
        (chat(verbosity="loud"), "Invalid value: 'loud'. Supported values are: 'low', 'medium', and 'high'."),
        (
            chat(temperature=2.5),
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 2.5 instead.",
        ),
        (chat(n=0), "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."),
        (
            chat(messages=[]),
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty one instead.",
        ),
        (
            chat(stop=list("abcde")),
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got one with 5 instead.",
        ),
        (b'{"model" "m"}', "The body is not valid JSON: "),
    ],
)
def test_messages_are_written_as_openai_writes_them(body: Any, message: str) -> None:
    assert refused(body).message.startswith(message)


def test_a_message_repeats_little_of_what_was_sent() -> None:
    error = refused(chat(verbosity="x" * 100_000, metadata=None))
    assert len(error.message) < 300
    error = refused(chat(metadata={"x" * 1_000_000: 1}))
    assert len(error.message) < 600
    assert len(error.param or "") < 300
    assert "{" not in refused(chat(metadata={"{0}": 1})).message.replace("{0}", "")


def test_an_error_does_not_carry_the_prompt_into_a_traceback() -> None:
    error = refused(chat(temperature="hot"))
    assert error.__cause__ is None and error.__suppress_context__


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        pytest.param(CHAT, chat(), id="the smallest chat"),
        pytest.param(CHAT, chat(temperature=1, top_p=0, frequency_penalty=-2), id="integers where decimals are meant"),
        pytest.param(CHAT, chat(stop="a"), id="one stop"),
        pytest.param(CHAT, chat(tool_choice="none"), id="no tools chosen of none"),
        pytest.param(CHAT, chat(top_k=-1, min_p=0.1, repetition_penalty=1.1), id="extensions"),
        pytest.param(CHAT, chat(audio={"format": "wav", "voice": {"id": "v"}}), id="a voice by id"),
        pytest.param(CHAT, part(type="image_url", image_url={"url": PNG}), id="an image in the text"),
        pytest.param(CHAT, part(type="image_url", image_url={"url": "HTTPS://x.org/a.png"}), id="an image by URL"),
        pytest.param(
            CHAT, said({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}), id="refusal"
        ),
        pytest.param(
            CHAT,
            said(
                {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
                {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "2"}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "1"},
                {"role": "assistant", "content": "3"},
            ),
            id="tool calls answered in another order",
        ),
        pytest.param(
            CHAT,
            said(
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
                {"role": "function", "name": "f", "content": None},
            ),
            id="the deprecated function call",
        ),
        pytest.param(CHAT, said({"role": "user", "content": "a", "x_new": {"deep": [None]}}), id="unknown inside"),
        pytest.param(
            CHAT,
            chat(
                tools=[LOOK], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [LOOK]}}
            ),
            id="allowed tools",
        ),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": None}, id="a prompt may be null"),
        pytest.param(COMPLETIONS, {"model": "m", "prompt": [[1, 2], [3]], "max_tokens": 0, "echo": True}, id="tokens"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": [1, 2, 3]}, id="a token array"),
        pytest.param(EMBEDDINGS, {"model": "m", "input": [[1], [2]], "encoding_format": "base64"}, id="token arrays"),
    ],
)
def test_a_valid_body_is_handed_on_as_it_came(endpoint: str, body: dict[str, Any]) -> None:
    found = ask(body, endpoint)
    assert orjson.dumps(found.body) == orjson.dumps(body)
    assert (found.endpoint, found.fields, found.dropped) == (endpoint, GatewayFields(), ())


def test_null_means_absent_where_openai_says_so() -> None:
    assert ask(chat(temperature=None, stop=None, stream=None, max_cost=None, stream_options=None)).body == chat()


def test_of_equal_keys_the_last_wins() -> None:
    assert ask(b'{"model":"a","messages":[{"role":"user","content":"x"}],"model":"b"}').body["model"] == "b"


def test_an_integer_of_more_than_64_bits_is_no_obstacle_where_any_json_may_stand() -> None:
    body = ask(b'{"model":"a","messages":[{"role":"user","content":"x"}],"x_mine":' + b"9" * 40 + b"}").body
    assert body["x_mine"] == 1e40
    orjson.dumps(body)


@pytest.mark.parametrize("limit", [4, 64, 200])
def test_depth_is_allowed_up_to_its_limit(limit: int) -> None:
    limits = RequestLimits(max_json_depth=limit)
    just = chat(x_mine=orjson.loads(b"[" * (limit - 1) + b"]" * (limit - 1)))
    assert ask(just, limits=limits).body == just
    assert refused(chat(x_mine=[just["x_mine"]]), limits=limits).code == "json_too_deep"


def test_brackets_inside_strings_are_no_depth() -> None:
    text = '[{"\\' * 1_000
    assert ask(said({"role": "user", "content": text})).body["messages"][0]["content"] == text


json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((levels(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((levels(each) for each in value), default=0)
    return 0


@given(json)
def test_depth_is_counted_from_the_bytes_as_a_parser_would(value: Any) -> None:
    assert depth(orjson.dumps(value)) == levels(value)
    assert depth(orjson.dumps(value, option=orjson.OPT_INDENT_2)) == levels(value)


def placed(document: Any, place: list[int], value: Any) -> Any:
    """`document` with `value` somewhere inside; `place` chooses the way down."""
    if not place or not isinstance(document, dict | list) or not document:
        return value
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = keys[place[0] % len(keys)]
    changed = copy.copy(document)
    changed[key] = placed(document[key], place[1:], value)
    return changed


FULL: dict[str, dict[str, Any]] = {
    CHAT: chat(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
            *part(type="image_url", image_url={"url": PNG, "detail": "low"})["messages"],
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "5"},
        ],
        tools=[LOOK, {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}],
        tool_choice={"type": "function", "function": {"name": "look"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        stream=True, stream_options={"include_usage": True}, logprobs=True, top_logprobs=3, stop=["a"], n=1, top_p=0.5,
        metadata={"a": "b"}, logit_bias={"1": 2}, prediction={"type": "content", "content": "x"}, seed=1,
        audio={"format": "wav", "voice": "alloy"}, modalities=["text"], moderation={"model": "m", "policy": None},
        web_search_options={"user_location": {"type": "approximate", "approximate": {"city": "x"}}},
        private=True, max_cost=0.5, provider="p", fallbacks=["a"], timeout_ms=5, priority="batch", disconnect="cancel",
        rerun=True,
    ),
    COMPLETIONS: {"model": "m", "prompt": [[1, 2], [3]], "best_of": 2, "stop": "x", "logit_bias": {"1": 1}},
    EMBEDDINGS: {"model": "m", "input": ["a", "b"], "dimensions": 5},
    JOBS: {"endpoint": CHAT, "body": chat(fallbacks=[])},
}  # fmt: skip


def settled(*arguments: Any, **keywords: Any) -> bool:
    """Whether a request ends in one of the two ways that it may end in; any other exception is the test's failure."""
    try:
        ask(*arguments, **keywords)
    except RequestError as error:
        return bool(error.message and error.code)
    return True


@given(st.sampled_from(sorted(FULL)), json)
def test_any_json_is_answered_by_a_body_or_a_request_error(endpoint: str, value: Any) -> None:
    assert settled(value, endpoint)


@settings(max_examples=500)
@given(st.sampled_from(sorted(FULL)), st.lists(st.integers(0, 40), max_size=6), json)
def test_a_valid_body_with_anything_put_anywhere_is_answered_by_a_body_or_a_request_error(
    endpoint: str, place: list[int], value: Any
) -> None:
    assert settled(placed(FULL[endpoint], place, value), endpoint)


@given(st.sampled_from(sorted(FULL)), st.binary() | st.text('[]{}",:\\tfn1').map(str.encode))
def test_any_bytes_are_answered_by_a_body_or_a_request_error(endpoint: str, raw: bytes) -> None:
    assert settled(raw, endpoint)


@given(st.dictionaries(st.sampled_from(sorted(HEADERS.values())), st.text()))
def test_any_headers_are_answered_by_fields_or_a_request_error(headers: dict[str, str]) -> None:
    assert settled(chat(), headers=headers)


scalars = {
    "temperature": st.floats(0, 2) | st.integers(0, 2),
    "n": st.integers(1, 128),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "stop": st.text() | st.lists(st.text(), min_size=1, max_size=4),
    "metadata": st.dictionaries(st.text(max_size=64), st.text(max_size=512), max_size=16),
    "logit_bias": st.dictionaries(st.text(), st.integers(-100, 100)),
    "response_format": st.fixed_dictionaries({"type": st.just("text")}),
    "user": st.text(),
}
contents = st.text() | st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}, optional={"x_new": json}),
    min_size=1,
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {
        "model": st.text(min_size=1, max_size=256),
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": contents}
            ),
            min_size=1,
            max_size=5,
        ),
    },
    optional=scalars,
)


@given(bodies)
def test_whatever_is_valid_survives_unchanged(body: dict[str, Any]) -> None:
    sent = orjson.dumps(body)
    assert orjson.dumps(ask(sent).body) == sent


def test_a_document_read_before_is_left_as_it_is() -> None:
    document = chat(private=True, x_mine=1, temperature=None)
    before = copy.deepcopy(document)
    found = check(CHAT, document, RequestLimits(unknown_parameters="drop"), {})
    assert document == before
    assert found == Parsed(CHAT, chat(), GatewayFields(private=True), ("x_mine",))


def test_a_path_that_takes_no_body_is_not_found() -> None:
    with pytest.raises(NotFound):
        ask(chat(), "/v1/responses")


# unknown parameters


def test_unknown_parameters_pass_by_default() -> None:
    found = ask(chat(guided_regex="a+", x_null=None))
    assert found.body == chat(guided_regex="a+", x_null=None)
    assert found.dropped == ()


def test_unknown_parameters_can_be_dropped_and_are_named() -> None:
    found = ask(chat(b=1, a=2, temperature=1), limits=RequestLimits(unknown_parameters="drop"))
    assert found.body == chat(temperature=1)
    assert found.dropped == ("b", "a")


def test_unknown_parameters_can_be_refused() -> None:
    limits = RequestLimits(unknown_parameters="error")
    assert refused(chat(tempreature=1), limits=limits).body() == {
        "message": "Unknown parameter: 'tempreature'.",
        "type": "invalid_request_error",
        "param": "tempreature",
        "code": "unknown_parameter",
    }
    assert ask(FULL[CHAT], limits=limits).dropped == ()
    assert refused({"endpoint": CHAT, "body": chat(b=1)}, JOBS, limits=limits).param == "body.b"


# the gateway's fields


def test_gateway_fields_leave_the_body_and_are_read() -> None:
    asked = {
        "private": True,
        "max_cost": 0.1,
        "provider": "ollama",
        "fallbacks": ["gpt-4o", "ollama/llama3"],
        "timeout_ms": 5_000,
        "priority": "batch",
        "disconnect": "continue",
        "rerun": False,
    }
    fields = GatewayFields(
        private=True,
        max_cost=Decimal("0.1"),
        provider="ollama",
        fallbacks=("gpt-4o", "ollama/llama3"),
        timeout_ms=5_000,
        priority="batch",
        disconnect="continue",
        rerun=False,
    )
    headers = {
        "X-Gateway-Private": "True",
        "X-Gateway-Max-Cost": "0.10",
        "X-Gateway-Provider": " ollama ",
        "X-Gateway-Fallbacks": "gpt-4o, ollama/llama3",
        "X-Gateway-Timeout-Ms": "5000",
        "X-Gateway-Priority": "batch",
        "X-Gateway-Disconnect": "continue",
        "X-Gateway-Rerun": "false",
    }
    assert ask(chat(**asked)) == Parsed(CHAT, chat(), fields)
    assert ask(chat(), headers=headers) == Parsed(CHAT, chat(), fields)
    assert ask(chat(**asked), headers=headers) == Parsed(CHAT, chat(), fields)
    assert ask({"endpoint": CHAT, "body": chat(**asked)}, JOBS, headers) == Parsed(CHAT, chat(), fields)


def test_no_fallbacks_is_not_the_same_as_nothing_said() -> None:
    assert ask(chat(fallbacks=[])).fields.fallbacks == ()
    assert ask(chat(), headers={"X-Gateway-Fallbacks": ""}).fields.fallbacks == ()
    assert ask(chat(fallbacks=None)).fields.fallbacks is None


@pytest.mark.parametrize(
    ("name", "body", "header"),
    [
        ("private", True, "false"),
        ("max_cost", 0.5, "0.51"),
        ("provider", "openai", "ollama"),
        ("fallbacks", ["a", "b"], "b, a"),
        ("timeout_ms", 100, "1000"),
        ("priority", "batch", "interactive"),
        ("disconnect", "cancel", "continue"),
        ("rerun", True, "false"),
    ],
)
def test_a_field_may_not_say_two_things(name: str, body: Any, header: str) -> None:
    headers = {"X-Gateway-" + name.replace("_", "-").title(): header}
    error = refused(chat(**{name: body}), headers=headers)
    assert (error.param, error.code) == (name, "conflicting_values")
    assert next(iter(headers)) in error.message
    assert getattr(ask(chat(**{name: None}), headers=headers).fields, name) is not None


@pytest.mark.parametrize(
    ("header", "text", "param", "code"),
    [
        ("X-Gateway-Private", "1", "private", "invalid_type"),
        ("X-Gateway-Private", "yes", "private", "invalid_type"),
        ("X-Gateway-Private", "", "private", "invalid_type"),
        ("X-Gateway-Private", "true, true", "private", "invalid_type"),
        ("X-Gateway-Max-Cost", "free", "max_cost", "invalid_type"),
        ("X-Gateway-Max-Cost", "nan", "max_cost", "invalid_type"),
        ("X-Gateway-Max-Cost", "1e999999999", "max_cost", "invalid_type"),
        ("X-Gateway-Max-Cost", "-1", "max_cost", "decimal_below_min_value"),
        ("X-Gateway-Provider", "", "provider", "empty_string"),
        ("X-Gateway-Fallbacks", "a,,b", "fallbacks[1]", "empty_string"),
        ("X-Gateway-Fallbacks", "a,b,c,d,e,f,g,h,i", "fallbacks", "array_above_max_length"),
        ("X-Gateway-Timeout-Ms", "1.5", "timeout_ms", "invalid_type"),
        ("X-Gateway-Timeout-Ms", "99999999999", "timeout_ms", "integer_above_max_value"),
        ("X-Gateway-Priority", "high", "priority", "invalid_value"),
        ("X-Gateway-Disconnect", "null", "disconnect", "invalid_value"),
        ("X-Gateway-Rerun", "no", "rerun", "invalid_type"),
    ],
)
def test_a_bad_header_is_told_as_a_bad_parameter_is(header: str, text: str, param: str, code: str) -> None:
    error = refused(chat(), headers={header: text})
    assert (error.param, error.code) == (param, code), error.message


def test_headers_are_found_in_a_wsgi_environment() -> None:
    environ = {"HTTP_X_GATEWAY_MAX_COST": "2", "HTTP_X_GATEWAY_TIMEOUT_MS": "7", "HTTP_HOST": "x", "wsgi.input": None}
    assert headers_in(environ) == {"X-Gateway-Max-Cost": "2", "X-Gateway-Timeout-Ms": "7"}


# what exists


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(ChatRequest, openai_chat.CompletionCreateParamsNonStreaming, id="chat"),
        pytest.param(CompletionRequest, OpenAICompletion, id="completions"),
        pytest.param(EmbeddingRequest, OpenAIEmbedding, id="embeddings"),
    ],
)
def test_every_parameter_of_openai_is_known_at_every_depth_with_the_same_values(ours: Any, theirs: Any) -> None:
    extra = NAMES | (EXTENSIONS if Sampling.__annotations__.keys() <= ours.__annotations__.keys() else set())
    assert set(get_type_hints(ours)) - extra == set(get_type_hints(theirs))
    known, expected = dict(places(ours)), dict(places(theirs))
    assert expected.keys() - known.keys() == set()
    for place, values in expected.items():
        if place not in {"model", "stream", "audio.voice"}:  # open lists of names, and a stream of its own type
            assert known[place] == values, place


def places(kind: Any) -> Iterator[tuple[str, set[Any]]]:
    """Each place that a document of this type can have, with the values that it may have there where they are named."""
    schema = TypeAdapter(kind).json_schema()
    found: dict[str, set[Any]] = {}

    def walk(node: dict[str, Any], place: str) -> None:
        if "$ref" in node:
            walk(schema["$defs"][node["$ref"].rpartition("/")[2]], place)
            return
        values = found.setdefault(place, set())
        values.update(node.get("enum", ()))
        if "const" in node:
            values.add(node["const"])
        if node.get("type") == "null":
            values.add(None)
        for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            walk(branch, place)
        if isinstance(node.get("items"), dict):
            walk(node["items"], f"{place}[]")
        if node.get("required"):
            found.setdefault(f"{place} requires", set()).update(node["required"])
        for name, inner in node.get("properties", {}).items():
            walk(inner, f"{place}.{name}".removeprefix("."))

    walk(schema, "")
    yield from found.items()


def test_a_misspelt_gateway_header_is_refused_by_its_name() -> None:
    with pytest.raises(RequestError) as caught:
        headers_in({"HTTP_X_GATEWAY_PRIVAT": "true"})
    assert (caught.value.param, caught.value.code) == ("X-Gateway-Privat", "unknown_parameter")
