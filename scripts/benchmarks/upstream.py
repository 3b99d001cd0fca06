"""The mock upstream: OpenAI's chat completions on loopback, faster than anything that is measured against it.

`python -m benchmarks.upstream` prints its port. What it does for a request hangs on the model's name: `wire.Behaviour`.
"""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import time
from collections import deque
from typing import cast

import httptools
import orjson
import uvloop

from benchmarks import wire

_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')


class Counts:
    """What the upstream is doing, for `GET /stats`."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.served = 0


class Upstream(asyncio.Protocol):
    """One connection: requests are answered in their order, however many arrive at once."""

    transport: asyncio.Transport

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.waiting: deque[tuple[bytes, bytes]] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.url = b""
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.counts.in_flight -= 1
        self.waiting.clear()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.timer is None:
            self._answer(self.url, self.body)
        else:
            self.waiting.append((self.url, self.body))

    def _answer(self, url: bytes, body: bytes) -> None:
        if url != b"/v1/chat/completions":
            self.transport.write(self._other(url))
            return
        named = _MODEL.search(body)
        if named is None:
            self.transport.write(_error("400 Bad Request", "there is no model in this request"))
            return
        model = named[1].decode()
        plan = wire.behaviour(model)
        streams = _STREAM.search(body) is not None
        if plan.delay_ms == 0 and not streams:
            self.counts.served += 1
            self.transport.write(wire.answer(model))
            return
        self.counts.in_flight += 1
        start = self._begin if streams else self._whole
        self.timer = self.loop.call_later(plan.delay_ms / 1000, start, model)

    def _other(self, url: bytes) -> bytes:
        if url == b"/v1/models":
            model = {"id": wire.Behaviour().model, "object": "model", "created": 1_790_000_000, "owned_by": "bench"}
            return wire.respond(orjson.dumps({"object": "list", "data": [model]}))
        if url == b"/stats":
            return wire.respond(orjson.dumps(vars(self.counts)))
        return _error("404 Not Found", f"there is no {url.decode(errors='replace')} here")

    def _whole(self, model: str) -> None:
        self.transport.write(wire.answer(model))
        self._next()

    def _begin(self, model: str) -> None:
        self.transport.write(wire.STREAM_HEAD + wire.events(model).role)
        if wire.behaviour(model).per_s:
            self._pace(model, 0, time.monotonic())
            return
        for _ in range(wire.behaviour(model).chunks):
            self.transport.write(wire.events(model).chunk())
        self._end(model)

    def _pace(self, model: str, number: int, started: float) -> None:
        plan = wire.behaviour(model)
        if number == plan.chunks:
            self._end(model)
            return
        self.transport.write(wire.events(model).chunk())
        # From the start, not from now: a late chunk does not slow the stream down.
        due = started + (number + 1) / plan.per_s
        self.timer = self.loop.call_later(max(0.0, due - time.monotonic()), self._pace, model, number + 1, started)

    def _end(self, model: str) -> None:
        parts = wire.events(model)
        self.transport.write(parts.stop + parts.usage + parts.end)
        self._next()

    def _next(self) -> None:
        self.timer = None
        self.counts.in_flight -= 1
        self.counts.served += 1
        while self.waiting and self.timer is None:
            self._answer(*self.waiting.popleft())


def _error(status: str, message: str) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "bench"}
    return wire.respond(orjson.dumps({"error": error}), status)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    counts = Counts()
    server = await loop.create_server(lambda: Upstream(counts), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    gc.disable()  # a pause of the collector would be booked on whoever is measured
    uvloop.run(serve())
