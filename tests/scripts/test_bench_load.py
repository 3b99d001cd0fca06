"""The load generator against the mock upstream, through the bare proxy, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from benchmarks import bare, proc, wire
from benchmarks.client import connect
from benchmarks.load import Load, Result, run
from benchmarks.upstream import Counts, Upstream
from benchmarks.wire import Behaviour

WHOLE = Behaviour().model


async def _listening(protocol: Callable[[], asyncio.Protocol]) -> int:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=1024)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _upstream() -> int:
    counts = Counts()
    return await _listening(lambda: Upstream(counts))


async def _proxied() -> int:
    upstream = await _upstream()
    idle: bare.Idle = bare.Idle()
    return await _listening(lambda: bare.Caller(idle, upstream))


def _loaded(target: Callable[[], Awaitable[int]], **fields: object) -> Result:
    async def both() -> Result:
        port = await target()
        return await run(Load(port=port, key="k", limit_s=10, **fields))  # type: ignore[arg-type]

    return uvloop.run(both())


targets = pytest.mark.parametrize("target", [_upstream, _proxied], ids=["direct", "bare"])


@targets
def test_a_closed_loop_counts_answers_and_processor_seconds(target: Callable[[], Awaitable[int]]) -> None:
    result = _loaded(target, kind="closed", model=WHOLE, clients=8, warm_s=0.05, seconds=0.3, roots={"us": os.getpid()})
    assert result.errors == {}
    assert result.answers > 100
    assert result.latency is not None
    assert result.cpu_s["us"] > 0
    assert result.memory["us"].rss > 1_000_000


@targets
def test_an_open_loop_sends_as_many_as_it_was_told(target: Callable[[], Awaitable[int]]) -> None:
    result = _loaded(target, kind="open", model=WHOLE, per_s=200, warm_s=0.1, seconds=0.25)
    assert result.errors == {}
    assert result.answers == 50


def test_an_open_loop_counts_from_the_moment_a_request_was_due() -> None:
    # One answer at a time, 20 ms each, 200 of them a second: the last has waited for all before it.
    result = _loaded(_one_at_a_time, kind="open", model=WHOLE, per_s=200, seconds=0.1)
    assert result.errors == {}
    assert result.latency is not None
    assert result.latency.most > 300


async def _one_at_a_time() -> int:
    turn = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(wire.REQUEST_BYTES)
        async with turn:
            await asyncio.sleep(0.02)
        writer.write(wire.answer(WHOLE).replace(b"OK\r\n", b"OK\r\nConnection: close\r\n", 1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


@targets
def test_every_chunk_of_a_paced_stream_is_seen_once_and_later_than_it_was_sent(
    target: Callable[[], Awaitable[int]],
) -> None:
    model = Behaviour(chunks=10, per_s=200).model
    result = _loaded(target, kind="streams", model=model, stream=True, clients=5)
    assert result.errors == {}
    assert (result.answers, result.chunks) == (5, 50)
    assert result.lag is not None
    assert result.lag.p50 > 0


def test_a_first_chunk_is_timed_from_the_moment_its_request_was_due() -> None:
    result = _loaded(_upstream, kind="open", model=Behaviour(delay_ms=30).model, stream=True, per_s=50, seconds=0.1)
    assert result.errors == {}
    assert result.first is not None
    assert result.first.p50 >= 29


def test_held_requests_are_weighed_while_all_of_them_wait() -> None:
    async def both() -> Result:
        port = await _upstream()
        model = Behaviour(delay_ms=600).model
        return await run(
            Load(kind="held", model=model, clients=40, port=port, upstream=port, roots={"us": os.getpid()})
        )

    result = uvloop.run(both())
    assert result.errors == {}
    assert result.answers == 40
    assert result.memory["us"].pss > 0


def test_requests_that_arrive_at_once_are_answered_in_their_order() -> None:
    async def ask() -> bytes:
        port = await _upstream()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        slow, fast = Behaviour(delay_ms=50).model, Behaviour(chunks=7).model
        for model in (slow, fast):
            writer.write(wire.request(model, port=port, key="k", stream=False))
        answers = await reader.readexactly(len(wire.answer(slow) + wire.answer(fast)))
        writer.close()
        return answers

    assert uvloop.run(ask()) == wire.answer(Behaviour(delay_ms=50).model) + wire.answer(Behaviour(chunks=7).model)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", 200, id="models"),
        pytest.param(b"GET /v1/else HTTP/1.1\r\nHost: a\r\n\r\n", 404, id="elsewhere"),
        pytest.param(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 400, id="without a model"
        ),
    ],
)
def test_the_upstream_answers_what_else_is_asked(request_bytes: bytes, status: int) -> None:
    async def ask() -> int:
        connection = await connect(await _upstream())
        call = await connection.ask(request_bytes, stream=False)
        connection.close()
        return call.status

    assert uvloop.run(ask()) == status


_EVENTS = wire.events(WHOLE)
_CHUNKS = b"".join(_EVENTS.chunk() for _ in range(30))


@pytest.mark.parametrize(
    ("stream", "answer", "error"),
    [
        pytest.param(False, wire.respond(b'{"error": {"code": "overloaded"}}', "503 Busy"), "503 overloaded", id="503"),
        pytest.param(False, wire.respond(b"oh", "500 Oh"), "500 without a code", id="500 without JSON"),
        pytest.param(
            False, wire.answer(WHOLE)[:-50], "connection closed before the answer's end", id="a body that is cut"
        ),
        pytest.param(False, wire.respond(b"{}"), "answer cut short", id="another answer"),
        pytest.param(False, b"", "connection closed before the answer's end", id="a hang-up"),
        pytest.param(False, b"no HTTP at all\r\n\r\n", "not HTTP", id="another protocol"),
        pytest.param(True, wire.STREAM_HEAD + _CHUNKS + _EVENTS.end[-5:], "stream without [DONE]", id="no [DONE]"),
        pytest.param(True, wire.STREAM_HEAD + _EVENTS.chunk() + _EVENTS.end, "chunks lost", id="lost chunks"),
        pytest.param(True, wire.STREAM_HEAD + _CHUNKS, "connection closed", id="a stream that is cut"),
        pytest.param(
            True,
            wire.STREAM_HEAD + wire.chunked(b'data: {"error": {"code": "worker_lost"}}\n\n') + _EVENTS.end,
            "error in the stream: worker_lost",
            id="an error in the stream",
        ),
    ],
)
def test_whatever_is_wrong_with_an_answer_is_counted_by_its_kind(stream: bool, answer: bytes, error: str) -> None:
    async def target() -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(wire.REQUEST_BYTES)
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    result = _loaded(target, kind="streams", model=WHOLE, stream=stream, clients=1)
    assert result.answers == 0
    ((kind, count),) = result.errors.items()
    assert kind.startswith(error)
    assert count == 1


def test_a_target_that_is_not_there_is_an_error_and_not_a_crash() -> None:
    async def nobody() -> int:
        return 1

    result = _loaded(nobody, kind="closed", model=WHOLE, clients=2, seconds=0.1)
    assert result.answers == 0
    assert sum(result.errors.values()) >= 2


def test_what_is_not_answered_in_time_is_an_error() -> None:
    async def both() -> Result:
        port = await _upstream()
        load = Load(kind="streams", model=Behaviour(chunks=300, per_s=30).model, stream=True, clients=3)
        return await run(Load(**{**vars(load), "port": port, "limit_s": 1.5}))

    result = uvloop.run(both())
    assert result.errors == {"unanswered after 1.5 s": 3}
    assert result.chunks > 3  # what has come of them counts all the same


def test_a_process_tree_is_summed_with_its_root() -> None:
    assert proc.tree(os.getpid())[0] == os.getpid()
    assert proc.cpu_s([os.getpid()]) > 0
    assert proc.cpu_s([2**22 + 1]) == 0
