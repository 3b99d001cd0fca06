"""What is counted where a provider reports no tokens."""

from __future__ import annotations

from typing import Any

import pytest

from workers.estimate import usage

HELLO = {"role": "user", "content": "Hello"}  # 4 and 2


def said(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, **message}}]}


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        pytest.param({"messages": [HELLO]}, 6, id="a text"),
        pytest.param({"messages": [HELLO, HELLO]}, 12, id="two messages"),
        pytest.param({"messages": [{"role": "user", "content": "世界世界"}]}, 7, id="bytes, not letters"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}, 6, id="a part"),
        pytest.param(
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:" + "x" * 9**6}}]}
                ]
            },
            1004,
            id="an image by no byte of it",
        ),
        pytest.param(
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]}, 7, id="a call"
        ),
        pytest.param({"messages": [HELLO], "tools": [{"a": 1}]}, 9, id="a tool"),
        pytest.param({"messages": [{"role": "assistant", "content": "\ud800"}]}, 5, id="half a character"),
        pytest.param({"messages": []}, 0, id="nothing"),
        pytest.param({"prompt": "Hello"}, 2, id="a prompt"),
        pytest.param({"prompt": [1, 2, 3]}, 3, id="tokens"),
        pytest.param({"prompt": [[1, 2], [3]]}, 3, id="several prompts in tokens"),
        pytest.param({"prompt": ["Hello", "you"], "suffix": "end"}, 4, id="several prompts and a suffix"),
    ],
)
def test_a_prompt_is_a_token_for_four_bytes(request_: dict[str, Any], tokens: int) -> None:
    assert usage("chat.completions", request_, {}) == {
        "prompt_tokens": tokens,
        "completion_tokens": 0,
        "total_tokens": tokens,
    }


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        pytest.param(said(content="Hello"), 2, id="a text"),
        pytest.param(said(content="Hello", reasoning_content="Hm."), 2, id="with its reasons"),
        pytest.param(said(refusal="Never"), 2, id="a refusal"),
        pytest.param(said(tool_calls=[{"function": {"name": "weather", "arguments": '{"a":1}'}}]), 4, id="a call"),
        pytest.param(said(tool_calls=[{"custom": {"name": "shell", "input": "ls"}}]), 2, id="a custom call"),
        pytest.param({"choices": [{"text": "Hello"}, {"text": "you"}]}, 3, id="two choices of text"),
    ],
)
def test_an_answer_is_what_was_written_of_it(answer: dict[str, Any], tokens: int) -> None:
    assert usage("chat.completions", {"messages": [HELLO]}, answer)["completion_tokens"] == tokens


def test_what_the_provider_had_told_of_the_prompt_is_kept() -> None:
    known = {"prompt_tokens": 300, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 200}}
    assert usage("chat.completions", {"messages": [HELLO]}, said(content="Hello"), known) == {
        "prompt_tokens": 300,
        "prompt_tokens_details": {"cached_tokens": 200},
        "completion_tokens": 2,
        "total_tokens": 302,
    }


def test_embeddings_answer_with_no_tokens() -> None:
    answer = {"data": [{"embedding": [0.1] * 1000}]}
    assert usage("embeddings", {"input": ["Hello", "you"]}, answer) == {"prompt_tokens": 3, "total_tokens": 3}
