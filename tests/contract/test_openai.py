"""The liberties that compatible servers take do not reach the client, and OpenAI's errors keep their names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from mesh import errors
from mesh.errors import GatewayError
from tests.contract.exchange import Pair, arguments, assembled, call, chat, collected, ended, meaning, run
from tests.standins import Fault, Reply
from tests.standins.openai import QUIRKS, Server

PAIRS = [Pair("openai", transport, Server) for transport in ("direct", "sdk")]


@pytest.mark.parametrize(
    "reply", [Reply(reasoning="Hm."), Reply(text="", calls=(("a", {}), ("b", {"x": [1]})))], ids=["text", "tools"]
)
@pytest.mark.parametrize("quirk", QUIRKS)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_a_compatible_server_is_made_strict(pair: Pair, quirk: str, reply: Reply) -> None:
    async def main() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with pair.opened() as (server, provider):
            server.reply = reply
            server.quirks = frozenset({quirk})
            answer = await provider.answer(call(chat()))
            return answer.body, await collected(provider, call(chat()))

    body, chunks = run(main())

    whole = ChatCompletion.model_validate_json(json.dumps(body), strict=True)
    for chunk in chunks:
        ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)
    streamed = assembled(chunks)
    if quirk == "ignores include_usage":
        assert streamed.pop("usage") is None
        streamed["usage"] = body["usage"]
    assert meaning(streamed) == meaning(body)
    assert whole.choices[0].message.role == "assistant"
    assert arguments(body["choices"][0]["message"]) == list(reply.calls)
    assert body["choices"][0]["message"].get("reasoning_content", "") == reply.reasoning


ERRORS = [
    pytest.param(
        400, {"message": "too long", "param": "messages", "code": "context_length_exceeded"},
        errors.ContextTooLong, "context_length_exceeded", "messages", id="context",
    ),
    pytest.param(
        400, {"message": "too long", "type": "exceed_context_size_error", "code": 400},
        errors.ContextTooLong, "context_length_exceeded", "messages", id="context of llama.cpp",
    ),
    pytest.param(
        400, {"message": "no", "type": "invalid_request_error", "param": None, "code": "content_policy_violation"},
        errors.ContentBlocked, "content_policy_violation", None, id="content",
    ),
    pytest.param(
        400, {"message": "no", "code": "content_filter", "param": "prompt"},
        errors.ContentBlocked, "content_policy_violation", "prompt", id="content filter",
    ),
    pytest.param(
        400, {"message": "no", "type": "invalid_request_error", "param": "tools[0]", "code": "invalid_value"},
        errors.ProviderRejected, "invalid_value", "tools[0]", id="rejected with code and param",
    ),
    pytest.param(
        429, {"message": "pay", "code": "insufficient_quota"},
        errors.ProviderLimited, "insufficient_quota", None, id="quota",
    ),
    pytest.param(
        404, {"message": "no such", "code": "model_not_found"},
        errors.ModelNotFound, "model_not_found", "model", id="model",
    ),
    pytest.param(
        400, {"message": "no such", "code": "model_not_found"},
        errors.ModelNotFound, "model_not_found", "model", id="model 400",
    ),
    pytest.param(400, "only a text", errors.ProviderRejected, "provider_rejected", None, id="text"),
    pytest.param(404, {"detail": "Not Found"}, errors.ProviderUnavailable, "provider_unavailable", None, id="no API"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("status", "error", "expected", "code", "param"), ERRORS)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_openais_codes_are_recognised(
    pair: Pair, status: int, error: Any, expected: type[GatewayError], code: str, param: str | None, stream: bool
) -> None:
    told = run(_told(pair, Fault("status", status, error=error), stream))

    assert type(told) is expected
    assert (told.code, told.param) == (code, param)
    words = error if isinstance(error, str) else error.get("message", "correct its base_url")
    assert words in told.message


INSIDE = [
    pytest.param({"message": "slow down", "code": 429}, errors.ProviderLimited, id="a status as code"),
    pytest.param({"message": "slow down", "type": "rate_limit_error"}, errors.ProviderLimited, id="type"),
    pytest.param({"message": "no", "type": "invalid_request_error"}, errors.ProviderRejected, id="rejected"),
    pytest.param({"message": "too long", "code": "context_length_exceeded"}, errors.ContextTooLong, id="context"),
    pytest.param({"message": "boom", "type": "server_error"}, errors.ProviderUnavailable, id="server"),
    pytest.param(
        {"message": "boom", "type": ["odd"], "code": {"odd": 1}, "param": 7}, errors.ProviderUnavailable, id="odd"
    ),
    pytest.param("boom", errors.ProviderUnavailable, id="text"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("error", "expected"), INSIDE)
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_an_error_inside_an_answer_has_a_class_too(
    pair: Pair, error: Any, expected: type[GatewayError], stream: bool
) -> None:
    told = run(_told(pair, Fault("error inside", error=error), stream))

    assert type(told) is expected
    # The SDK has a sentence of its own for an error that is a bare text.
    assert (error if isinstance(error, str) else error["message"]) in told.message


async def _told(pair: Pair, fault: Fault, stream: bool) -> Any:
    async with pair.opened() as (server, provider):
        server.fault = fault
        return await ended(collected(provider, call(chat())) if stream else provider.answer(call(chat())))
