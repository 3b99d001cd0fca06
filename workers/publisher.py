"""Writes the events of a worker's jobs, in order, with at most one write under way.

What comes while a write is under way, of one job or of three hundred, leaves together in the next one, and a script
call is paid once for all that piled up. While few speak, nobody is delayed. After a write for several jobs the next one
waits for a moment: each round trip costs worker, Redis and door more than what it carries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from mesh import events, store
from mesh.events import Event, Kind
from mesh.job import Claim
from mesh.seal import JobSeal
from mesh.wire import Refused
from workers.pipe import Pipe

log = structlog.get_logger()

_SEVERAL = 4  # jobs in one write, from which on the next write waits
_GATHER_S = 0.003
_MOST_AT_ONCE = 500  # events in one write
_MOST_WAITING = 2_000  # events of one job; above this its provider has to wait for Redis


class Outbox:
    """What all jobs of this worker have to say, on its way to Redis."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._waiting: dict[Publisher, None] = {}  # in the order in which they came
        self._writing: asyncio.Task[None] | None = None

    def put(self, publisher: Publisher) -> None:
        """Take what this publisher has, as soon as the write under way has ended."""
        self._waiting[publisher] = None
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                leaving: list[tuple[Publisher, store.Said]] = []
                count = 0
                while self._waiting and count < _MOST_AT_ONCE:
                    publisher = next(iter(self._waiting))
                    said = publisher.leave(_MOST_AT_ONCE - count)
                    count += said.events
                    leaving.append((publisher, said))
                    if not publisher.waiting:
                        del self._waiting[publisher]
                try:
                    words = await self._pipe.do(store.append([said for _, said in leaving]))
                except Refused as error:
                    log.error("events_refused", why=str(error))
                    words = ["lost"] * len(leaving)
                for (publisher, _), word in zip(leaving, words, strict=True):
                    publisher.left(word)
                if len(leaving) >= _SEVERAL and count < _MOST_AT_ONCE:
                    await asyncio.sleep(_GATHER_S)
        finally:
            self._writing = None


class Publisher:
    """One job's events.

    stop: called with "lost" when the job is somebody else's now, or with the reason for which it should stop.
    """

    def __init__(self, claim: Claim, seal: JobSeal, outbox: Outbox, stop: Callable[[str], None]) -> None:
        self._claim = claim
        self._seal = seal
        self._outbox = outbox
        self._stop = stop
        self._under_way = False
        self._drained: asyncio.Future[None] | None = None
        self.waiting: list[Event] = []
        self.last = claim.seq  # the number of the last event that was added
        self.said = False  # whether a client may have seen something of the answer

    async def add(self, event: Event) -> None:
        """Say this; while too much of the job waits for Redis, its provider has to wait as well."""
        if not self.put(event):
            await self.drained()

    def put(self, event: Event) -> bool:
        """Say this; whether more may come before what waits has been written."""
        self.last += 1
        self.waiting.append(event)
        if event.kind is Kind.DELTA:
            self.said = True
        self._outbox.put(self)
        return len(self.waiting) <= _MOST_WAITING

    def leave(self, most: int) -> store.Said:
        """What leaves now: at most so many events."""
        first = self.last - len(self.waiting) + 1
        if len(self.waiting) <= most:
            leaving, self.waiting = self.waiting, []
        else:
            leaving, self.waiting = self.waiting[:most], self.waiting[most:]
        self._under_way = True
        records = [(at, self._seal.seal(f"event:{at}", record)) for at, record in events.records(leaving, first)]
        return store.Said(self._claim.id, self._claim.fence, first, self.said, records)

    def left(self, word: str) -> None:
        """Redis has answered for what left."""
        self._under_way = False
        if word != "ok":
            self._stop(word)
        if self._drained is not None and not self.waiting:
            self._drained.set_result(None)
            self._drained = None

    async def drained(self) -> None:
        """Wait until everything that was added has been written."""
        if self.waiting or self._under_way:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)
