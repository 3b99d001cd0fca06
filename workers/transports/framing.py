"""Events cut out of a stream of bytes: server-sent events, and JSON by lines."""

from __future__ import annotations

from typing import Any, Protocol

import orjson

LONGEST_EVENT = 32 * 1024 * 1024  # bytes; a provider that sends more without an end of line is broken


class Framing(Protocol):
    """Fed with bytes as they arrive, it gives the events that are complete; one for each stream."""

    done: bool  # the protocol's own last word was seen; what follows is of no interest
    broken: bool  # something was not JSON; the events before it were given

    def __init__(self) -> None: ...

    def feed(self, piece: bytes) -> list[dict[str, Any]]: ...

    def end(self) -> list[dict[str, Any]]:
        """What is left when the stream has ended."""


class _Lines:
    """Whole lines out of pieces, with any of the three ends of line that the SSE standard allows."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        rest = self._rest
        if rest:
            rest += piece
            # A long line in many pieces is not searched again at each.
            if b"\n" not in piece and b"\r" not in piece:
                return []
            piece = bytes(rest)
            rest.clear()
        lines = piece.splitlines(keepends=True)
        # A carriage return at the very end may be the first half of a CRLF.
        if lines and not lines[-1].endswith(b"\n"):
            rest += lines.pop()
        return lines

    def end(self) -> bytes:
        return bytes(self._rest)

    @property
    def overlong(self) -> bool:
        return len(self._rest) > LONGEST_EVENT


class ServerSentEvents:
    """`text/event-stream` as language models use it: JSON in `data`, and `[DONE]`; names, ids, comments are skipped."""

    __slots__ = ("_data", "_lines", "broken", "done")

    def __init__(self) -> None:
        self.done = False
        self.broken = False
        self._lines = _Lines()
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        data = self._data
        for line in self._lines.feed(piece):
            if line.startswith(b"data:"):
                data.append(line[5:])
            elif data and line in (b"\n", b"\r\n", b"\r"):
                text = data[0] if len(data) == 1 else b"".join(data)
                data.clear()
                # Most are one line of JSON, whose surrounding whitespace the parser skips by itself.
                try:
                    event = orjson.loads(text)
                except orjson.JSONDecodeError:
                    if text.strip() == b"[DONE]":
                        self.done = True
                    else:
                        self.broken = True
                    break
                if type(event) is not dict:
                    self.broken = True
                    break
                events.append(event)
        if self._lines.overlong:
            self.broken = True
        return events

    def end(self) -> list[dict[str, Any]]:
        """Nothing: the standard says that an event without its empty line is dropped, and SDKs do so."""
        return []


class MessageEvents(ServerSentEvents):
    """Anthropic's stream, whose last word is an event and not `[DONE]`."""

    __slots__ = ()

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        events = super().feed(piece)
        if events and events[-1].get("type") == "message_stop":
            self.done = True
        return events


class JSONLines:
    """One JSON object a line (NDJSON), the last with or without its end of line."""

    __slots__ = ("_lines", "broken", "done")

    def __init__(self) -> None:
        self.done = False
        self.broken = False
        self._lines = _Lines()

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        return self._parse(self._lines.feed(piece))

    def end(self) -> list[dict[str, Any]]:
        return self._parse([self._lines.end()])

    def _parse(self, lines: list[bytes]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        for line in lines:
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                if not line.strip():
                    continue
                self.broken = True
                break
            if type(event) is not dict:
                self.broken = True
                break
            events.append(event)
        if self._lines.overlong:
            self.broken = True
        return events
