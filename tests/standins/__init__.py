"""Servers that speak a provider's true wire on loopback, say what a test tells them to, and fail on demand.

Each file here stands in for the adapter of its name and has a class `Server`; tests find it by that name. To have one
by itself, for a look or a load test: `python -m tests.standins.openai 8099`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import orjson
from aiohttp import web


@dataclass(frozen=True)
class Reply:
    """What the model says, in no provider's words."""

    text: str = "Hello! How can I help you?"
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()  # tools by name, with their arguments
    finish: Literal["stop", "length"] = "stop"  # a tool call ends with what the wire says for it
    usage: tuple[int, int] | None = (11, 7)  # prompt and completion tokens

    def pieces(self) -> list[str]:
        """The text as tokens, about."""
        return _cut(self.text, 6)


@dataclass(frozen=True)
class Turn:
    """A message as a server understood it."""

    role: str
    text: str
    images: tuple[str, ...] = ()  # base64
    calls: tuple[tuple[str, Any], ...] = ()
    tool: str = ""  # whose result this is


@dataclass(frozen=True)
class Heard:
    """A request as a server understood it: equal for two wires when the adapters kept its meaning."""

    turns: tuple[Turn, ...] = ()
    tools: tuple[Any, ...] = ()  # function objects
    schema: Any = None
    json: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def gathered(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """What becomes of turns at a provider with one system text, where user and assistant take turns, and which wants
    the results of tools in the order of the calls."""
    systems = [turn for turn in turns if turn.role == "system"]
    merged = [Turn("system", "\n".join(turn.text for turn in systems))] if systems else []
    called: list[str] = []
    for turn in turns:
        if turn.role == "system":
            continue
        last = merged[-1] if merged else None
        if last is None or turn.role == "tool" or turn.role != last.role:
            merged.append(turn)
        else:
            text = "\n".join(each.text for each in (last, turn) if each.text)
            merged[-1] = Turn(turn.role, text, last.images + turn.images, last.calls + turn.calls)
        if turn.role == "assistant":
            called = [name for name, _ in merged[-1].calls]
        elif turn.role == "tool":
            # In its place among the results of the same turn.
            at = len(merged) - 1
            while at and merged[at - 1].role == "tool" and called.index(merged[at - 1].tool) > called.index(turn.tool):
                at -= 1
            merged.insert(at, merged.pop())
    return tuple(merged)


FaultKind = Literal["status", "hang", "reset", "stall", "cut", "garbage", "silent end", "error inside", "flood"]


@dataclass(frozen=True, eq=False)
class Fault:
    """What goes wrong.

    status: an error instead of an answer. hang: no byte at all. reset: the connection is closed before the answer. The
    others happen after `after` events of a stream, or in the middle of a whole answer; flood repeats the last for ever.
    """

    kind: FaultKind
    status: int = 0
    error: Any = None  # of "status" and "error inside": what stands under `error`; None: the wire's usual
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # of "status" and "garbage": exactly these bytes
    after: int = 2


class StandIn:
    """The server. A subclass gives the wire: its routes, its frames, its errors."""

    paths: Sequence[str] = ()  # of its POST routes
    base = ""  # what a provider's base_url has behind the host
    content_type = "application/json"  # of its streams
    after_finish = 0  # frames of a stream behind the one that ends its last choice, when usage was not asked for
    alternates = False  # whether turns reach it as `gathered` puts them
    names_calls = True  # whether it gives tool calls their ids; else the adapter does

    def __init__(self) -> None:
        self.reply = Reply()
        self.fault: Fault | None = None
        self.quirks: frozenset[str] = frozenset()
        self.piece_bytes = 0  # streams leave in pieces of this size; 0: an event at a time
        self.pause_s = 0.0  # after each piece
        self.told: Mapping[str, str] = {}  # headers of every answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def connections(self) -> int:
        """Sockets that clients hold open."""
        assert self._runner is not None and self._runner.server is not None
        return len(self._runner.server.connections)

    # What a wire is.

    def heard(self, body: dict[str, Any]) -> Heard:
        """A chat request by its meaning."""
        raise NotImplementedError

    def whole(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def frames(self, path: str, body: dict[str, Any]) -> list[bytes]:
        raise NotImplementedError

    def frame(self, event: Any) -> bytes:
        raise NotImplementedError

    def streamed(self, body: dict[str, Any]) -> bool:
        raise NotImplementedError

    def error(self, status: int) -> Any:
        """What usually stands under `error` with this status."""
        raise NotImplementedError

    def model_list(self) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    def refusal(self, error: Any) -> Any:
        """A whole answer that is this error."""
        return {"error": error}

    def key(self, headers: Mapping[str, str]) -> str | None:
        """The key that a request presents."""
        authorization = headers.get("Authorization")
        return None if authorization is None else authorization.removeprefix("Bearer ")

    def body(self, request: web.Request, raw: bytes) -> dict[str, Any]:
        """The body, and what else the wire says elsewhere."""
        body: dict[str, Any] = orjson.loads(raw)
        return body

    def add_routes(self, app: web.Application) -> None:
        for path in self.paths:
            app.router.add_post(path, self._answer)
        list_path, _ = self.model_list()
        app.router.add_get(list_path, self._models)

    # What all of them do.

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        self.add_routes(app)
        app.on_response_prepare.append(self._tell)
        # With cancellation a handler that waits for ever ends as soon as its client hangs up.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{bound}"

    async def _tell(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self.told)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        if self.fault is not None and self.fault.kind == "status":
            return self._refuse(self.fault)
        return _json(self.model_list()[1])

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = self.body(request, await request.read())
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        fault = self.fault
        if fault is not None:
            if fault.kind == "status":
                return self._refuse(fault)
            if fault.kind == "hang":
                await _for_ever()
            if fault.kind == "reset":
                _abort(request)
                return web.Response()
        if self.streamed(body):
            return await self._stream(request, body, fault)
        return await self._send_whole(request, body, fault)

    def _refuse(self, fault: Fault) -> web.Response:
        raw = fault.raw
        if raw is None:
            error = self.error(fault.status) if fault.error is None else fault.error
            raw = orjson.dumps(self.refusal(error))
        return web.Response(status=fault.status, body=raw, headers=fault.headers, content_type="application/json")

    async def _send_whole(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        answer = self.whole(request.path, body)
        if fault is None or fault.kind == "silent end":
            return _json(answer)
        if fault.kind == "error inside":
            return _json(self.refusal(self.error(500) if fault.error is None else fault.error))
        if fault.kind == "garbage":
            return web.Response(body=fault.raw or b"<html>no JSON</html>", content_type="application/json")
        raw = orjson.dumps(answer)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(raw))})
        await response.prepare(request)
        await response.write(raw[: len(raw) // 2])
        if fault.kind == "stall":
            await _for_ever()
        _abort(request)
        return response

    async def _stream(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        frames = self.frames(request.path, body)
        response = web.StreamResponse(headers={"Content-Type": self.content_type})
        await response.prepare(request)
        if fault is not None:
            frames = frames[: fault.after]
            if fault.kind == "garbage":
                frames.append(self.frame(None) if fault.raw is None else fault.raw)
            elif fault.kind == "error inside":
                frames.append(self.frame({"error": self.error(500) if fault.error is None else fault.error}))
        for piece in self._pieces(frames):
            await response.write(piece)
            await asyncio.sleep(self.pause_s)  # the client's turn: pieces leave one by one
        while fault is not None and fault.kind == "flood":
            await response.write(frames[-1] * 100)
            await asyncio.sleep(0)
        if fault is not None and fault.kind == "stall":
            await _for_ever()
        if fault is not None and fault.kind == "cut":
            _abort(request)
            return response
        await response.write_eof()
        return response

    def _pieces(self, frames: list[bytes]) -> Iterator[bytes]:
        if not self.piece_bytes:
            yield from frames
            return
        whole = b"".join(frames)
        for start in range(0, len(whole), self.piece_bytes):
            yield whole[start : start + self.piece_bytes]


def vector(text: str, dimensions: int | None) -> list[float]:
    """An embedding: always the same for a text, exact as 32-bit floats."""
    numbers = [((ord(letter) * (place + 3)) % 64 - 32) / 64 for place, letter in enumerate((text * 8)[:8] or "·" * 8)]
    return numbers[: dimensions or 8]


def _cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _serve(server: StandIn, port: int) -> None:
    await server.start(port)
    await _for_ever()


def serve(kind: type[StandIn]) -> None:
    """Runs one by itself on the port that the command line names, until it is interrupted."""
    try:
        asyncio.run(_serve(kind(), int(sys.argv[1])))
    except KeyboardInterrupt:
        return
