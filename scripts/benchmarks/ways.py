"""One way to call one provider, and the processor time that it takes: a process that is told its load on stdin.

The ways are our transports, and the provider's own SDK as anybody would use it, without a line of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import ollama
import openai
import orjson
import uvloop
from pydantic import TypeAdapter

from mesh.settings import ProviderConfig
from workers.providers import Call, open_provider

BARE = "bare SDK"
_TEXT = "Please explain in plain words how a queue between two services changes what happens when one of them is slow."
_MESSAGES: Any = [{"role": "user", "content": _TEXT}]
_MOST_TOKENS = 4096
_WARM_CALLS = 32


@dataclass(frozen=True)
class Load:
    adapter: str
    way: str  # direct, sdk or BARE
    whole_url: str  # of the server that answers briefly
    stream_url: str  # of the one whose streams are long
    chunks: int  # of a stream
    calls: int
    streams: int
    clients: int = 16


@dataclass(frozen=True)
class Cost:
    """Of the calling process."""

    call_ms: float
    chunk_us: float


class Short(Exception):
    """A stream had fewer chunks than it was asked for: its figure would be of something else."""


@dataclass(frozen=True)
class Way:
    whole: Callable[[], Awaitable[object]]
    stream: Callable[[], Awaitable[int]]  # reads to the end; the chunks that there were


async def measure(load: Load) -> Cost:
    async with contextlib.AsyncExitStack() as stack:
        opened = _BARE[load.adapter] if load.way == BARE else _ours
        whole = (await stack.enter_async_context(opened(load, load.whole_url))).whole
        read = (await stack.enter_async_context(opened(load, load.stream_url))).stream

        async def stream() -> None:
            if (count := await read()) < load.chunks:
                raise Short(f"{load.adapter} over {load.way}: {count} of {load.chunks} chunks")

        await _many(whole, _WARM_CALLS, load.clients)
        call_s = await _many(whole, load.calls, load.clients)
        await _many(stream, 1, 1)
        stream_s = await _many(stream, load.streams, load.clients)
    return Cost(1e3 * call_s / load.calls, 1e6 * stream_s / (load.streams * load.chunks))


async def _many(ask: Callable[[], Awaitable[object]], count: int, clients: int) -> float:
    """The processor seconds of this process, all its threads together, for so many calls."""
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await ask()

    before = time.process_time()
    await asyncio.gather(*(client() for _ in range(min(clients, count))))
    return time.process_time() - before


async def _count(chunks: AsyncIterator[object]) -> int:
    count = 0
    async for _ in chunks:
        count += 1
    return count


@contextlib.asynccontextmanager
async def _ours(load: Load, url: str) -> AsyncIterator[Way]:
    settings = {"adapter": load.adapter, "transport": load.way, "base_url": url}
    provider = open_provider("bench", ProviderConfig.model_validate(settings), load.clients)
    call = Call("chat.completions", "m", "m", {"model": "m", "messages": _MESSAGES}, "chatcmpl-1", 1)

    async def stream() -> int:
        return await _count(provider.stream(call))

    yield Way(lambda: provider.answer(call), stream)
    await provider.aclose()


@contextlib.asynccontextmanager
async def _openai(load: Load, url: str) -> AsyncIterator[Way]:
    async with openai.AsyncOpenAI(base_url=url, api_key="bench", max_retries=0) as client:

        async def stream() -> int:
            options: Any = {"include_usage": True}
            return await _count(
                await client.chat.completions.create(model="m", messages=_MESSAGES, stream=True, stream_options=options)
            )

        yield Way(lambda: client.chat.completions.create(model="m", messages=_MESSAGES), stream)


@contextlib.asynccontextmanager
async def _anthropic(load: Load, url: str) -> AsyncIterator[Way]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="bench", max_retries=0) as client:

        async def stream() -> int:
            return await _count(
                await client.messages.create(model="m", messages=_MESSAGES, max_tokens=_MOST_TOKENS, stream=True)
            )

        yield Way(lambda: client.messages.create(model="m", messages=_MESSAGES, max_tokens=_MOST_TOKENS), stream)


@contextlib.asynccontextmanager
async def _ollama(load: Load, url: str) -> AsyncIterator[Way]:
    client = ollama.AsyncClient(host=url)

    async def stream() -> int:
        return await _count(await client.chat("m", _MESSAGES, stream=True))

    yield Way(lambda: client.chat("m", _MESSAGES), stream)


@contextlib.asynccontextmanager
async def _bedrock(load: Load, url: str) -> AsyncIterator[Way]:
    """boto3 blocks, so whoever uses it in a loop gives each call a thread."""
    client: Any = boto3.client("bedrock-runtime", endpoint_url=url)
    messages = [{"role": "user", "content": [{"text": _TEXT}]}]
    loop = asyncio.get_running_loop()

    def stream() -> int:
        return sum(1 for _ in client.converse_stream(modelId="m", messages=messages)["stream"])

    with ThreadPoolExecutor(load.clients) as threads:
        yield Way(
            lambda: loop.run_in_executor(threads, lambda: client.converse(modelId="m", messages=messages)),
            lambda: loop.run_in_executor(threads, stream),
        )


_BARE: Mapping[str, Callable[[Load, str], contextlib.AbstractAsyncContextManager[Way]]] = {
    "anthropic": _anthropic,
    "bedrock": _bedrock,
    "ollama": _ollama,
    "openai": _openai,
}


if __name__ == "__main__":
    asked = TypeAdapter(Load).validate_json(sys.stdin.buffer.read())
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(measure(asked))))
