"""A bare pass-through proxy: no queue, no keys, no JSON. The least that a Python process between two sockets costs.

`python -m benchmarks.bare PORT` sends everything on to that port and prints its own.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from typing import cast

import httptools
import uvloop


class Idle(deque["Upstream"]):
    """Connections to the upstream that nobody uses, the last one first."""


class Caller(asyncio.Protocol):
    """A client's connection; one request of it is on its way at a time."""

    transport: asyncio.Transport

    def __init__(self, idle: Idle, port: int) -> None:
        self.idle = idle
        self.port = port
        self.parser = httptools.HttpRequestParser(self)
        self.parts: list[bytes] = []
        self.waiting: deque[bytes] = deque()
        self.upstream: Upstream | None = None
        self.connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connecting is not None:
            self.connecting.cancel()
        if self.upstream is not None:
            self.upstream.transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self.parts = [b"%s %s HTTP/1.1\r\n" % (self.parser.get_method(), url)]

    def on_header(self, name: bytes, value: bytes) -> None:
        self.parts.append(b"%s: %s\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        self.parts.append(b"\r\n")

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        request = b"".join(self.parts)
        while self.idle and self.idle[-1].transport.is_closing():
            self.idle.pop()
        if self.upstream is not None or self.connecting is not None:
            self.waiting.append(request)
        elif self.idle:
            self._send(self.idle.pop(), request)
        else:
            self.connecting = asyncio.ensure_future(self._connect(request))

    async def _connect(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, upstream = await loop.create_connection(Upstream, "127.0.0.1", self.port)
        except OSError:
            self.transport.close()
            return
        self.connecting = None
        self._send(upstream, request)

    def _send(self, upstream: Upstream, request: bytes) -> None:
        self.upstream = upstream
        upstream.caller = self
        upstream.transport.write(request)

    def answered(self, upstream: Upstream) -> None:
        self.upstream = None
        if self.waiting:
            self._send(upstream, self.waiting.popleft())
        else:
            self.idle.append(upstream)


class Upstream(asyncio.Protocol):
    """A connection to the upstream, lent to one caller until its answer is whole."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.caller: Caller | None = None
        self.whole = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        if self.caller is not None:
            self.caller.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.caller is None:
            self.transport.close()
            return
        self.caller.transport.write(data)
        self.parser.feed_data(data)
        if self.whole:
            self.whole = False
            caller, self.caller = self.caller, None
            caller.answered(self)

    def on_message_complete(self) -> None:
        self.whole = True


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    idle = Idle()
    server = await loop.create_server(lambda: Caller(idle, port), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
