"""What goes in as OpenAI's comes out as OpenAI's, whoever answers, over whatever transport, streamed or whole."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from mesh.errors import RequestError
from tests.contract.conversations import CONVERSATIONS, Conversation
from tests.contract.exchange import ANSWER_ID, CREATED, Pair, arguments, assembled, call, chat, collected, meaning, run
from tests.standins import Reply, StandIn, gathered, vector
from tests.standins import openai as openai_stand_in
from workers.providers import ADAPTERS, Answer, Call, Endpoint


async def _both(
    pair: Pair, one: Call, reply: Reply, piece_bytes: int = 0
) -> tuple[Answer, list[dict[str, Any]], StandIn]:
    # What a provider cannot do is in test_parameters.py; here it is to do the rest.
    async with pair.opened(unsupported_parameters="drop") as (server, provider):
        server.reply = reply
        server.piece_bytes = piece_bytes
        given = copy.deepcopy(one.body)
        answer = await provider.answer(one)
        chunks = await collected(provider, one)
        if answer.dropped:
            assert chunks[0].pop("gateway_dropped") == list(answer.dropped)
        assert one.body == given, "a call's body is never changed"
        return answer, chunks, server


@functools.cache
def _exchanged(pair: Pair, conversation: Conversation) -> tuple[Answer, list[dict[str, Any]], StandIn]:
    """A conversation takes place once; what came of it is looked at from several sides."""
    return run(_both(pair, call(conversation.body), conversation.reply, conversation.piece_bytes))


@pytest.fixture(scope="module", autouse=True)
def what_was_said_is_forgotten() -> Iterator[None]:
    yield
    _exchanged.cache_clear()


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_a_conversation_comes_back_as_openai_would_say_it(pair: Pair, conversation: Conversation) -> None:
    reply = conversation.reply
    answer, chunks, server = _exchanged(pair, conversation)

    count = conversation.body.get("n", 1)
    assert [choice["index"] for choice in answer.body["choices"]] == list(range(count))
    for choice in answer.body["choices"]:
        message = choice["message"]
        assert message["role"] == "assistant"
        assert message["content"] == (reply.text or (None if reply.calls else ""))
        assert message.get("reasoning_content", "") == reply.reasoning
        assert arguments(message) == list(reply.calls)
        assert choice["finish_reason"] == ("tool_calls" if reply.calls else reply.finish)
        assert len({each["id"] for each in message.get("tool_calls") or ()}) == len(reply.calls)
    ids = [each["id"] for choice in answer.body["choices"] for each in choice["message"].get("tool_calls") or ()]
    assert server.names_calls or len(set(ids)) == len(ids)
    assert all(0 < len(each) <= 40 for each in ids)

    if reply.usage is None:
        assert answer.usage is None and "usage" not in answer.body
    else:
        prompt, completion = (tokens * count for tokens in reply.usage)
        expected = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        assert answer.usage == answer.body["usage"] == expected
    assert meaning(assembled(chunks)) == meaning(answer.body)

    heard = [server.heard(body) for body in server.bodies]
    understood = openai_stand_in.understand(conversation.body)
    turns = gathered(understood.turns) if server.alternates else understood.turns
    options = {name: value for name, value in understood.options.items() if name not in answer.dropped}
    assert all(each.turns == turns for each in heard)
    assert all(
        (each.tools, each.schema, each.json) == (understood.tools, understood.schema, understood.json) for each in heard
    )
    assert all(each.options == options for each in heard)
    assert {body["model"] for body in server.bodies} == {"provider-model"}


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_answers_and_chunks_are_of_openais_own_types(pair: Pair, conversation: Conversation) -> None:
    answer, chunks, _ = _exchanged(pair, conversation)

    whole = ChatCompletion.model_validate_json(json.dumps(answer.body), strict=True)
    assert (whole.id, whole.created, whole.model, answer.body["provider"]) == (ANSWER_ID, CREATED, "public-model", "up")
    for chunk in chunks:
        parsed = ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)
        assert (parsed.id, parsed.created, parsed.model, chunk["provider"]) == (
            ANSWER_ID,
            CREATED,
            "public-model",
            "up",
        )
    with_usage = [chunk for chunk in chunks if "usage" in chunk]
    assert with_usage == ([] if conversation.reply.usage is None else chunks[-1:])
    assert all(not chunk["choices"] for chunk in with_usage)
    assert all(chunk["choices"] for chunk in chunks if chunk not in with_usage)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_all_transports_send_and_give_back_the_same(adapter: list[Pair], conversation: Conversation) -> None:
    exchanges = [_exchanged(pair, conversation) for pair in adapter]

    for answer, chunks, server in exchanges[1:]:
        assert answer == exchanges[0][0]
        assert chunks == exchanges[0][1]
        assert server.bodies == exchanges[0][2].bodies


@pytest.mark.parametrize("conversation", [each for each in CONVERSATIONS if "tools" not in each.body], ids=str)
def test_a_watched_stream_has_the_same_chunks(pair: Pair, conversation: Conversation) -> None:
    async def main() -> list[dict[str, Any]]:
        async with pair.opened(unsupported_parameters="drop") as (server, provider):
            server.reply, server.piece_bytes = conversation.reply, conversation.piece_bytes
            return await collected(provider, call(conversation.body), watched=True)

    chunks = run(main())
    chunks[0].pop("gateway_dropped", None)
    assert chunks == _exchanged(pair, conversation)[1]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"prompt": "Once"}, id="plain"),
        pytest.param({"prompt": "Once", "max_tokens": 3, "stop": ["."], "temperature": 0.5}, id="options"),
        pytest.param({"prompt": "Once", "suffix": "end"}, id="suffix"),
        pytest.param({"prompt": "Once", "n": 2}, id="two choices"),
    ],
)
def test_a_completion_comes_back_as_openai_would_say_it(pair: Pair, body: dict[str, Any]) -> None:
    _needs(pair, "completions")
    one = call({"model": "public-model", **body}, "completions")
    answer, chunks, _ = run(_both(pair, one, Reply(text=" upon a time")))

    Completion.model_validate_json(json.dumps(answer.body), strict=True)
    assert [choice["text"] for choice in answer.body["choices"]] == [" upon a time"] * body.get("n", 1)
    for chunk in chunks[:-1]:
        assert chunk["object"] == "text_completion" and chunk["id"] == ANSWER_ID
    assert meaning(assembled(chunks)) == meaning(answer.body)
    assert answer.usage is not None


def test_a_completion_may_have_no_usage(pair: Pair) -> None:
    _needs(pair, "completions")
    one = call({"model": "public-model", "prompt": "Once"}, "completions")
    answer, chunks, _ = run(_both(pair, one, Reply(usage=None)))

    assert answer.usage is None
    assert all("usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize("given", ["one text", ["one", "two", ""], ["ü"] * 40], ids=["text", "list", "many"])
@pytest.mark.parametrize("more", [{}, {"dimensions": 4}, {"encoding_format": "float"}], ids=str)
def test_embeddings_come_back_in_order(pair: Pair, given: Any, more: dict[str, Any]) -> None:
    _needs(pair, "embeddings")
    answer = run(_embedded(pair, {"input": given, **more}))

    CreateEmbeddingResponse.model_validate_json(json.dumps(answer.body), strict=True)
    texts = [given] if isinstance(given, str) else given
    assert [item["embedding"] for item in answer.body["data"]] == [
        vector(text, more.get("dimensions")) for text in texts
    ]
    assert [item["index"] for item in answer.body["data"]] == list(range(len(texts)))
    assert answer.usage == {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
    assert (answer.body["model"], answer.body["provider"]) == ("public-model", "up")


def test_all_providers_pack_embeddings_alike(pair: Pair) -> None:
    _needs(pair, "embeddings")
    answer = run(_embedded(pair, {"input": "x", "encoding_format": "base64"}))

    expected = openai_stand_in.Server().whole(
        "/v1/embeddings", {"input": "x", "model": "m", "encoding_format": "base64"}
    )
    assert answer.body["data"] == expected["data"]


async def _embedded(pair: Pair, body: dict[str, Any], endpoint: Endpoint = "embeddings") -> Answer:
    async with pair.opened() as (_, provider):
        return await provider.answer(call({"model": "public-model", **body}, endpoint))


def _needs(pair: Pair, endpoint: Endpoint) -> None:
    if endpoint not in ADAPTERS[pair.adapter].PARAMETERS:
        pytest.skip(f"{pair.adapter} has no {endpoint}")


@pytest.mark.parametrize("endpoint", ["completions", "embeddings"])
def test_what_a_provider_does_not_have_is_refused(pair: Pair, endpoint: Endpoint) -> None:
    if endpoint in ADAPTERS[pair.adapter].PARAMETERS:
        pytest.skip(f"{pair.adapter} has {endpoint}")

    with pytest.raises(RequestError) as caught:
        run(_embedded(pair, {"input": "x", "prompt": "x"}, endpoint))

    assert (caught.value.code, caught.value.param) == ("unsupported_endpoint", "model")
    assert endpoint in caught.value.message


def test_a_provider_lists_its_models(pair: Pair) -> None:
    async def main() -> list[str]:
        async with pair.opened() as (_, provider):
            return await provider.models()

    assert run(main()) == ["one", "two"]


def test_a_connection_is_used_again_after_a_whole_answer_and_after_a_stream(pair: Pair) -> None:
    async def main() -> int:
        async with pair.opened() as (server, provider):
            for _ in range(3):
                await provider.answer(call(chat()))
                await collected(provider, call(chat()))
            return server.connections

    assert run(main()) == 1
