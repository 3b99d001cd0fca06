"""OpenAI's wire as both ends write it: requests of 318 bytes, answers of 600, chunks that carry their time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import orjson

REQUEST_BYTES = 318
ANSWER_BYTES = 600
MARK = "That is the whole answer."  # an answer without it has been cut

_FILLER = (
    "Please explain in plain words how a queue between two services changes what happens when one of them is slow, "
    "when one of them is stopped in the middle of its work, and when both come back at the same moment. Say what is "
    "lost or done twice, and what the people who wait for an answer will see while all of this goes on around them. "
    "Then name the one measurement that you would take first, and say why it comes before all of the others. "
)
_MODEL = re.compile(r"-([dnr])(\d+)(?=-|$)")
# Letters, not digits: a guard may take sixteen digits for a card number.
_LETTERS = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")
_DIGITS = bytes.maketrans(b"abcdefghijklmnop", b"0123456789abcdef")
STAMP = re.compile(rb"at([a-p]{16}) ")


@dataclass(frozen=True)
class Behaviour:
    """What the upstream does for a model, as the model's name says it: `gpt-4-bench-d200-n30-r15`."""

    delay_ms: int = 0  # before the answer, or before a stream's first chunk
    chunks: int = 30  # of a stream
    per_s: int = 0  # chunks a second; 0 sends them all at once

    @property
    def model(self) -> str:
        return f"gpt-4-bench-d{self.delay_ms}-n{self.chunks}-r{self.per_s}"


@lru_cache(maxsize=256)
def behaviour(model: str) -> Behaviour:
    said = {letter: int(number) for letter, number in _MODEL.findall(model)}
    return Behaviour(said.get("d", 0), max(1, said.get("n", 30)), said.get("r", 0))


def request(model: str, *, port: int, key: str, stream: bool) -> bytes:
    """A chat completion request, head and body; the body is REQUEST_BYTES long."""
    body = _padded({"model": model, "max_tokens": 256, "stream": stream}, stream)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _padded(fields: dict[str, object], stream: bool) -> bytes:
    if stream:
        fields["stream_options"] = {"include_usage": True}

    def dump(text: str) -> bytes:
        return orjson.dumps(fields | {"messages": [{"role": "user", "content": text}]})

    return dump(_FILLER[: REQUEST_BYTES - len(dump(""))])


@lru_cache(maxsize=256)
def answer(model: str) -> bytes:
    """A chat completion, head and body; the body is ANSWER_BYTES long."""

    def dump(text: str) -> bytes:
        message = {"role": "assistant", "content": text, "refusal": None}
        return orjson.dumps(
            {
                "id": "chatcmpl-bench",
                "object": "chat.completion",
                "created": 1_790_000_000,
                "model": model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 60, "completion_tokens": 60, "total_tokens": 120},
            }
        )

    return respond(dump(_FILLER[: ANSWER_BYTES - len(dump(MARK))] + MARK))


def respond(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status.encode(),
        len(body),
        body,
    )


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Events:
    """A stream's parts for one model, built once; only a chunk's time is written in later."""

    def __init__(self, model: str) -> None:
        self.role = _event(model, {"role": "assistant", "content": ""})
        # Every stamp has the same length, so HTTP's chunk length before it stays right.
        self._before, _, self._after = _event(model, {"content": stamp(0).decode()}).partition(stamp(0))
        chunks = behaviour(model).chunks
        usage = {"prompt_tokens": 60, "completion_tokens": chunks, "total_tokens": 60 + chunks}
        self.stop = _event(model, {}, finish="stop")
        self.usage = _event(model, None, usage=usage)
        self.end = chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def chunk(self) -> bytes:
        return self._before + stamp(time.monotonic_ns()) + self._after


def _event(model: str, delta: object, *, finish: str | None = None, usage: object = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    event = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": model,
        "choices": choices,
        "usage": usage,
    }
    return chunked(b"data: " + orjson.dumps(event) + b"\n\n")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@lru_cache(maxsize=256)
def events(model: str) -> Events:
    return Events(model)


def stamp(monotonic_ns: int) -> bytes:
    """A chunk's text: CLOCK_MONOTONIC, which every process of a machine shares, in letters."""
    return b"at" + (b"%016x" % monotonic_ns).translate(_LETTERS) + b" "


def stamps(text: bytes) -> Iterable[int]:
    """The times, in nanoseconds, of the chunks that stand in a piece of a stream."""
    return (int(found.translate(_DIGITS), 16) for found in STAMP.findall(text))
