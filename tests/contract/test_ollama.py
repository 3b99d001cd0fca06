"""What only Ollama's wire has: options, thinking, base64 without its URL, lines that its own SDK cannot read."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.errors import RequestError
from tests.contract.exchange import Pair, assembled, call, chat, collected, ended, run
from tests.standins import Fault, Reply
from tests.standins.ollama import Server
from workers.providers import Call, ollama

PAIRS = [Pair("ollama", transport, Server) for transport in ("direct", "sdk")]


def _sent(one: Call, stream: bool = False) -> list[dict[str, Any]]:
    return [request.body or {} for request in ollama.requests(one, stream)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"max_tokens": 5}, {"options": {"num_predict": 5}}, id="max_tokens"),
        pytest.param({"max_completion_tokens": 5}, {"options": {"num_predict": 5}}, id="max_completion_tokens"),
        pytest.param(
            {"temperature": 0, "top_p": 0.1, "top_k": 3},
            {"options": {"temperature": 0, "top_p": 0.1, "top_k": 3}},
            id="sampling",
        ),
        pytest.param(
            {"presence_penalty": 1, "frequency_penalty": -1},
            {"options": {"presence_penalty": 1, "frequency_penalty": -1}},
            id="penalties",
        ),
        pytest.param({"stop": "a"}, {"options": {"stop": ["a"]}}, id="stop"),
        pytest.param({"temperature": None, "stop": None}, {}, id="null is absent"),
        pytest.param({"reasoning_effort": "none"}, {"think": False}, id="no effort"),
        pytest.param({"reasoning_effort": "minimal"}, {"think": "low"}, id="minimal effort"),
        pytest.param({"reasoning_effort": "high"}, {"think": "high"}, id="high effort"),
        pytest.param({"reasoning_effort": "high", "think": True}, {"think": True}, id="think wins"),
        pytest.param({"response_format": {"type": "text"}}, {}, id="text"),
        pytest.param({"response_format": {"type": "json_object"}}, {"format": "json"}, id="json"),
        pytest.param({"tools": [], "logprobs": False}, {}, id="nothing"),
        pytest.param({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, id="logprobs"),
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "a"}}], "tool_choice": "none"}, {}, id="no tool"
        ),
    ],
)
def test_a_parameter_becomes_ollamas(given: dict[str, Any], expected: dict[str, Any]) -> None:
    (sent,) = _sent(call(chat(**given)))

    assert sent == {
        "model": "provider-model", "messages": [{"role": "user", "content": "Hello"}], "stream": False, **expected
    }  # fmt: skip


def test_each_of_several_choices_has_a_seed_of_its_own() -> None:
    assert [body["options"]["seed"] for body in _sent(call(chat(n=3, seed=7)), True)] == [7, 8, 9]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        pytest.param(
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
            "messages[0].content[0]",
            id=url,
        )
        for url in (
            "https://example.com/a.png",
            "file:///etc/passwd",
            "/etc/passwd",
            "data:image/png,abc",
            "data:image/png;base64,@@@@",
            "data:image/png;base64,abc",
        )
    ]
    + [
        pytest.param(
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": kind, kind: {}}]}],
            "messages[0].content[1]",
            id=kind,
        )
        for kind in ("input_audio", "file", "video")
    ]
    + [
        pytest.param(
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": text}}],
                }
            ],
            "messages[0].tool_calls[0].function.arguments",
            id=f"arguments {text}",
        )
        for text in ("{", "[]", "5", "nonsense")
    ]
    + [
        pytest.param(
            [{"role": "tool", "tool_call_id": "x", "content": "a"}],
            "messages[0].tool_call_id",
            id="a result of nothing",
        )
    ],
)
def test_what_ollama_cannot_be_told_is_refused_with_its_place(messages: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        _sent(call({"model": "m", "messages": messages}))

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools[0]"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
    ],
)
def test_a_value_that_ollama_cannot_do_is_refused(given: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        _sent(call(chat(**given)))

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "endpoint", "param"),
    [
        ({"input": [1, 2, 3]}, "embeddings", "input"),
        ({"input": [[1, 2], [3]]}, "embeddings", "input"),
        ({"prompt": [1, 2, 3]}, "completions", "prompt"),
        ({"prompt": [[1, 2]]}, "completions", "prompt"),
    ],
)
def test_token_numbers_are_refused(body: dict[str, Any], endpoint: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        _sent(call({"model": "m", **body}, endpoint))

    assert caught.value.param == param


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_an_image_that_is_a_path_is_never_read_from_our_disk(pair: Pair) -> None:
    # Valid base64, and a file on nearly every machine: the SDK's own types would send what is in it.
    path = "//etc/passwd"
    url = f"data:image/png;base64,{path}"

    async def main() -> dict[str, Any]:
        async with pair.opened() as (server, provider):
            await provider.answer(call(chat([{"type": "image_url", "image_url": {"url": url}}])))  # type: ignore[arg-type]
            return server.bodies[0]

    assert run(main())["messages"][0]["images"] == [path]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_several_prompts_are_several_choices(pair: Pair) -> None:
    async def main() -> tuple[Any, list[dict[str, Any]], list[Any]]:
        async with pair.opened() as (server, provider):
            one = call({"model": "m", "prompt": ["a", "b"], "n": 2}, "completions")
            answer = await provider.answer(one)
            return answer, await collected(provider, one), [body["prompt"] for body in server.bodies]

    answer, chunks, prompts = run(main())

    assert prompts == ["a", "a", "b", "b"] * 2
    assert [choice["index"] for choice in answer.body["choices"]] == [0, 1, 2, 3]
    assert answer.usage["total_tokens"] == assembled(chunks)["usage"]["total_tokens"] == 4 * 18


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_log_probabilities_are_openais(pair: Pair) -> None:
    token = {"token": "é", "logprob": -0.5, "top_logprobs": [{"token": "e", "logprob": -1.5}]}
    line = b'{"model": "m", "message": {"role": "assistant", "content": "\xc3\xa9"}, "logprobs": [%s], "done": %s}'
    raw = line % (b'{"token": "\xc3\xa9", "logprob": -0.5, "top_logprobs": [{"token": "e", "logprob": -1.5}]}', b"true")

    async def main() -> tuple[Any, list[dict[str, Any]]]:
        async with pair.opened() as (server, provider):
            server.fault = Fault("garbage", raw=raw, after=0)
            return (await provider.answer(call(chat(logprobs=True)))).body, await collected(
                provider, call(chat(logprobs=True))
            )

    body, chunks = run(main())

    expected = [
        {
            "token": token["token"],
            "logprob": -0.5,
            "bytes": [0xC3, 0xA9],
            "top_logprobs": [{"token": "e", "logprob": -1.5, "bytes": [0x65]}],
        }
    ]
    assert body["choices"][0]["logprobs"]["content"] == expected
    assert chunks[0]["choices"][0]["logprobs"]["content"] == expected


def test_a_line_separator_in_an_answer_is_no_end_of_line() -> None:
    # ollama-python 0.6.3 splits lines at U+0085, which Go does not escape; the direct transport does not.
    async def main() -> Any:
        async with PAIRS[0].opened() as (server, provider):
            server.reply = Reply(text="a\u0085b\u2028c")
            return assembled(await collected(provider, call(chat())))["choices"][0]["message"]["content"]

    assert run(main()) == "a\u0085b\u2028c"


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("usage", [(0, 7), (11, 0)])
def test_a_count_that_go_leaves_out_is_zero(pair: Pair, usage: tuple[int, int]) -> None:
    async def main() -> Any:
        async with pair.opened() as (server, provider):
            server.reply = Reply(usage=usage)
            return (await provider.answer(call(chat()))).usage

    assert run(main()) == {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_fewer_embeddings_than_texts_is_a_broken_answer(pair: Pair) -> None:
    async def main() -> Any:
        async with pair.opened() as (server, provider):
            server.fault = Fault("garbage", raw=b'{"model": "m", "embeddings": [[1.0]]}')
            return await ended(provider.answer(call({"model": "m", "input": ["a", "b"]}, "embeddings")))

    assert type(run(main())).__name__ == "ProviderBrokeOff"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", "http://localhost:11434"),
        (":8000", "http://127.0.0.1:8000"),
        ("10.0.0.7:8000", "http://10.0.0.7:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:11434"),
        ("example.com/path/", "http://example.com:11434/path"),
        ("http://example.com/", "http://example.com"),
        ("https://example.com:444/x", "https://example.com:444/x"),
    ],
)
def test_a_host_is_made_a_url(text: str, expected: str) -> None:
    assert ollama.url(text) == expected
