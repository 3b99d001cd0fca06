"""The client's end of a connection: one request at a time, its answer judged, a stream's chunks timed as they come."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import cast

import httptools

from benchmarks import wire

_CODE = re.compile(rb'"code"\s*:\s*"?([\w-]+)')
_FAILED = b'data: {"error"'
_MARK = wire.MARK.encode()


@dataclass(slots=True)
class Call:
    """One request and what came back; times are CLOCK_MONOTONIC in nanoseconds."""

    stream: bool
    sent_ns: int
    status: int = 0
    body: bytes = b""  # of a stream: what is not yet a whole event
    sent_chunks: list[int] = field(default_factory=list)  # as the upstream stamped them
    seen_chunks: list[int] = field(default_factory=list)
    ended_ns: int = 0
    said_done: bool = False
    failure: str = ""

    def feed(self, data: bytes) -> None:
        if not self.stream or self.status != 200:
            self.body += data
            return
        now = time.monotonic_ns()
        text = self.body + data
        end = text.rfind(b"\n\n") + 2
        if end == 1:
            self.body = text
            return
        events, self.body = text[:end], text[end:]
        for stamp in wire.stamps(events):
            self.sent_chunks.append(stamp)
            self.seen_chunks.append(now)
        if _FAILED in events:
            self.failure = f"error in the stream: {_code(events)}"
        if b"data: [DONE]" in events:
            self.said_done = True

    def error(self, chunks: int) -> str:
        """What is wrong with the answer, or nothing. `chunks` is how many a stream must have brought, in order."""
        if self.failure:
            return self.failure
        if self.status != 200:
            return f"{self.status} {_code(self.body)}"
        if not self.stream:
            return "" if _MARK in self.body else "answer cut short"
        if len(self.sent_chunks) != chunks or self.sent_chunks != sorted(self.sent_chunks):
            return "chunks lost, doubled or out of order"
        return "" if self.said_done else "stream without [DONE]"


def _code(body: bytes) -> str:
    found = _CODE.search(body)
    return found[1].decode() if found else "without a code"


class Connection(asyncio.Protocol):
    """Kept alive from one request to the next; a request on it ends always, if only because the connection does."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.call: Call | None = None
        self.answered: asyncio.Future[Call] | None = None
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of asyncio's
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._end("connection closed before the answer's end")

    def ask(self, request: bytes, *, stream: bool) -> asyncio.Future[Call]:
        self.call = Call(stream, time.monotonic_ns())
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answered

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"not HTTP: {error}")
            self.close()

    def on_headers_complete(self) -> None:
        if self.call is not None:
            self.call.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self.call is not None:
            self.call.feed(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_keep_alive():
            self.close()
        self._end("")

    def close(self) -> None:
        self.usable = False
        self.transport.close()

    def _end(self, failure: str) -> None:
        call, answered, self.call, self.answered = self.call, self.answered, None, None
        if call is not None and answered is not None and not answered.done():
            call.ended_ns = time.monotonic_ns()
            call.failure = call.failure or failure
            answered.set_result(call)


async def connect(port: int) -> Connection:
    """Raises: OSError: nobody listens there, or there are no more descriptors."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection
