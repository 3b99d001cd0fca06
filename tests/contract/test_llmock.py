"""Another's server for OpenAI's and Anthropic's wires, so that our stand-ins are not the only judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from llmock.scenarios import Fail, StreamFault
from llmock.testing import LLMockServer

from mesh import errors
from mesh.settings import ProviderConfig
from tests.contract.exchange import assembled, call, chat, collected, ended, meaning, run
from workers.providers import Call, Provider, open_provider


@pytest.fixture(scope="module")
def llmock() -> Iterator[LLMockServer]:
    with LLMockServer() as server:
        yield server


MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6"}


def _provider(server: LLMockServer, adapter: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setenv("SOME_API_KEY", "test")
    return open_provider(
        "up",
        ProviderConfig.model_validate(
            {
                "adapter": adapter,
                "transport": transport,
                "base_url": server.base_url(adapter),
                "api_key_env": "SOME_API_KEY",
            }
        ),
    )


def _call(adapter: str) -> Call:
    return dataclasses.replace(call(chat()), model=MODELS[adapter])


@pytest.mark.parametrize("transport", ["direct", "sdk"])
@pytest.mark.parametrize("adapter", MODELS)
def test_a_stream_says_what_the_whole_answer_says(
    llmock: LLMockServer, adapter: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        provider = _provider(llmock, adapter, transport, monkeypatch)
        answer = await provider.answer(_call(adapter))
        chunks = await collected(provider, _call(adapter))
        await provider.aclose()
        assert answer.usage is not None and answer.body["choices"][0]["message"]["content"]
        assert meaning(assembled(chunks))["choices"] == meaning(answer.body)["choices"]

    run(main())


FAULTS = [
    pytest.param(Fail(429, retry_after=3), errors.ProviderLimited, 3.0, id="429"),
    pytest.param(Fail(503), errors.ProviderUnavailable, None, id="503"),
    pytest.param(Fail(401), errors.ProviderKeyRefused, None, id="401"),
    pytest.param(StreamFault("disconnect"), errors.ProviderBrokeOff, None, id="cut"),
    pytest.param(StreamFault("truncate"), errors.ProviderBrokeOff, None, id="silent end"),
    pytest.param(StreamFault("malformed"), errors.ProviderBrokeOff, None, id="garbage"),
]


@pytest.mark.parametrize("transport", ["direct", "sdk"])
@pytest.mark.parametrize("adapter", MODELS)
@pytest.mark.parametrize(("fault", "expected", "retry_after_s"), FAULTS)
def test_its_faults_are_our_errors(
    llmock: LLMockServer,
    adapter: str,
    transport: str,
    fault: Fail | StreamFault,
    expected: type[errors.GatewayError],
    retry_after_s: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> BaseException | None:
        provider = _provider(llmock, adapter, transport, monkeypatch)
        llmock.state.scenarios.clear()
        llmock.state.scenarios.add(fault)
        try:
            return await ended(collected(provider, _call(adapter)))
        finally:
            await provider.aclose()

    error = run(main())

    assert isinstance(error, expected)
    if retry_after_s is not None:
        assert error.retry_after_s == retry_after_s
