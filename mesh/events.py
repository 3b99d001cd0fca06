"""What comes back from a job: numbered events, sealed one by one.

On the wire an event is one letter, a JSON head, a line break and a body of bytes that nobody on the way parses again:

    s{"provider": …, "model": …, "attempt": 1}      a worker has begun
    d{}\\n{"id": …, "object": "chat.completion.chunk"}  a delta: one OpenAI chunk
    e{"state": "done", "usage": …}\\n              the end; the whole answer is sealed apart
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import orjson

_EMPTY: dict[str, Any] = {}


class Kind(enum.Enum):
    STARTED = b"s"
    DELTA = b"d"
    END = b"e"


_DELTA = b"d{}\n"
_KINDS = {kind.value: kind for kind in Kind}


class Event(NamedTuple):
    """One is made for each token, and a named tuple costs a third of a frozen dataclass."""

    kind: Kind
    head: dict[str, Any] = _EMPTY
    body: bytes = b""

    def dump(self) -> bytes:
        if self.kind is Kind.DELTA and not self.head:
            return _DELTA + self.body
        head = orjson.dumps(self.head) if self.head else b"{}"
        return b"%b%b\n%b" % (self.kind.value, head, self.body)


def load(data: bytes) -> Event:
    """The event that `dump` wrote.

    Raises:
        ValueError: not an event.
    """
    if data.startswith(_DELTA):
        return Event(Kind.DELTA, _EMPTY, data[len(_DELTA) :])
    head, line, body = data.partition(b"\n")
    kind = _KINDS.get(head[:1])
    if kind is None or not line:
        raise ValueError("not an event")
    return Event(kind, orjson.loads(head[1:]), body)


def delta(body: bytes) -> Event:
    return Event(Kind.DELTA, _EMPTY, body)
