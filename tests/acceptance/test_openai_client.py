"""OpenAI's own Python client, told nothing but a URL and a key."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion import Completion
from pydantic import BaseModel

from tests.acceptance.gateway import FOUR_KEYS, Gateway, chat
from tests.standins import Fault, Reply, vector

OURS = {"provider", "gateway"}
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}


def unknown_fields(model: BaseModel, place: str = "") -> list[str]:
    """What the client's types do not know, but for what a gateway's answer is said to have."""
    extra = set(model.model_extra or ()) - (OURS if not place else set())
    found = [f"{place}.{name}" for name in extra]
    for name in type(model).model_fields:
        value = getattr(model, name, None)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, BaseModel):
                found += unknown_fields(each, f"{place}.{name}")
    return found


def test_a_chat_is_answered_in_openais_types(gateway: Gateway) -> None:
    model, part = gateway.model()
    answer = gateway.client().chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hi"}], temperature=0.5
    )
    assert isinstance(answer, ChatCompletion)
    ChatCompletion.model_validate(answer.model_dump(), strict=True)
    assert unknown_fields(answer) == []
    assert answer.model == model and answer.object == "chat.completion"
    assert answer.choices[0].message.content == part.reply.text and answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 7)
    assert answer.model_extra == {"provider": "openai"}
    assert part.asked == [{"model": model, "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5}]


@pytest.mark.parametrize("usage", [pytest.param(False, id="no usage asked for"), pytest.param(True, id="with usage")])
def test_a_stream_is_read_chunk_by_chunk(gateway: Gateway, usage: bool) -> None:
    model, part = gateway.model()
    part.reply = Reply("Queues are useful: nobody waits in vain. " * 3)
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(gateway.client().chat.completions.create(**chat(model), stream=True, **options))
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert [unknown_fields(chunk) for chunk in chunks if unknown_fields(chunk)] == []
    told = [chunk for chunk in chunks if chunk.choices]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in told) == part.reply.text
    assert told[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in told if chunk.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {model}
    if usage:
        last = chunks[-1]
        assert last.choices == [] and last.usage is not None and last.usage.total_tokens == 18
        facts = (last.model_extra or {})["gateway"]
        assert facts["provider"] == "openai" and facts["attempts"] == 1 and facts["job"].startswith("job-")
        assert all(chunk.usage is None for chunk in told)
    else:
        assert told == chunks and all(chunk.usage is None for chunk in chunks)


def test_a_stream_arrives_while_it_is_being_made(gateway: Gateway) -> None:
    model, part = gateway.model()
    part.hold(after=2)
    with gateway.client().chat.completions.create(**chat(model), stream=True) as stream:
        first = next(chunk for chunk in stream if chunk.choices[0].delta.content)
        assert first.choices[0].delta.content == part.reply.pieces()[0]
        part.let_go()
        rest = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert (first.choices[0].delta.content or "") + rest == part.reply.text


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called(gateway: Gateway, streamed: bool) -> None:
    model, part = gateway.model()
    part.reply = Reply("", calls=(("weather", {"place": "Zürich"}),))
    create = gateway.client().chat.completions
    if streamed:
        with create.stream(model=model, messages=[{"role": "user", "content": "?"}], tools=[TOOL]) as stream:
            for _ in stream:
                pass
            answer: Any = stream.get_final_completion()
    else:
        answer = create.create(
            model=model, messages=[{"role": "user", "content": "?"}], tools=[TOOL], tool_choice="required"
        )
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and answer.choices[0].message.content is None
    assert (
        call.type == "function" and call.function.name == "weather" and call.function.arguments == '{"place":"Zürich"}'
    )
    assert part.asked[0]["tools"] == [TOOL]


def test_several_choices_come_back_each_in_its_place(gateway: Gateway) -> None:
    model, part = gateway.model()
    answer = gateway.client().chat.completions.create(**chat(model, n=3))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts = ["", "", ""]
    for chunk in gateway.client().chat.completions.create(**chat(model, n=3), stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [part.reply.text] * 3


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_texts_become_vectors(gateway: Gateway, encoding: Any) -> None:
    model, _ = gateway.model("text-embedding-")
    wanted = {} if encoding is None else {"encoding_format": encoding}
    answer = gateway.client().embeddings.create(model=model, input=["one", "two"], **wanted)
    assert isinstance(answer, CreateEmbeddingResponse) and unknown_fields(answer) == []
    assert answer.model == model and answer.usage.prompt_tokens == 6
    assert [item.index for item in answer.data] == [0, 1]
    if encoding != "base64":
        assert [item.embedding for item in answer.data] == [vector("one", None), vector("two", None)]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_older_completions_are_answered_too(gateway: Gateway, streamed: bool) -> None:
    model, part = gateway.model()
    answer = gateway.client().completions.create(model=model, prompt="Once upon a time", stream=streamed)
    pieces: list[Completion] = list(answer) if streamed else [answer]  # type: ignore[arg-type, list-item]
    assert [unknown_fields(piece) for piece in pieces if unknown_fields(piece)] == []
    assert {piece.object for piece in pieces} == {"text_completion"}
    assert "".join(choice.text for piece in pieces for choice in piece.choices) == part.reply.text
    assert pieces[0].model == model


def test_models_are_listed_and_found_by_name(gateway: Gateway) -> None:
    listed = {model.id: model for model in gateway.client().models.list()}
    # Of the config, of the provider's own list, and of a provider to which no prefix of the name leads.
    assert {"gpt-4o-mini", "gpt-4-one", "second/gpt-4-one"} <= listed.keys()
    one = gateway.client().models.retrieve("second/gpt-4-one")
    assert isinstance(one, Model) and one.object == "model" and one.owned_by == "second"
    assert gateway.client().chat.completions.create(**chat(one.id)).model_extra == {"provider": "second"}


def test_a_blocking_answer_says_what_it_took_in_its_headers(gateway: Gateway) -> None:
    name, _ = gateway.model()
    raw = gateway.client().chat.completions.with_raw_response.create(
        **chat("gpt-4o-mini"), extra_headers={"x-request-id": name}
    )
    assert raw.headers["x-request-id"] == name == raw.request_id
    told = {header: value for header, value in raw.headers.items() if header.startswith("x-gateway-")}
    assert told.keys() == {
        "x-gateway-job", "x-gateway-provider", "x-gateway-model", "x-gateway-queue-ms", "x-gateway-overhead-ms",
        "x-gateway-cost-usd", "x-gateway-attempts",
    }  # fmt: skip
    assert told["x-gateway-provider"] == "openai" and told["x-gateway-model"] == "gpt-4o-mini"
    assert told["x-gateway-attempts"] == "1" and float(told["x-gateway-cost-usd"]) > 0
    assert 0 <= float(told["x-gateway-queue-ms"]) < 5000 and 0 <= float(told["x-gateway-overhead-ms"]) < 5000
    assert gateway.job(told["x-gateway-job"])["state"] == "done"
    assert raw.parse().choices[0].message.content


def test_the_async_client_is_served_as_well(gateway: Gateway) -> None:
    model, part = gateway.model()

    async def both() -> tuple[str | None, str]:
        async with gateway.async_client() as client:
            whole = await client.chat.completions.create(**chat(model))
            stream = await client.chat.completions.create(**chat(model), stream=True)
            return whole.choices[0].message.content, "".join([c.choices[0].delta.content or "" async for c in stream])

    assert asyncio.run(both()) == (part.reply.text, part.reply.text)


CLASSES = [
    pytest.param(400, openai.BadRequestError, "provider_rejected", id="400 rejected"),
    pytest.param(401, openai.InternalServerError, "provider_key_refused", id="the gateway's key is refused"),
    pytest.param(404, openai.NotFoundError, "model_not_found", id="404 model"),
    pytest.param(429, openai.RateLimitError, "provider_rate_limited", id="429 limited"),
    pytest.param(500, openai.InternalServerError, "provider_unavailable", id="500 broken"),
    pytest.param(503, openai.InternalServerError, "provider_unavailable", id="503 overloaded"),
]


@pytest.mark.parametrize("streamed", [False, True], ids=["blocking", "streamed"])
@pytest.mark.parametrize(("status", "kind", "code"), CLASSES)
def test_a_providers_refusal_is_the_right_exception(
    gateway: Gateway, status: int, kind: type[openai.APIStatusError], code: str, streamed: bool
) -> None:
    model, part = gateway.model()
    part.always = Fault("status", status)
    with pytest.raises(kind) as caught:
        gateway.client().chat.completions.create(**chat(model, stream=streamed))
    body: Any = caught.value.body
    assert type(caught.value) is kind and body.keys() == FOUR_KEYS and body["code"] == code
    assert caught.value.response.headers["x-gateway-job"] and caught.value.request_id
    # What another try may mend was tried again, by the mesh and not by an SDK.
    assert len(part.asked) == (2 if status in (429, 500, 503) else 1)
    if status == 429:
        assert int(caught.value.response.headers["retry-after"]) >= 1


def test_a_provider_that_asks_for_too_long_a_pause_is_not_waited_for(gateway: Gateway) -> None:
    model, part = gateway.model()
    part.always = Fault("status", 429, headers={"Retry-After": "77"})
    with pytest.raises(openai.RateLimitError) as caught:
        gateway.client().chat.completions.create(**chat(model))
    assert caught.value.response.headers["retry-after"] == "77" and len(part.asked) == 1


def test_a_slow_provider_is_a_504(gateway: Gateway) -> None:
    model, part = gateway.model("hasty-")
    part.always = Fault("hang")
    for streamed in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            gateway.client().chat.completions.create(**chat(model, stream=streamed))
        assert caught.value.status_code == 504 and caught.value.code == "provider_timeout"


def test_an_answer_after_the_deadline_is_a_504(gateway: Gateway) -> None:
    model, part = gateway.model()
    part.hold()
    with pytest.raises(openai.InternalServerError) as caught:
        gateway.client().chat.completions.create(**chat(model), extra_body={"timeout_ms": 300})
    assert caught.value.status_code == 504 and caught.value.code == "deadline_exceeded"


def test_a_wrong_key_is_an_authentication_error(gateway: Gateway) -> None:
    for key in ("sk-nothing", "gw-abc-def", gateway.key[:-1]):
        with pytest.raises(openai.AuthenticationError) as caught:
            gateway.client(api_key=key).models.list()
        assert caught.value.code == "invalid_api_key" and caught.value.response.headers["www-authenticate"] == "Bearer"


def test_a_users_key_does_not_see_the_config(gateway: Gateway) -> None:
    with pytest.raises(openai.PermissionDeniedError) as caught:
        gateway.client(base_url=gateway.url).get("/config", cast_to=object)
    assert caught.value.code == "insufficient_permissions"


def test_an_unknown_model_is_not_found(gateway: Gateway) -> None:
    for ask in (
        lambda: gateway.client().chat.completions.create(**chat("no-such-model")),
        lambda: gateway.client().models.retrieve("no-such-model"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found" and caught.value.param == "model"


def test_a_reused_idempotency_key_is_a_conflict(gateway: Gateway) -> None:
    model, part = gateway.model()
    headers = {"Idempotency-Key": model}
    first = gateway.client().chat.completions.create(**chat(model), extra_headers=headers)
    again = gateway.client().chat.completions.create(**chat(model), extra_headers=headers)
    assert first == again and len(part.asked) == 1
    with pytest.raises(openai.ConflictError) as caught:
        gateway.client().chat.completions.create(**chat(model, "Something else"), extra_headers=headers)
    assert caught.value.code == "idempotency_key_reused" and len(part.asked) == 1


def test_too_large_a_body_is_a_413(gateway: Gateway) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        gateway.client().chat.completions.create(**chat("gpt-4", "x" * 5_000_000))
    assert caught.value.status_code == 413 and caught.value.code == "request_too_large"


def test_the_clients_own_retries_see_a_job_each(gateway: Gateway) -> None:
    model, part = gateway.model()
    part.faults.extend([Fault("status", 503)] * 2)  # as often as the mesh tries
    answer = gateway.client(max_retries=1).chat.completions.create(**chat(model))
    assert answer.choices[0].message.content == part.reply.text and len(part.asked) == 3
