"""A stream's chunks, put together, are the answer that a blocking request would have had."""

from __future__ import annotations

from typing import Any

import pytest

from workers.assembly import Assembly

HEAD = {"id": "x-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "provider": "p"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def assembled(*chunks: dict[str, Any]) -> Assembly:
    assembly = Assembly()
    for chunk in chunks:
        assembly.feed(chunk)
    return assembly


def piece(delta: dict[str, Any], index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish, **more}]}


def call(index: int, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **more}]}


def logprob(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []}


MESSAGES = [
    pytest.param(
        [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}], {"content": "Hello"}, id="text"
    ),
    pytest.param([{"role": "assistant"}, {"content": "Grüße 👋"}], {"content": "Grüße 👋"}, id="no first content"),
    pytest.param([{"role": "assistant", "content": ""}], {"content": ""}, id="an empty answer"),
    pytest.param([{"role": "assistant", "content": None}], {"content": None}, id="no content at all"),
    pytest.param(
        [{"role": "assistant", "content": None}, {"content": "late"}], {"content": "late"}, id="null, then content"
    ),
    pytest.param(
        [{"content": "a", "refusal": None}, {"content": None}, {"content": "b"}],
        {"content": "ab"},
        id="null between content",
    ),
    pytest.param(
        [{"role": "assistant"}, {"refusal": "I "}, {"refusal": "won't"}], {"refusal": "I won't"}, id="a refusal"
    ),
    pytest.param(
        [{"reasoning_content": "Let "}, {"reasoning_content": "me see"}, {"content": "42"}],
        {"content": "42", "reasoning_content": "Let me see"},
        id="reasoning",
    ),
    pytest.param(
        [
            call(0, id="a", type="function", function={"name": "weather", "arguments": ""}),
            call(0, function={"arguments": '{"pl'}),
            call(1, id="b", type="function", function={"name": "time", "arguments": ""}),
            call(0, function={"arguments": 'ace": 1}'}),
            call(1, function={"arguments": "{}"}),
        ],
        {
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"place": 1}'}},
                {"id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ]
        },
        id="two tools, their arguments in turns",
    ),
    pytest.param(
        [call(0, id="a", function={"name": "now"}), call(0, function={"arguments": None})],
        {"tool_calls": [{"id": "a", "type": "function", "function": {"name": "now", "arguments": ""}}]},
        id="a tool without arguments",
    ),
    pytest.param(
        [{"audio": {"id": "x"}}, {"content": "a"}],
        {"content": "a", "audio": {"id": "x"}},
        id="a field that we do not know",
    ),
]


@pytest.mark.parametrize(("deltas", "expected"), MESSAGES)
def test_deltas_become_a_message(deltas: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    whole = assembled(*map(piece, deltas), piece({}, finish="stop")).answer()
    message = {"role": "assistant", "content": None, "refusal": None, **expected}
    assert whole == {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}],
    }


def test_choices_are_kept_apart_and_in_order() -> None:
    whole = assembled(
        piece({"content": "b"}, 1),
        piece({"content": "a"}, 0),
        piece({"content": "B"}, 1, "length"),
        piece({}, 0, "stop"),
    ).answer()
    found = [(each["index"], each["message"]["content"], each["finish_reason"]) for each in whole["choices"]]
    assert found == [(0, "a", "stop"), (1, "bB", "length")]


def test_logprobs_are_joined() -> None:
    first = {"content": [logprob("a")], "refusal": None}
    second = {"content": [logprob("b"), logprob("c")], "refusal": None}
    (choice,) = assembled(piece({"content": "a"}, logprobs=first), piece({"content": "bc"}, logprobs=second)).answer()[
        "choices"
    ]
    assert choice["logprobs"] == {"content": [logprob("a"), logprob("b"), logprob("c")], "refusal": None}


def test_the_usage_comes_from_the_last_chunk() -> None:
    assembly = assembled(piece({"content": "a"}), {**HEAD, "choices": [], "usage": USAGE})
    assert assembly.answer()["usage"] == assembly.usage == USAGE
    assert assembled(piece({"content": "a"})).usage is None


def test_what_is_cut_off_is_the_whole_so_far() -> None:
    (choice,) = assembled(piece({"role": "assistant", "content": ""}), piece({"content": "half a sen"})).answer()[
        "choices"
    ]
    assert choice["message"]["content"] == "half a sen" and choice["finish_reason"] is None


def test_nothing_is_no_answer() -> None:
    assert assembled().answer() == {}


def test_older_completions_are_joined_as_texts() -> None:
    head = {**HEAD, "object": "text_completion"}
    chunks = [
        {**head, "choices": [{"index": 0, "text": text, "finish_reason": None, "logprobs": None}]}
        for text in ("On", "ce")
    ]
    end = {**head, "choices": [{"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}]}
    assert assembled(*chunks, end).answer() == {
        **head, "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "text": "Once"}],
    }  # fmt: skip


def test_an_answer_may_be_asked_for_at_any_time() -> None:
    assembly = assembled(piece({"content": "a"}))
    assert assembly.answer() == assembly.answer()
    assembly.feed(piece({"content": "b"}, finish="stop"))
    assert assembly.answer()["choices"][0]["message"]["content"] == "ab"
