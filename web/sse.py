"""Server-sent events: how a stream of a job's events is written for an OpenAI client.

Every event bears `id: <job>:<number>`, so that a cut stream can be resumed from the next number. The chunk with the
usage is held back until the job's end, because it also tells what the job cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from mesh import errors
from mesh.events import Event, Kind
from mesh.job import Spec
from web import errors as shown
from web.answer import Answer, Push
from web.meter import Meter
from web.replies import Follower

KEEP_ALIVE_S = 15.0
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


class Lines:
    """One stream's events as the bytes of an SSE answer."""

    def __init__(self, job_id: str, spec: Spec, meter: Meter) -> None:
        self._id = b"id: " + job_id.encode() + b":"
        self._spec = spec
        self._meter = meter
        self._usage_chunk: tuple[int, bytes] | None = None
        self._last_chunk = b""

    def written(self, events: Sequence[tuple[int, Event]]) -> bytes:
        """The bytes for events in a row, with their numbers."""
        return b"".join([self.write(number, event) for number, event in events])

    def write(self, number: int, event: Event) -> bytes:
        """The bytes for one event; empty for one that this stream does not show."""
        if event.kind is Kind.DELTA:
            if is_usage(event.body):
                self._usage_chunk = (number, event.body)
                return b""
            self._last_chunk = event.body
            return b"%b%d\ndata: %b\n\n" % (self._id, number, event.body)
        if event.kind is Kind.END:
            return self._end(number, event)
        return b""

    def _end(self, number: int, event: Event) -> bytes:
        end = b"%b%d\n%b" % (self._id, number, DONE)
        if "error" in event.head:
            return b"%b%d\ndata: %b\n\n%b" % (self._id, number, shown.body(errors.load(event.head["error"])), end)
        if self._spec.include_usage and (self._usage_chunk or self._last_chunk):
            at, chunk = self._with_usage(number, event)
            return b"%b%d\ndata: %b\n\n%b" % (self._id, at, orjson.dumps(chunk), end)
        if not self._spec.stream and event.body:
            return b"%b%d\ndata: %b\n\n%b" % (self._id, number, event.body, end)
        return end

    def _with_usage(self, number: int, end: Event) -> tuple[int, dict[str, Any]]:
        """The last chunk and its number; where the provider reported no usage, what the gateway knows of it."""
        if self._usage_chunk is not None:
            number, body = self._usage_chunk
            chunk = orjson.loads(body)
        else:
            chunk = orjson.loads(self._last_chunk) | {"choices": [], "usage": end.head.get("usage")}
        return number, chunk | {"gateway": self._meter.facts(end.head)}


def answer(written: Iterator[bytes], job_id: str, straight: Callable[[Push], None] | None = None) -> Answer:
    """A stream as an HTTP answer that no proxy on the way holds back."""
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no", "x-gateway-job": job_id}
    return Answer(written, 200, headers, "text/event-stream; charset=utf-8", straight)


def is_usage(chunk: bytes) -> bool:
    """Whether a chunk bears the usage and nothing else."""
    return b'"choices":[]' in chunk


def stream(follower: Follower, lines: Lines, first: tuple[int, Event] | None) -> Iterator[bytes]:
    """The whole answer; `first` is an event that was waited for before the status was decided."""
    # The answer's head leaves with its first bytes.
    yield KEEP_ALIVE if first is None else lines.write(*first)
    last = first
    while last is None or last[1].kind is not Kind.END:
        batch = follower.batch(KEEP_ALIVE_S)
        if batch:
            last = batch[-1]
            if written := lines.written(batch):
                yield written
        else:
            yield KEEP_ALIVE


def straight(follower: Follower, lines: Lines, push: Push) -> None:
    """While `stream` of the same two waits, what comes is pushed by who brings it, without a change of greenlets."""
    follower.past = lambda events: push(lines.written(events))
