"""An OpenAI-compatible server in a thread, whose every model is a part that a test plays by itself."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.standins import Fault, Reply
from tests.standins.openai import Server

_EVERYTHING = 10**9
_LOOK_S = 0.002


@dataclass
class Part:
    """What one model does, and what was asked of it. A test sets it while requests are under way."""

    reply: Reply = field(default_factory=Reply)
    faults: deque[Fault] = field(default_factory=deque)  # one a request, then it answers
    always: Fault | None = None  # at every request
    allowed: int = _EVERYTHING  # so many events of a stream may leave; 0 holds a whole answer back too
    asked: list[dict[str, Any]] = field(default_factory=list)
    hung_up: int = 0  # requests whose client went before the end

    def hold(self, after: int = 0) -> None:
        self.allowed = after

    def let_go(self) -> None:
        self.allowed = _EVERYTHING


class _Voice(Server):
    """One request to one part."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part
        self.reply = part.reply
        self.fault = part.faults.popleft() if part.faults else part.always

    async def permitted(self, count: int) -> None:
        while self.part.allowed < count:  # noqa: ASYNC110  # a test in another thread lets it go
            await asyncio.sleep(_LOOK_S)  # the test that lets it go is in another thread

    async def _send_whole(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        await self.permitted(1)
        return await super()._send_whole(request, body, fault)

    async def _stream(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        if fault is not None:
            return await super()._stream(request, body, fault)
        response = web.StreamResponse(headers={"Content-Type": self.content_type})
        await response.prepare(request)
        for number, frame in enumerate(self.frames(request.path, body), 1):
            await self.permitted(number)
            await response.write(frame)
            await asyncio.sleep(0)
        await response.write_eof()
        return response


class Upstream(Server):
    """The server; `part(model)` is what that model does."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: defaultdict[str, Part] = defaultdict(Part)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def part(self, model: str) -> Part:
        return self.parts[model]

    def model_list(self) -> tuple[str, dict[str, Any]]:
        models = [
            {"id": name, "object": "model", "created": 1, "owned_by": "us"} for name in ("gpt-4-one", "gpt-4-two")
        ]
        return "/v1/models", {"object": "list", "data": models}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        part = self.parts[body["model"]]
        part.asked.append(body)
        try:
            return await _Voice(part)._answer(request)
        except asyncio.CancelledError:
            part.hung_up += 1
            raise

    def run(self) -> Iterator[Upstream]:
        """Serves from the first step to the second."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)
        yield self
        for part in self.parts.values():
            part.let_go()
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
