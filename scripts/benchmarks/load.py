"""The load generator, a process of its own: `python -m benchmarks.load` reads a `Load` as JSON and prints a `Result`.

A closed loop keeps so many requests on their way; an open loop sends at fixed moments and counts from those, however
late an answer before it was; paced streams are watched chunk by chunk; held requests are there to be weighed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import orjson
import uvloop
from pydantic import TypeAdapter

from benchmarks import metronome, proc, wire
from benchmarks.client import Call, Connection, connect

_POOL = 512  # connections that an open loop may have; more requests than that unanswered are errors


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to send, and to whom."""

    kind: Literal["closed", "open", "streams", "held"]
    model: str  # what the upstream shall do, see wire.Behaviour
    stream: bool = False
    clients: int = 1  # of a closed loop; the streams; the held requests
    per_s: float = 0.0  # of an open loop
    warm_s: float = 0.0  # not measured
    seconds: float = 0.0  # measured
    limit_s: float = 30.0  # after which what has not been answered is an error
    port: int = 0
    key: str = ""
    upstream: int = 0  # its port, which tells when all held requests have reached it
    roots: dict[str, int] = field(default_factory=dict)  # the target's processes by name; children count


@dataclass(frozen=True)
class Spread:
    """Milliseconds."""

    p50: float
    p90: float
    p99: float
    most: float


@dataclass(kw_only=True)
class Result:
    answers: int = 0
    seconds: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    latency: Spread | None = None
    first: Spread | None = None  # a stream's first chunk
    late: Spread | None = None  # how late an open loop has sent: the generator's own fault
    lag: Spread | None = None  # of each chunk, from the upstream's write to our read
    chunks: int = 0
    stalled: int = 0  # streams with a 99.9th percentile of gaps over twice the pace
    widest_gap_ms: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    others_cores: float = 0.0  # kept busy meanwhile by what is no part of the bench: how far to trust the rest
    memory: dict[str, proc.Memory] = field(default_factory=dict)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Linear between neighbours; `ordered` is sorted and not empty."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(nanoseconds: Sequence[int]) -> Spread | None:
    if not nanoseconds:
        return None
    ordered = sorted(nanoseconds)
    p50, p90, p99 = (percentile(ordered, share) / 1e6 for share in (0.5, 0.9, 0.99))
    return Spread(p50, p90, p99, ordered[-1] / 1e6)


def gaps(seen: Sequence[int]) -> list[int]:
    return sorted(after - before for before, after in pairwise(seen))


def stalls(seen: Sequence[int], per_s: float) -> bool:
    """Whether a stream's 99.9th percentile of gaps is over twice its pace."""
    between = gaps(seen)
    return bool(between) and percentile(between, 0.999) > 2e9 / per_s


@dataclass(frozen=True)
class Used:
    """Processor seconds until a moment: by the target's processes, by the whole bench, by the whole machine."""

    moment: float
    target: dict[str, float]
    bench: float
    machine: float


class Generator:
    """One load under way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.plan = wire.behaviour(load.model)
        self.request = wire.request(load.model, port=load.port, key=load.key, stream=load.stream)
        self.trees = proc.trees(load.roots)
        self.bench = proc.tree(os.getppid())
        self.errors: Counter[str] = Counter()
        self.calls: list[Call] = []  # that were answered
        self.begun: list[Call] = []  # streams, answered or not: what they have brought has been paid for

    def used(self) -> Used:
        target = {name: proc.cpu_s(pids) for name, pids in self.trees.items()}
        return Used(time.monotonic(), target, proc.cpu_s(self.bench), proc.machine_cpu_s())

    def weighed(self) -> dict[str, proc.Memory]:
        return {name: proc.memory(pids) for name, pids in self.trees.items()}

    async def ask(self, connection: Connection) -> Call | None:
        """The answer, or nothing where it was wrong, which is counted."""
        answered = connection.ask(self.request, stream=self.load.stream)
        if self.load.stream and connection.call is not None:
            self.begun.append(connection.call)
        call = await answered
        error = call.error(self.plan.chunks)
        if error:
            self.errors[error] += 1
            return None
        return call

    async def open(self) -> Connection | None:
        try:
            return await connect(self.load.port)
        except OSError as error:
            self.errors[f"not connected: {error.strerror}"] += 1
            return None

    async def settle(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for what is under way, but not beyond the limit."""
        if not tasks:
            return
        done, unanswered = await asyncio.wait(tasks, timeout=self.load.limit_s)
        for task in unanswered:
            task.cancel()
        if unanswered:
            self.errors[f"unanswered after {self.load.limit_s:g} s"] += len(unanswered)
        for task in done:
            task.result()

    async def closed(self) -> Result:
        begun = asyncio.get_running_loop().time()
        until = begun + self.load.warm_s + self.load.seconds

        async def client() -> None:
            connection: Connection | None = None
            while asyncio.get_running_loop().time() < until:
                if connection is None or not connection.usable:
                    connection = await self.open()
                call = await self.ask(connection) if connection is not None else None
                if call is None:
                    await asyncio.sleep(0.02)  # a target that refuses is not hammered
                else:
                    self.calls.append(call)
            if connection is not None:
                connection.close()

        clients = [asyncio.create_task(client()) for _ in range(self.load.clients)]
        await asyncio.sleep(self.load.warm_s)
        self.calls.clear()
        before = self.used()
        await asyncio.sleep(until - asyncio.get_running_loop().time())
        after = self.used()
        calls = self.calls.copy()
        await self.settle(clients)
        return self.result(calls, before, after)

    async def open_loop(self) -> Result:
        idle: list[Connection] = []
        late: list[int] = []
        opened = 0

        async def one(due: int) -> None:
            nonlocal opened
            while idle and not idle[-1].usable:
                idle.pop()
                opened -= 1
            if not idle and opened == _POOL:
                self.errors[f"more than {_POOL} unanswered"] += 1
                return
            if idle:
                connection: Connection | None = idle.pop()
            else:
                opened += 1
                connection = await self.open()
            if connection is None:
                opened -= 1
                return
            late.append(time.monotonic_ns() - due)
            call = await self.ask(connection)
            idle.append(connection)
            if call is not None:
                call.sent_ns = due
                self.calls.append(call)

        tasks: list[asyncio.Task[None]] = []
        warm = round(self.load.warm_s * self.load.per_s)
        count = round(self.load.seconds * self.load.per_s)
        before = self.used()
        measured_from = 0
        async for due in metronome.ticks(self.load.per_s, warm + count):
            if len(tasks) == warm:
                before, measured_from = self.used(), due
                late.clear()
            tasks.append(asyncio.create_task(one(due)))
        await self.settle(tasks)
        for connection in idle:
            connection.close()
        calls = [call for call in self.calls if call.sent_ns >= measured_from]
        result = self.result(calls, before, self.used())
        result.late = spread(late)
        return result

    async def streams(self) -> Result:
        async def one(number: int) -> None:
            # Spread over a second, or all would tick together.
            await asyncio.sleep(number / self.load.clients)
            connection = await self.open()
            if connection is None:
                return
            call = await self.ask(connection)
            connection.close()
            if call is not None:
                self.calls.append(call)

        before = self.used()
        await self.settle([asyncio.create_task(one(number)) for number in range(self.load.clients)])
        return self.result(self.calls, before, self.used())

    async def held(self) -> Result:
        """Weighs the target once every request has reached the upstream, then lets them be answered."""
        before = self.used()

        async def one() -> None:
            connection = await self.open()
            call = await self.ask(connection) if connection is not None else None
            if call is not None:
                self.calls.append(call)

        tasks = [asyncio.create_task(one()) for _ in range(self.load.clients)]
        await self._reached(self.load.clients)
        weighed = self.weighed()
        await self.settle(tasks)
        result = self.result(self.calls, before, self.used())
        result.memory = weighed
        return result

    async def _reached(self, count: int) -> None:
        asking = b"GET /stats HTTP/1.1\r\nHost: upstream\r\n\r\n"
        upstream = await connect(self.load.upstream)
        deadline = time.monotonic() + self.load.limit_s
        most = 0
        while most < count and time.monotonic() < deadline:
            most = orjson.loads((await upstream.ask(asking, stream=False)).body)["in_flight"]
            await asyncio.sleep(0.05)
        upstream.close()
        if most < count:
            self.errors[f"only {most} of {count} requests reached the upstream together"] += 1

    def result(self, calls: Sequence[Call], before: Used, after: Used) -> Result:
        seconds = after.moment - before.moment
        others = after.machine - before.machine - (after.bench - before.bench)
        streams = [call for call in self.begun if call.seen_chunks]
        lags = [seen - sent for call in streams for sent, seen in zip(call.sent_chunks, call.seen_chunks, strict=True)]
        firsts = [call.seen_chunks[0] - call.sent_ns for call in calls if call.seen_chunks]
        return Result(
            answers=len(calls),
            seconds=seconds,
            errors=dict(self.errors),
            latency=spread([call.ended_ns - call.sent_ns for call in calls]),
            first=spread(firsts),
            lag=spread(lags),
            chunks=len(lags),
            stalled=sum(stalls(call.seen_chunks, self.plan.per_s) for call in streams) if self.plan.per_s else 0,
            widest_gap_ms=max((gap / 1e6 for call in streams for gap in gaps(call.seen_chunks)[-1:]), default=0.0),
            cpu_s={name: after.target[name] - before.target[name] for name in after.target},
            others_cores=max(0.0, others / seconds),
            memory=self.weighed(),
        )


async def run(load: Load) -> Result:
    generator = Generator(load)
    kinds: dict[str, Callable[[], Awaitable[Result]]] = {
        "closed": generator.closed,
        "open": generator.open_loop,
        "streams": generator.streams,
        "held": generator.held,
    }
    return await kinds[load.kind]()


if __name__ == "__main__":
    gc.disable()  # a pause of the collector would be booked on whoever is measured
    asked = TypeAdapter(Load).validate_json(sys.stdin.buffer.read())
    print(orjson.dumps(uvloop.run(run(asked))).decode())
