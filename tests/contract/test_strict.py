"""Every answer, chunk and usage has the fields of OpenAI's own types: none more, none missing, whoever answers."""

from __future__ import annotations

import contextlib
import copy
import typing
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests.contract.conversations import CONVERSATIONS, Conversation
from tests.contract.exchange import Pair, call, chat, collected, run
from tests.contract.strictness import read
from tests.standins import Reply
from tests.standins.openai import Server
from workers.providers import ADAPTERS, Endpoint, Tally, shapes

ENDPOINTS: dict[Endpoint, tuple[dict[str, Any], type[BaseModel], type[BaseModel] | None]] = {
    "chat.completions": (chat(n=2), ChatCompletion, ChatCompletionChunk),
    "completions": ({"model": "public-model", "prompt": "Once", "n": 2}, Completion, Completion),
    "embeddings": ({"model": "public-model", "input": ["a", "b"]}, CreateEmbeddingResponse, None),
}

# A longer text has no other fields.
SHAPELY = [each for each in CONVERSATIONS if not each.piece_bytes and "200 kB" not in each.name]


async def _given(
    pair: Pair, endpoint: Endpoint, body: dict[str, Any], reply: Reply
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    async with pair.opened(unsupported_parameters="drop") as (server, provider):
        server.reply = reply
        answer = await provider.answer(call(body, endpoint))
        chunks = [] if endpoint == "embeddings" else await collected(provider, call(body, endpoint))
        for chunk in chunks[:1]:
            chunk.pop("gateway_dropped", None)
        return answer.body, chunks


@pytest.mark.parametrize("conversation", SHAPELY, ids=str)
def test_a_chats_answer_has_no_field_that_openai_has_not(pair: Pair, conversation: Conversation) -> None:
    answer, chunks = run(_given(pair, "chat.completions", conversation.body, conversation.reply))

    assert read(ChatCompletion, answer) == []
    assert [read(ChatCompletionChunk, chunk) for chunk in chunks] == [[]] * len(chunks)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_answer_of_any_endpoint_has_no_field_that_openai_has_not(pair: Pair, endpoint: Endpoint) -> None:
    if endpoint not in ADAPTERS[pair.adapter].PARAMETERS:
        pytest.skip(f"{pair.adapter} has no {endpoint}")
    body, whole, piece = ENDPOINTS[endpoint]
    answer, chunks = run(_given(pair, endpoint, body, Reply()))

    assert read(whole, answer) == []
    for chunk in chunks:
        for choice in chunk["choices"] if endpoint == "completions" else ():
            # OpenAI's own type has no null here, and OpenAI's own streams have one.
            choice["finish_reason"] = choice["finish_reason"] or "stop"
    assert piece is None or [read(piece, chunk) for chunk in chunks] == [[]] * len(chunks)


def _scattered(value: Any) -> Any:
    """The same with a field of nobody's in every object."""
    if isinstance(value, dict):
        return {**{name: _scattered(each) for name, each in value.items()}, "of_nobody": {"a": [1]}}
    return [_scattered(each) for each in value] if isinstance(value, list) else value


class _Talkative(Server):
    """A compatible server with a field of its own at every place."""

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = _scattered(super().whole(path, body))
        return answer

    def frame(self, event: Any) -> bytes:
        return super().frame(event if isinstance(event, bytes) else _scattered(event))


@pytest.mark.parametrize(
    ("endpoint", "reply"),
    [
        pytest.param("chat.completions", Reply(reasoning="Hm."), id="chat"),
        pytest.param("chat.completions", Reply(text="", calls=(("a", {}), ("b", {"x": [1]}))), id="tools"),
        pytest.param("completions", Reply(), id="completion"),
        pytest.param("embeddings", Reply(), id="embeddings"),
    ],
)
@pytest.mark.parametrize("transport", ["direct", "sdk"])
def test_what_only_one_server_says_is_left_out(transport: str, endpoint: Endpoint, reply: Reply) -> None:
    body, whole, _ = ENDPOINTS[endpoint]
    plain = run(_given(Pair("openai", transport, Server), endpoint, body, reply))
    talked = run(_given(Pair("openai", transport, _Talkative), endpoint, body, reply))

    assert talked == plain
    assert read(whole, talked[0]) == []


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        pytest.param(shapes.CHAT, ChatCompletion, id="chat"),
        pytest.param(shapes.CHUNK, ChatCompletionChunk, id="chunk"),
        pytest.param(shapes.COMPLETION, Completion, id="completion"),
        pytest.param(shapes.EMBEDDINGS, CreateEmbeddingResponse, id="embeddings"),
    ],
)
def test_our_shapes_are_those_of_openais_package(shape: shapes.Shape, kind: type[BaseModel]) -> None:
    ours = {"provider"} | {"reasoning_content"}
    waiting = [(shape, [kind])]
    while waiting:
        mine, theirs = waiting.pop()
        assert mine.names - ours == {name for each in theirs for name in each.model_fields}, theirs
        for name, inner in mine.inner.items():
            waiting.append((inner, [found for each in theirs for found in _models(each.model_fields.get(name))]))


def _models(field: Any) -> list[type[BaseModel]]:
    waiting, found = [field.annotation] if field is not None else [], []
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            found.append(each)
        waiting += typing.get_args(each)
    return found


# In each wire's own words: 1000 tokens, of them 600 from a cache and 100 into it; 50 written, of them 20 thought.
REPORTED: dict[str, Any] = {
    "anthropic": {
        "input_tokens": 300,
        "cache_read_input_tokens": 600,
        "cache_creation_input_tokens": 100,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
    },
    "bedrock": {
        "inputTokens": 300,
        "cacheReadInputTokens": 600,
        "cacheWriteInputTokens": 100,
        "outputTokens": 50,
        "totalTokens": 1050,
    },
    "openai": {
        "prompt_tokens": 1000,
        "completion_tokens": 50,
        "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100, "audio_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 20},
    },
}
NO_CACHE = {"ollama"}  # reports two numbers and no parts of them
NO_REASONING = {"bedrock"}
FORETELL = {"anthropic"}  # tell how long the prompt was when the answer begins


def test_usage_has_one_form_whoever_reports_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    if pair.adapter in NO_CACHE:
        pytest.skip(f"{pair.adapter} reports no parts of its usage")

    async def main() -> Any:
        async with pair.opened() as (server, provider):
            whole = server.whole
            usage = copy.deepcopy(REPORTED[pair.adapter])
            monkeypatch.setattr(server, "whole", lambda path, body: {**whole(path, body), "usage": usage})
            return (await provider.answer(call(chat()))).usage

    expected = {
        "prompt_tokens": 1000,
        "completion_tokens": 50,
        "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    if pair.adapter in NO_REASONING:
        del expected["completion_tokens_details"]
    assert run(main()) == expected


@pytest.mark.parametrize("more", [{}, {"n": 2}], ids=["one", "two choices"])
def test_what_was_told_of_the_usage_is_known_when_a_stream_is_left(pair: Pair, more: dict[str, Any]) -> None:
    tally = Tally()

    async def main() -> None:
        async with (
            pair.opened(unsupported_parameters="drop") as (_, provider),
            contextlib.aclosing(provider.stream(call(chat(**more)), tally)) as chunks,
        ):
            await anext(chunks)

    assert tally.usage() is None and tally.prompt() is None
    run(main())

    assert tally.usage() is None
    known = tally.prompt()
    if pair.adapter in FORETELL:
        assert known is not None and known["prompt_tokens"] == 11
    else:
        assert known is None


@pytest.mark.parametrize("transport", ["direct", "sdk"])
def test_usage_in_every_chunk_is_known_exactly(transport: str) -> None:
    tally = Tally()

    async def main() -> None:
        async with Pair("openai", transport, Server).opened() as (server, provider):
            server.quirks = frozenset({"usage in every chunk"})
            async with contextlib.aclosing(provider.stream(call(chat()), tally)) as chunks:
                await anext(chunks)

    run(main())

    assert tally.usage() == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
