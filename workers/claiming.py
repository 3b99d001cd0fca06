"""Takes waiting jobs while there are free slots: a look at each lane, and a claim that stands behind it.

Both leave together on a connection of the lane's own. Redis holds the claim back until the look ends, and carries it
out in the very turn in which the lane's message came: the worker hears of a message by having its job, a trip and a
sync of Redis' disk sooner than if it asked only then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from mesh import lanes, store, wire
from mesh.job import Claim
from mesh.lanes import Lane
from mesh.wire import Refused
from workers.pipe import Pipe

log = structlog.get_logger()

_RETRY_S = 0.5


class Claiming:
    """
    Claims are numbered, and a number brings jobs once: of several lanes' claims with one number the first that finds
    any is carried out, and the others, made for slots that it has filled, bring nothing.

    served: the providers (name, private) as the settings have them now.
    free: how many slots are.
    begin: called with each job, and with when its claim was sent, by the loop's clock; its lease began no earlier.
    """

    def __init__(
        self,
        address: wire.Address,
        pipe: Pipe,
        boot: str,
        *,
        served: Callable[[], Sequence[tuple[str, bool]]],
        free: Callable[[], int],
        max_attempts: Callable[[], int],
        begin: Callable[[Claim, float], object],
    ) -> None:
        self._address = address
        self._pipe = pipe
        self._boot = boot
        self._served = served
        self._free = free
        self._max_attempts = max_attempts
        self._begin = begin
        self._number = 1  # of the claims that are made now
        self._turn = 0
        self._freed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for lane in (lane for name, _ in self._served() for lane in lanes.of_provider(name)):
                pipe = Pipe(self._address, f"{self._boot}-look-{lane.name}", resends=False)
                group.create_task(pipe.run())
                group.create_task(self._stand(lane, pipe))

    def freed(self) -> None:
        """A slot is free again."""
        self._freed.set()

    @property
    def closed(self) -> bool:
        return self._closing is not None

    def close(self) -> asyncio.Task[None]:
        """Take nothing more; done once nothing more can come."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self.start_over())
        return self._closing

    async def start_over(self) -> None:
        """Have the claims that stand bring nothing: they go by settings that are no longer in force."""
        number, asked_s = self._number, asyncio.get_running_loop().time()
        try:
            self._answered(number, await self._pipe.do(self._claim(number, free=0)), asked_s)
        except Refused as error:
            log.error("claim_refused", why=str(error))
        else:
            self._number = max(self._number, number + 1)

    async def _stand(self, lane: Lane, pipe: Pipe) -> None:
        loop = asyncio.get_running_loop()
        while not self.closed:
            if (free := self._free()) <= 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            number, asked_s = self._number, loop.time()
            try:
                claimed = await self._look(lane, pipe, self._claim(number, free))
            except Refused as error:
                log.error("claim_refused", lane=lane.name, why=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                self._answered(number, claimed, asked_s)

    async def _look(self, lane: Lane, pipe: Pipe, claim: store.Call[store.Claimed]) -> store.Claimed:
        """What the claim brought once the look before it had ended."""
        try:
            _, reply = await asyncio.gather(pipe.say(store.look(lane)), pipe.say(claim.args))
        except ConnectionError:  # it may have been carried out
            return await self._pipe.do(claim)
        return claim.read(reply)

    def _claim(self, number: int, free: int) -> store.Call[store.Claimed]:
        return store.claim(self._boot, number, free, self._turn, self._served(), max_attempts=self._max_attempts())

    def _answered(self, number: int, claimed: store.Claimed, asked_s: float) -> None:
        if number < self._number or not claimed.jobs:
            return  # said before, on another connection
        self._number, self._turn = number + 1, claimed.turn
        for claim in claimed.jobs:
            self._begin(claim, asked_s)
