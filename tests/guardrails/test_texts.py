"""Every text of a request and of an answer is found by its place, and can be replaced there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from guardrails.texts import answer_replaced, answer_texts, replaced, texts_of

CALL = {"id": "call_1", "type": "function", "function": {"name": "mail", "arguments": '{"to": "T"}'}}
REQUEST: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "A"},
        {"role": "developer", "content": [{"type": "text", "text": "B"}]},
        {
            "role": "user",
            "name": "C",
            "content": [
                {"type": "text", "text": "D"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:;base64,QUJD", "filename": "E"}},
            ],
        },
        {"role": "assistant", "content": None, "refusal": "F", "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [{"id": "c2", "type": "custom", "custom": {"name": "n", "input": "G"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "H"},
        {"role": "function", "name": "old", "content": "I"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "mail",
                "description": "J",
                "parameters": {"type": "object", "properties": {"to": {"type": "string", "description": "K"}}},
            },
        }
    ],
    "stop": ["L"],
    "metadata": {"order": "M"},
    "user": "N",
    "prediction": {"type": "content", "content": "O"},
    "something_new": [{"deep": {"text": "P"}}],
    "temperature": 1,
}
ANSWER: dict[str, Any] = {
    "id": "x",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant", "content": "A", "reasoning_content": "B", "refusal": None, "tool_calls": [CALL],
            },
            "finish_reason": "stop",
        },
        {"index": 1, "text": "C"},
        {"index": 2, "delta": {"content": "D", "tool_calls": [{"index": 0, "function": {"arguments": "E"}}]}},
    ],
}  # fmt: skip


def test_every_text_of_a_request_is_found() -> None:
    found = {text.value for text in texts_of(REQUEST)}
    assert found >= set("ABCDEFGHIJKLMNOP") | {'{"to": "T"}'}
    assert found - set("ABCDEFGHIJKLMNOP") == {'{"to": "T"}', "mail", "old"}


def test_a_text_knows_its_role_and_its_place() -> None:
    found = {text.value: (text.role, text.place) for text in texts_of(REQUEST)}
    assert found["A"] == ("system", "messages[0].content")
    assert found["B"] == ("developer", "messages[1].content[0].text")
    assert found["D"] == ("user", "messages[2].content[0].text")
    assert found['{"to": "T"}'] == ("assistant", "messages[3].tool_calls[0].function.arguments")
    assert found["H"] == ("tool", "messages[5].content")
    assert found["K"] == ("developer", "tools[0].function.parameters.properties.to.description")


def test_the_conversation_comes_last_so_that_a_longer_one_begins_with_the_same_texts() -> None:
    longer = REQUEST | {"messages": [*REQUEST["messages"], {"role": "user", "content": "Z"}]}
    before, after = texts_of(REQUEST), texts_of(longer)
    assert after[: len(before)] == before and after[-1].value == "Z"


@pytest.mark.parametrize(
    ("body", "places"),
    [
        pytest.param({"prompt": "A"}, ["prompt"], id="one prompt"),
        pytest.param({"prompt": ["A", "B"], "suffix": "C"}, ["prompt[0]", "prompt[1]", "suffix"], id="several"),
        pytest.param({"prompt": [1, 2, 3]}, [], id="tokens"),
        pytest.param({"input": [[1, 2], [3]]}, [], id="lists of tokens"),
        pytest.param({"input": ["A", "B"]}, ["input[0]", "input[1]"], id="embeddings"),
        pytest.param({"prompt": None}, [], id="nothing"),
        pytest.param({"messages": []}, [], id="no messages"),
    ],
)
def test_texts_beside_conversations(body: dict[str, Any], places: list[str]) -> None:
    assert [text.place for text in texts_of({"model": "m", **body})] == places


@pytest.mark.parametrize(
    ("whole", "find", "put"),
    [
        pytest.param(REQUEST, texts_of, replaced, id="request"),
        pytest.param(ANSWER, answer_texts, answer_replaced, id="answer"),
    ],
)
def test_each_text_can_be_replaced_alone_and_the_original_stays(whole: dict[str, Any], find: Any, put: Any) -> None:
    before = copy.deepcopy(whole)
    texts = find(whole)
    for text in texts:
        changed = put(whole, {text.place: "new"})
        assert [each.value for each in find(changed)] == [
            "new" if each.place == text.place else each.value for each in texts
        ]
    everything = put(whole, {text.place: f"<{text.value}>" for text in texts})
    assert [each.value for each in find(everything)] == [f"<{text.value}>" for text in texts]
    assert whole == before and put(whole, {}) == before


def test_every_text_of_an_answer_is_found() -> None:
    assert [text.value for text in answer_texts(ANSWER)] == ["A", "B", '{"to": "T"}', "C", "D", "E"]
    assert answer_texts(ANSWER)[-1].place == "choices[2].delta.tool_calls[0].function.arguments"
    assert answer_texts({"object": "list", "data": [{"embedding": [0.1]}]}) == []
