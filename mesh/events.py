"""What comes back from a job: numbered events, sealed and kept in records.

A record is one letter, a JSON head, a line break and a body of bytes that nobody on the way parses again:

    s{"provider": …, "model": …, "attempt": 1}\\n      a worker has begun
    d{}\\n{"id": …, "object": "chat.completion.chunk"}  a delta: one OpenAI chunk; the next ones, a line each
    e{"state": "done", "usage": …}\\n                  the end; the whole answer is sealed apart

It bears the number of the last event in it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

_EMPTY: dict[str, Any] = {}


class Kind(enum.Enum):
    STARTED = b"s"
    DELTA = b"d"
    END = b"e"


_DELTA = b"d{}\n"
_LONGEST = 32 * 1024  # bytes of deltas in one record, if there are several
_KINDS = {kind.value: kind for kind in Kind}


class Event(NamedTuple):
    """One is made for each token, and a named tuple costs a third of a frozen dataclass."""

    kind: Kind
    head: dict[str, Any] = _EMPTY
    body: bytes = b""

    def dump(self) -> bytes:
        """A record of this event alone."""
        head = orjson.dumps(self.head) if self.head else b"{}"
        return b"%b%b\n%b" % (self.kind.value, head, self.body)


def records(events: Sequence[Event], first: int) -> Iterator[tuple[int, bytes]]:
    """Events in a row, numbered from `first`, as records with their numbers: deltas share one."""
    deltas: list[bytes] = []
    size = 0
    for number, event in enumerate(events, first):
        alone = event.kind is not Kind.DELTA
        if deltas and (alone or size + len(event.body) > _LONGEST):
            yield number - 1, _DELTA + b"\n".join(deltas)
            deltas, size = [], 0
        if alone:
            yield number, event.dump()
        else:
            deltas.append(event.body)
            size += len(event.body)
    if deltas:
        yield first + len(events) - 1, _DELTA + b"\n".join(deltas)


def load(record: bytes) -> list[Event]:
    """The events of a record.

    Raises:
        ValueError: not a record.
    """
    if record.startswith(_DELTA):
        return [Event(Kind.DELTA, _EMPTY, body) for body in record[len(_DELTA) :].split(b"\n")]
    head, line, body = record.partition(b"\n")
    kind = _KINDS.get(head[:1])
    if kind is None or not line:
        raise ValueError("not a record of events")
    return [Event(kind, orjson.loads(head[1:]), body)]


def delta(chunk: bytes) -> Event:
    """
    chunk: JSON on one line.
    """
    return Event(Kind.DELTA, _EMPTY, chunk)
