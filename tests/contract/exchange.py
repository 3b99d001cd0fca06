"""One call to a provider against its stand-in, and what a client would make of the answer."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import uvloop

from mesh.settings import ProviderConfig
from routing.health import Room
from tests.standins import StandIn
from workers.providers import Call, Endpoint, Provider, open_provider

T = TypeVar("T")

ANSWER_ID = "chatcmpl-0123456789abcdef0123456789abcdef"
CREATED = 1_763_000_000


@dataclass(frozen=True)
class Pair:
    """An adapter by name, a transport, and the server that stands in for the provider."""

    adapter: str
    transport: str
    server: type[StandIn] = StandIn

    def __str__(self) -> str:
        return f"{self.adapter}-{self.transport}"

    @contextlib.asynccontextmanager
    async def opened(
        self, heard: Callable[[str, Room], None] | None = None, **config: Any
    ) -> AsyncIterator[tuple[StandIn, Provider]]:
        """A running stand-in and a provider that is configured for it."""
        async with self.server() as server:
            settings = {"base_url": server.url + server.base, **config}
            provider = open_provider(
                "up",
                ProviderConfig.model_validate({"adapter": self.adapter, "transport": self.transport, **settings}),
                heard=heard,
            )
            try:
                yield server, provider
            finally:
                await provider.aclose()


def run(main: Coroutine[Any, Any, T]) -> T:
    return uvloop.run(main)


def call(body: dict[str, Any], endpoint: Endpoint = "chat.completions") -> Call:
    """A call whose body nobody else holds."""
    return Call(endpoint, "provider-model", "public-model", copy.deepcopy(body), ANSWER_ID, CREATED)


def chat(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "public-model", "messages": [{"role": "user", "content": text}], **more}


async def collected(provider: Provider, one: Call, *, watched: bool = False) -> list[dict[str, Any]]:
    """All chunks, copied as they come: what is given out belongs to the pipeline.

    watched: one by one, as a job whose answer has to pass a gate takes them.
    """
    chunks: list[dict[str, Any]] = []

    def past(chunk: dict[str, Any]) -> bool:
        chunks.append(copy.deepcopy(chunk))
        return len(chunks) % 5 > 0  # now and then the next is to wait

    async for chunk in provider.stream(one, past=None if watched else past):
        chunks.append(copy.deepcopy(chunk))
    return chunks


async def ended(attempt: Coroutine[Any, Any, object], within_s: float = 30.0) -> BaseException | None:
    """The error that an attempt ends with; one that has not ended in time fails the test."""
    try:
        async with asyncio.timeout(within_s) as patience:
            await attempt
    except Exception as error:  # noqa: BLE001 - whatever it is, the test compares it
        assert not patience.expired(), f"the attempt had not ended after {within_s} s"
        return error
    return None


async def until(true: Callable[[], object], within_s: float) -> None:
    """Waits for a condition, with a deadline."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for happens in a socket
            await asyncio.sleep(0.005)


def assembled(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The choices and the usage that a client puts together from a stream, in the shape of a whole answer."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for part in chunk["choices"]:
            choice = choices.setdefault(part["index"], {"index": part["index"], "finish_reason": None})
            assert choice["finish_reason"] is None, "something came after the finish_reason"
            choice["finish_reason"] = part["finish_reason"]
            if "text" in part:
                choice["text"] = choice.get("text", "") + part["text"]
                continue
            message = choice.setdefault("message", {"content": None})
            delta = part["delta"]
            assert ("role" in message) or delta.get("role") == "assistant", "the role comes first"
            message.update({key: delta[key] for key in ("role",) if key in delta})
            for key in ("content", "reasoning_content", "refusal"):
                if delta.get(key) is not None:
                    message[key] = (message.get(key) or "") + delta[key]
            for piece in delta.get("tool_calls") or ():
                _add_call(message.setdefault("tool_calls", []), piece)
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage}


def _add_call(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    if piece["index"] == len(calls):
        calls.append({"id": piece["id"], "type": piece["type"], "function": {**piece["function"]}})
    else:
        calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def meaning(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer must not depend on how it came: not its log probabilities, not keys that hold nothing."""
    choices = []
    for choice in answer["choices"]:
        kept = {"index": choice["index"], "finish_reason": choice["finish_reason"]}
        if "text" in choice:
            kept["text"] = choice["text"]
        else:
            message = choice["message"]
            kept["message"] = {key: value for key, value in message.items() if value is not None}
        choices.append(kept)
    return {"choices": choices, "usage": answer.get("usage")}


def arguments(message: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (each["function"]["name"], orjson.loads(each["function"]["arguments"]))
        for each in message.get("tool_calls") or ()
    ]
