"""What only Anthropic's wire has: turns that alternate, blocks, thinking, cache points, a limit in every request."""

from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from mesh import errors
from mesh.errors import GatewayError, RequestError
from tests.contract.conversations import PERSON, WEATHER
from tests.contract.exchange import Pair, arguments, assembled, call, chat, collected, ended, meaning, run
from tests.standins import Fault, Reply, gathered
from tests.standins import openai as openai_stand_in
from tests.standins.anthropic import QUIRKS, Server, understand
from workers.providers import Call, anthropic, schemas

PAIRS = [Pair("anthropic", transport, Server) for transport in ("direct", "sdk")]
PDF = base64.b64encode(b"%PDF-1.7 and the rest").decode()
POINT = {"type": "ephemeral"}
FREE = {"type": "json_schema", "json_schema": {"name": "any", "schema": {"type": "object"}}}
TOOL = {"type": "function", "function": {"name": "clock"}}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
ANSWER = {
    "name": "answer",
    "description": "Gives the answer to the user; its input is the answer itself, a JSON object.",
    "input_schema": {"type": "object"},
}
FORCED = {"type": "tool", "name": "answer", "disable_parallel_tool_use": True}


def _sent(one: Call, stream: bool = False) -> dict[str, Any]:
    sent = anthropic.requests(one, stream)[0].body
    assert sent is not None
    return sent


def _turns(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = _sent(call({"model": "m", "messages": list(messages)}))["messages"]
    return turns


def _text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def _user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _called(*ids: str, text: str = "{}") -> dict[str, Any]:
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": text}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _tool(name: str, content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": content}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"max_tokens": 5}, {"max_tokens": 5}, id="max_tokens"),
        pytest.param({"max_completion_tokens": 5}, {"max_tokens": 5}, id="max_completion_tokens"),
        pytest.param(
            {"temperature": 0, "top_p": 0.1, "top_k": 3}, {"temperature": 0, "top_p": 0.1, "top_k": 3}, id="sampling"
        ),
        pytest.param({"top_k": 0}, {}, id="no top_k"),
        pytest.param({"top_k": -1}, {}, id="no top_k either"),
        pytest.param({"stop": "a"}, {"stop_sequences": ["a"]}, id="stop"),
        pytest.param({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}, id="several stops"),
        pytest.param({"temperature": None, "stop": None, "tools": []}, {}, id="nothing"),
        pytest.param({"user": "u"}, {"metadata": {"user_id": "u"}}, id="user"),
        pytest.param({"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "s"}}, id="safety_identifier"),
        pytest.param({"service_tier": "auto"}, {}, id="tier auto"),
        pytest.param({"service_tier": "default"}, {"service_tier": "standard_only"}, id="tier default"),
        pytest.param({"prompt_cache_options": {"mode": "implicit"}}, {"cache_control": POINT}, id="implicit cache"),
        pytest.param({"prompt_cache_options": {"mode": "explicit"}}, {}, id="explicit cache"),
        pytest.param({"cache_control": {**POINT, "ttl": "1h"}}, {"cache_control": {**POINT, "ttl": "1h"}}, id="cache"),
        pytest.param({"tools": [TOOL]}, {"tools": [CLOCK]}, id="a tool"),
        pytest.param(
            {"tools": [{**TOOL, "function": {"name": "clock", "description": "d", "strict": True}}]},
            {"tools": [{**CLOCK, "description": "d", "strict": True}]},
            id="a strict tool",
        ),
        pytest.param(
            {"tools": [{**TOOL, "cache_control": POINT}]}, {"tools": [{**CLOCK, "cache_control": POINT}]}, id="a point"
        ),
        *(
            pytest.param(
                {"tools": [TOOL], "tool_choice": choice}, {"tools": [CLOCK], "tool_choice": expected}, id=f"{choice}"
            )
            for choice, expected in (
                ("auto", {"type": "auto"}),
                ("none", {"type": "none"}),
                ("required", {"type": "any"}),
                ({"type": "function", "function": {"name": "clock"}}, {"type": "tool", "name": "clock"}),
            )
        ),
        pytest.param(
            {
                "tools": [TOOL, WEATHER],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}},
            },
            {"tools": [CLOCK], "tool_choice": {"type": "any"}},
            id="allowed tools",
        ),
        pytest.param({"tool_choice": "auto"}, {}, id="a choice without tools"),
        pytest.param(
            {"tools": [TOOL], "parallel_tool_calls": False},
            {"tools": [CLOCK], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            id="one call",
        ),
        pytest.param(
            {"tools": [TOOL], "parallel_tool_calls": False, "tool_choice": "required"},
            {"tools": [CLOCK], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
            id="exactly one call",
        ),
        pytest.param(
            {"tools": [TOOL], "parallel_tool_calls": False, "tool_choice": "none"},
            {"tools": [CLOCK], "tool_choice": {"type": "none"}},
            id="no call",
        ),
        pytest.param({"response_format": {"type": "text"}}, {}, id="text"),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}},
            {"output_config": {"format": {"type": "json_schema", "schema": PERSON}}},
            id="a schema",
        ),
        pytest.param(
            {"response_format": {"type": "json_object"}}, {"tools": [ANSWER], "tool_choice": FORCED}, id="an object"
        ),
        pytest.param({"response_format": FREE}, {"tools": [ANSWER], "tool_choice": FORCED}, id="a free schema"),
        pytest.param(
            {"response_format": {"type": "json_object"}, "tools": [TOOL]},
            {"tools": [CLOCK, ANSWER], "tool_choice": {"type": "any"}},
            id="an object or a call",
        ),
        pytest.param(
            {"response_format": {"type": "json_object"}, "tools": [TOOL], "tool_choice": "none"},
            {"tools": [CLOCK, ANSWER], "tool_choice": FORCED},
            id="an object and no call",
        ),
        pytest.param(
            {"response_format": {"type": "json_object"}, "tools": [TOOL], "tool_choice": "required"},
            {"tools": [CLOCK], "tool_choice": {"type": "any"}},
            id="a call and no object",
        ),
        pytest.param(
            {"response_format": {"type": "json_object"}, "tools": [{**TOOL, "function": {"name": "answer"}}]},
            {"tools": [{**CLOCK, "name": "answer"}, {**ANSWER, "name": "answer_"}], "tool_choice": {"type": "any"}},
            id="a name that is taken",
        ),
        pytest.param({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, id="no effort"),
        *(
            pytest.param(
                {"reasoning_effort": effort},
                {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": theirs}},
                id=f"{effort} effort",
            )
            for effort, theirs in (("minimal", "low"), ("low", "low"), ("high", "high"), ("max", "max"))
        ),
        pytest.param(
            {"reasoning_effort": "high", "thinking": {"type": "disabled"}},
            {"thinking": {"type": "disabled"}},
            id="thinking wins",
        ),
        pytest.param(
            {
                "reasoning_effort": "low",
                "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}},
            },
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": PERSON}},
            },
            id="thinking before a schema",
        ),
    ],
)
def test_a_parameter_becomes_anthropics(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _sent(call(chat(**given))) == {
        "model": "provider-model",
        "max_tokens": 4096,
        "messages": [_user([_text("Hello")])],
        **expected,
    }


def test_a_limit_is_always_sent_and_comes_from_config() -> None:
    async def main() -> list[int]:
        async with PAIRS[0].opened(default_max_tokens=77) as (server, provider):
            await provider.answer(call(chat()))
            await collected(provider, call(chat(max_tokens=5)))
            return [body["max_tokens"] for body in server.bodies]

    assert run(main()) == [77, 5]


@pytest.mark.parametrize(
    ("model", "more", "thinking", "max_tokens"),
    [
        ("claude-sonnet-4-5", {"reasoning_effort": "low"}, 2048, 2048 + 4096),
        ("claude-opus-4-1-20250805", {"reasoning_effort": "max"}, 24_576, 24_576 + 4096),
        ("claude-sonnet-4-20250514", {"reasoning_effort": "minimal"}, 1024, 1024 + 4096),
        ("claude-3-7-sonnet-20250219", {"reasoning_effort": "high", "max_tokens": 4000}, 3000, 4000),
        ("claude-haiku-4-5-20251001", {"reasoning_effort": "high", "max_completion_tokens": 1025}, 1024, 1025),
        ("claude-opus-4-6", {"reasoning_effort": "high"}, None, 4096),
        ("claude-sonnet-5", {"reasoning_effort": "high"}, None, 4096),
    ],
)
def test_earlier_models_think_within_a_budget_below_the_limit(
    model: str, more: dict[str, Any], thinking: int | None, max_tokens: int
) -> None:
    sent = _sent(Call("chat.completions", model, "public", chat(**more), "id", 1))

    assert sent["max_tokens"] == max_tokens
    assert sent["thinking"].get("budget_tokens") == thinking
    assert sent["thinking"]["type"] == ("adaptive" if thinking is None else "enabled")


def test_an_earlier_model_does_not_begin_to_think_among_its_tool_calls() -> None:
    body = {"model": "m", "messages": [_user("a"), _called("x"), _tool("x")], "reasoning_effort": "high"}

    assert "thinking" not in _sent(Call("chat.completions", "claude-sonnet-4-5", "public", body, "id", 1))


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([{"role": "assistant", "content": "Hi"}, _user("a")], [".", "Hi", "a"], id="the assistant first"),
        pytest.param([{"role": "system", "content": "Say hi."}], ["."], id="only a system text"),
        pytest.param([_user("")], ["."], id="nothing"),
        pytest.param([_user("a"), _user(" \n"), _user([_text(""), _text("b")])], ["a|b"], id="empty texts"),
        pytest.param(
            [_user("a"), {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "c"}, _user("d")],
            ["a", "b|c", "d"],
            id="one after itself",
        ),
        pytest.param(
            [_user("a"), {"role": "assistant", "content": ""}, _user("b")], ["a|b"], id="an answer that is empty"
        ),
        pytest.param(
            [_user("a"), {"role": "assistant", "refusal": "No."}, _user("b")], ["a", "No.", "b"], id="a refusal"
        ),
    ],
)
def test_turns_alternate_and_begin_with_the_user(messages: list[dict[str, Any]], expected: list[str]) -> None:
    turns = _turns(*messages)

    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"][: len(expected)]
    assert ["|".join(block["text"] for block in turn["content"]) for turn in turns] == expected


def test_results_are_one_turn_in_the_order_of_the_calls_with_the_next_words_behind() -> None:
    turns = _turns(_user("a"), _called("x", "y", "z"), _tool("z", "3"), _tool("x", "1"), _tool("y", ""), _user("b"))

    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "x", "content": [_text("1")]},
        {"type": "tool_result", "tool_use_id": "y"},
        {"type": "tool_result", "tool_use_id": "z", "content": [_text("3")]},
        _text("b"),
    ]


def test_a_result_may_hold_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    turns = _turns(_user("a"), _called("x"), _tool("x", [_text("t", cache_control=POINT), image]))

    assert turns[2]["content"][0]["content"] == [
        _text("t", cache_control=POINT),
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ]


@pytest.mark.parametrize("odd", ["functions.f:0", "a b", "é", "x" * 65, ""])
def test_an_id_of_another_provider_is_made_one_that_anthropic_takes(odd: str) -> None:
    turns = _turns(_user("a"), _called(odd, "plain-id_1"), _tool(odd), _tool("plain-id_1"))

    sent = [block["id"] for block in turns[1]["content"]]
    assert sent[0] != odd and sent[0].startswith("toolu_") and sent[1] == "plain-id_1"
    assert [block["tool_use_id"] for block in turns[2]["content"]] == sent


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        pytest.param(
            {"type": "image_url", "image_url": {"url": "HTTPS://example.com/a.png", "detail": "high"}},
            {"type": "image", "source": {"type": "url", "url": "HTTPS://example.com/a.png"}},
            id="image by URL",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": f"data:IMAGE/WEBP;base64,{PDF}"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": PDF}},
            id="image",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            },
            id="PDF",
        ),
        pytest.param(
            {
                "type": "file",
                "file": {
                    "file_data": "data:text/markdown;charset=utf-8;base64," + base64.b64encode("ü".encode()).decode()
                },
            },
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "ü"}},
            id="text",
        ),
        pytest.param(
            {"type": "text", "text": "t", "cache_control": {**POINT, "ttl": "1h"}},
            _text("t", cache_control={**POINT, "ttl": "1h"}),
            id="Anthropic's cache point",
        ),
        pytest.param(
            {"type": "text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit"}},
            _text("t", cache_control=POINT),
            id="OpenAI's cache point",
        ),
        pytest.param(
            {"type": "text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
            _text("t", cache_control={**POINT, "ttl": "1h"}),
            id="OpenAI's long cache point",
        ),
    ],
)
def test_a_part_becomes_a_block(part: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _turns(_user([part])) == [_user([expected])]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        pytest.param([_user([{"type": "image_url", "image_url": {"url": url}}])], "messages[0].content[0]", id=url)
        for url in (
            "http://example.com/a.png",
            "file:///etc/passwd",
            "data:image/png,abc",
            "data:image/png;base64,@@@@",
            "data:image/svg+xml;base64,AAAA",
            "data:;base64,AAAA",
        )
    ]
    + [
        pytest.param([_user([_text("a"), {"type": "file", "file": file}])], "messages[0].content[1]", id=str(file))
        for file in (
            {},
            {"file_id": "file-1"},
            {"file_data": "AAAA"},
            {"file_data": "data:application/zip;base64,AAAA"},
            {"file_data": "data:text/plain;base64,/w=="},
        )
    ]
    + [
        pytest.param([_user([{"type": kind, kind: {}}])], "messages[0].content[0]", id=kind)
        for kind in ("input_audio", "video")
    ]
    + [
        pytest.param([_called("x", text=text)], "messages[0].tool_calls[0].function.arguments", id=f"arguments {text}")
        for text in ("{", "[]", "5", "nonsense")
    ]
    + [
        pytest.param([_tool("x")], "messages[0].tool_call_id", id="a result of nothing"),
        pytest.param([{"role": "function", "name": "f", "content": "a"}], "messages[0].role", id="a function"),
        pytest.param([{"role": "assistant", "audio": {"id": "a"}}], "messages[0]", id="an answer that was spoken"),
        pytest.param(
            [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}]}],
            "messages[0].content",
            id="an image of the system",
        ),
        pytest.param(
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "c", "input": ""}}],
                }
            ],
            "messages[0].tool_calls[0]",
            id="a custom call",
        ),
    ],
)
def test_what_anthropic_cannot_be_told_is_refused_with_its_place(messages: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        _turns(*messages)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools[0]"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "a"}}}, "tool_choice"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"reasoning_effort": "some"}, "reasoning_effort"),
        ({"reasoning_effort": "low", "response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_what_anthropic_cannot_do_is_refused(more: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        _sent(call(chat(**more)))

    assert caught.value.param == param


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_without_room_to_think_is_refused(name: str) -> None:
    body = {**chat(reasoning_effort="low"), name: 1024}
    with pytest.raises(RequestError) as caught:
        _sent(Call("chat.completions", "claude-sonnet-4-5", "public", body, "id", 1))

    assert caught.value.param == name


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(PERSON, PERSON, id="as it is"),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1, "description": "d"}}},
            {
                "type": "object",
                "properties": {"a": {"type": "integer", "description": 'd\n{"minimum":1}'}},
                "additionalProperties": False,
            },
            id="a limit is told",
        ),
        pytest.param(
            {
                "$schema": "x",
                "$defs": {"d": {"type": "string", "format": "date"}, "e": {"type": "string", "format": "odd"}},
                "type": "object",
                "properties": {
                    "a": {"type": "array", "items": {"$ref": "#/$defs/d"}, "minItems": 1},
                    "b": {"oneOf": [{"type": "object", "properties": {"c": {"type": "null"}}}, {"$ref": "#/$defs/e"}]},
                },
            },
            {
                "$defs": {
                    "d": {"type": "string", "format": "date"},
                    "e": {"type": "string", "description": '{"format":"odd"}'},
                },
                "type": "object",
                "properties": {
                    "a": {"type": "array", "items": {"$ref": "#/$defs/d"}, "minItems": 1},
                    "b": {
                        "anyOf": [
                            {"type": "object", "properties": {"c": {"type": "null"}}, "additionalProperties": False},
                            {"$ref": "#/$defs/e"},
                        ]
                    },
                },
                "additionalProperties": False,
            },
            id="depths",
        ),
    ],
)
def test_a_closed_schema_is_made_strict(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert schemas.closed(schema)
    assert schemas.strict(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": ["object", "null"]},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": "object"}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "patternProperties": {"b": {"type": "string"}}},
        {"anyOf": [{"type": "string"}, {"type": "object"}]},
    ],
    ids=str,
)
def test_a_schema_with_keys_that_it_does_not_name_is_open(schema: dict[str, Any]) -> None:
    assert not schemas.closed(schema)


async def _exchange(
    pair: Pair, body: dict[str, Any], reply: Reply, **attributes: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    async with pair.opened() as (server, provider):
        server.reply = reply
        for name, value in attributes.items():
            setattr(server, name, value)
        return (await provider.answer(call(body))).body, await collected(provider, call(body))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(reasoning="Let me see."),
        Reply(text="", calls=(("a", {}), ("b", {"x": [1, "é"]}))),
        Reply(text="I look.", reasoning="Hm.", calls=(("a", {"x": {}}),)),
        Reply(text=""),
    ],
    ids=["text", "tools", "all", "nothing"],
)
@pytest.mark.parametrize("quirk", ["", *QUIRKS])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_whatever_comes_with_it_the_answer_is_the_same(pair: Pair, quirk: str, reply: Reply) -> None:
    body, chunks = run(_exchange(pair, chat(), reply, quirks=frozenset({quirk})))

    ChatCompletion.model_validate_json(json.dumps(body), strict=True)
    for chunk in chunks:
        ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)
    assert meaning(assembled(chunks)) == meaning(body)
    message = body["choices"][0]["message"]
    assert message["content"] == (reply.text or (None if reply.calls else ""))
    assert message.get("reasoning_content", "") == reply.reasoning
    assert arguments(message) == list(reply.calls)
    assert body["usage"] == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@pytest.mark.parametrize(
    ("stopped", "reason", "refusal"),
    [
        ({"stop_reason": "end_turn"}, "stop", None),
        ({"stop_reason": "stop_sequence", "stop_sequence": "x"}, "stop", None),
        ({"stop_reason": "pause_turn"}, "stop", None),
        ({"stop_reason": "max_tokens"}, "length", None),
        ({"stop_reason": "model_context_window_exceeded"}, "length", None),
        ({"stop_reason": "refusal"}, "content_filter", anthropic.DECLINED),
        (
            {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "Bad."}},
            "content_filter",
            "Bad.",
        ),
        ({"stop_reason": "invented_tomorrow"}, "stop", None),
    ],
    ids=str,
)
@pytest.mark.parametrize("text", ["", "Some words"])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_every_end_has_a_finish_reason(
    pair: Pair, text: str, stopped: dict[str, Any], reason: str, refusal: str | None
) -> None:
    body, chunks = run(_exchange(pair, chat(), Reply(text=text), stopped=stopped))

    (choice,) = body["choices"]
    assert (choice["finish_reason"], choice["message"]["refusal"]) == (reason, refusal)
    assert choice["message"]["content"] == (text or (None if refusal else ""))
    assert meaning(assembled(chunks)) == meaning(body)


@pytest.mark.parametrize("quirk", ["", "all usage in the end", "nulls in the end's usage"])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_usage_counts_what_the_cache_gave_and_took(pair: Pair, quirk: str) -> None:
    more = {
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
        "output_tokens_details": {"thinking_tokens": 3},
    }
    body, chunks = run(_exchange(pair, chat(n=2), Reply(), more_usage=more, quirks=frozenset({quirk})))

    assert body["usage"] == {
        "prompt_tokens": 262,
        "completion_tokens": 14,
        "total_tokens": 276,
        "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 40, "cache_write_1h_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 6},
    }
    assert chunks[-1]["usage"] == body["usage"]
    parsed = ChatCompletion.model_validate_json(json.dumps(body), strict=True).usage
    assert parsed is not None and parsed.prompt_tokens_details is not None
    assert parsed.prompt_tokens_details.cache_write_tokens == 40


@pytest.mark.parametrize("form", [{"type": "json_object"}, FREE], ids=["object", "free schema"])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_an_answer_that_a_tool_took_is_text_again(pair: Pair, form: dict[str, Any]) -> None:
    body, chunks = run(_exchange(pair, chat(response_format=form), Reply(text='{"a":{"b":[1,"é"]}}')))

    (choice,) = body["choices"]
    assert choice["message"]["content"] == '{"a":{"b":[1,"é"]}}'
    assert "tool_calls" not in choice["message"] and choice["finish_reason"] == "stop"
    assert meaning(assembled(chunks)) == meaning(body)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_a_callers_tool_is_called_beside_the_one_that_takes_the_answer(pair: Pair) -> None:
    asked = chat(response_format={"type": "json_object"}, tools=[TOOL])
    body, chunks = run(_exchange(pair, asked, Reply(text="", calls=(("clock", {}),))))

    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert arguments(body["choices"][0]["message"]) == [("clock", {})]
    assert meaning(assembled(chunks)) == meaning(body)


def _error(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "message": message, **more}


ERRORS = [
    pytest.param(
        400, _error("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
        errors.ContextTooLong, "context_length_exceeded", id="context",
    ),
    pytest.param(
        400, _error("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2"),
        errors.ContextTooLong, "context_length_exceeded", id="context and answer",
    ),
    pytest.param(
        400, _error("invalid_request_error", "Output blocked by content filtering policy"),
        errors.ContentBlocked, "content_policy_violation", id="content",
    ),
    pytest.param(
        400, _error("invalid_request_error", "messages.0: the prompt is too long for me"),
        errors.ProviderRejected, "provider_rejected", id="only similar words",
    ),
    pytest.param(
        400, _error("invalid_request_error", "no", details={"error_code": "image_dimensions_too_large"}),
        errors.ProviderRejected, "image_dimensions_too_large", id="a code in the details",
    ),
    pytest.param(
        413, _error("request_too_large", "Request exceeds the maximum size"),
        errors.ProviderRejected, "request_too_large", id="size",
    ),
    pytest.param(402, _error("billing_error", "pay"), errors.ProviderLimited, "insufficient_quota", id="billing"),
    pytest.param(
        429, _error("rate_limit_error", "spent", details={"error_code": "enforced_spend_limit_reached"}),
        errors.ProviderLimited, "insufficient_quota", id="spent",
    ),
    pytest.param(
        404, _error("not_found_error", "model: claude-0"), errors.ModelNotFound, "model_not_found", id="model"
    ),
    pytest.param(
        401, _error("authentication_error", "bad"), errors.ProviderKeyRefused, "provider_key_refused", id="key"
    ),
    pytest.param(
        403, _error("permission_error", "no"), errors.ProviderKeyRefused, "provider_key_refused", id="permission"
    ),
    pytest.param(
        529, _error("overloaded_error", "busy"), errors.ProviderUnavailable, "provider_unavailable", id="overloaded"
    ),
    pytest.param(500, _error("api_error", "boom"), errors.ProviderUnavailable, "provider_unavailable", id="api"),
    pytest.param(504, _error("timeout_error", "slow"), errors.ProviderTimeout, "provider_timeout", id="timeout"),
    pytest.param(
        400, {"message": 7, "type": ["odd"], "details": "odd"}, errors.ProviderRejected, "provider_rejected", id="odd"
    ),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", ["status", "error inside"])
@pytest.mark.parametrize(("status", "error", "expected", "code"), ERRORS)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_anthropics_errors_are_recognised_as_an_answer_and_inside_one(
    pair: Pair, status: int, error: Any, expected: type[GatewayError], code: str, kind: Any, stream: bool
) -> None:
    async def main() -> Any:
        async with pair.opened() as (server, provider):
            server.fault = Fault(kind, status, error=error)
            return await ended(collected(provider, call(chat())) if stream else provider.answer(call(chat())))

    if kind == "error inside" and error["type"] == ["odd"]:
        expected, code = errors.ProviderUnavailable, "provider_unavailable"
    told = run(main())

    assert type(told) is expected
    assert told.code == code
    if isinstance(error["message"], str) and expected is not errors.ProviderKeyRefused:
        assert error["message"] in told.message


WORDS = st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda text: bool(text.strip()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=3),
    max_leaves=8,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Any that OpenAI takes: system texts anywhere, the same role twice, calls whose results come in any order."""
    messages: list[dict[str, Any]] = [_user(draw(WORDS))]
    count = 0
    for _ in range(draw(st.integers(0, 8))):
        match draw(st.sampled_from(["system", "developer", "user", "assistant", "calls"])):
            case "calls":
                names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True))
                ids = [f"call.{count + number}" for number in range(len(names))]
                count += len(names)
                calls = [
                    {
                        "id": each,
                        "type": "function",
                        "function": {
                            "name": name,
                            "arguments": orjson.dumps(draw(st.dictionaries(WORDS, JSON, max_size=3))).decode(),
                        },
                    }
                    for each, name in zip(ids, names, strict=True)
                ]
                messages.append({"role": "assistant", "content": draw(WORDS | st.none()), "tool_calls": calls})
                messages += [_tool(each, draw(WORDS)) for each in draw(st.permutations(ids))]
            case role:
                content = draw(WORDS | st.lists(WORDS.map(_text), min_size=1, max_size=3))
                messages.append({"role": role, "content": content})
    return messages


@given(messages=conversations())
def test_any_conversation_arrives_with_its_roles_ids_and_texts(messages: list[dict[str, Any]]) -> None:
    body = {"model": "m", "messages": messages}
    sent = _sent(call(body))

    assert understand(sent).turns == gathered(openai_stand_in.understand(body).turns)
    blocks = [block for turn in sent["messages"] for block in turn["content"]]
    called = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"] == called
    assert len(set(called)) == len(called)
