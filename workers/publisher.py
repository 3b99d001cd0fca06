"""Writes one job's events, in order, with at most one write under way.

Events that come while a write is under way leave together in the next one, so a fast stream makes large writes and a slow one
is never delayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mesh import store
from mesh.events import Event, Kind
from mesh.job import Claim
from mesh.seal import JobSeal
from workers.pipe import Pipe

_MOST_AT_ONCE = 500
_MOST_WAITING = 2_000  # events; above this the provider has to wait for Redis


class Publisher:
    """
    stop: called with "lost" when the job is somebody else's now, or with the reason for which it should stop.
    """

    def __init__(self, claim: Claim, seal: JobSeal, pipe: Pipe, stop: Callable[[str], None]) -> None:
        self._claim = claim
        self._seal = seal
        self._pipe = pipe
        self._stop = stop
        self._next = claim.seq + 1  # the number of the next event
        self._waiting: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self.said = False  # whether a client may have seen something of the answer

    async def add(self, event: Event) -> None:
        number = self._next + len(self._waiting)
        self._waiting.append(self._seal.seal(f"event:{number}", event.dump()))
        if event.kind is Kind.DELTA:
            self.said = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())
        elif len(self._waiting) > _MOST_WAITING:
            await self.drained()

    async def _write(self) -> None:
        while self._waiting:
            leaving, first = self._waiting[:_MOST_AT_ONCE], self._next
            del self._waiting[:_MOST_AT_ONCE]
            self._next += len(leaving)
            word = await self._pipe.do(store.append(self._claim.id, self._claim.fence, first, self.said, leaving))
            if word != "ok":
                self._stop(word)

    async def drained(self) -> None:
        """Wait until everything that was added has been written."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
