"""A provider on OpenAI's wire that does what each prompt tells it, and counts what it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

import orjson
from aiohttp import web


@dataclass(frozen=True)
class Wish:
    """What a prompt asks of the upstream, written as `name=value` words after the prompt's marker."""

    marker: str  # tells this prompt from all others
    delay_ms: int = 0  # before the answer, or before its first chunk
    chunks: int = 4  # of a stream
    pace_ms: int = 0  # before each further chunk
    holds: int = 0  # so many calls are held until `release`
    after: int = 0  # chunks that a held stream has sent before

    def prompt(self) -> str:
        return (
            f"{self.marker} delay_ms={self.delay_ms} chunks={self.chunks} pace_ms={self.pace_ms} "
            f"holds={self.holds} after={self.after}"
        )

    @classmethod
    def read(cls, prompt: str) -> Wish:
        marker, *words = prompt.split()
        return cls(marker, **{name: int(value) for name, _, value in (word.partition("=") for word in words)})

    @property
    def pieces(self) -> list[str]:
        """What a stream says, chunk by chunk."""
        return [f"{self.marker}.{number} " for number in range(self.chunks)]

    @property
    def text(self) -> str:
        """What a blocking answer says."""
        return f"the answer to {self.marker}"


class Upstream:
    """
    calls, hung_up: by marker, how often it was asked, and how often its caller went before the end.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.hung_up: Counter[str] = Counter()
        self.url = ""
        self._gates: dict[str, asyncio.Event] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def release(self, marker: str) -> None:
        """Let a held answer go on."""
        self._loop.call_soon_threadsafe(lambda: self._gate(marker).set())

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _gate(self, marker: str) -> asyncio.Event:
        return self._gates.setdefault(marker, asyncio.Event())

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        wish = Wish.read(body["messages"][-1]["content"])
        self.calls[wish.marker] += 1
        held = self.calls[wish.marker] <= wish.holds
        try:
            await asyncio.sleep(wish.delay_ms / 1000)
            if body.get("stream"):
                return await self._stream(request, body, wish, held)
            if held:
                await self._gate(wish.marker).wait()
            return web.json_response(_whole(body, wish))
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up[wish.marker] += 1
            raise

    async def _stream(self, request: web.Request, body: dict[str, Any], wish: Wish, held: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, piece in enumerate(wish.pieces):
            if held and number == wish.after:
                await self._gate(wish.marker).wait()
            if number:
                await asyncio.sleep(wish.pace_ms / 1000)
            role = {} if number else {"role": "assistant"}
            await response.write(_frame(_chunk(body, {**role, "content": piece})))
        await response.write(_frame(_chunk(body, {}, "stop")))
        await response.write(_frame({**_chunk(body, {}), "choices": [], "usage": _USAGE}) + b"data: [DONE]\n\n")
        await response.write_eof()
        return response


_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def _whole(body: dict[str, Any], wish: Wish) -> dict[str, Any]:
    message = {"role": "assistant", "content": wish.text, "refusal": None}
    return {
        "id": "upstream-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _USAGE,
    }


def _chunk(body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "upstream-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _frame(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"
