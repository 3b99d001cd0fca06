"""A pull in its provider's worker: the provider fetches, and we tell of it in the pull's record.

The Celery message is only the doorbell. Who does a pull is who holds its lease, which each word prolongs: a worker that
stops gives its pull back, and one that dies has it taken from it by the reaper. The provider goes on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from mesh import store
from mesh.errors import GatewayError
from mesh.logs import frames
from mesh.pull import Progress, PullState
from workers.pipe import Pipe
from workers.providers import Provider

log = structlog.get_logger()

TELL_S = 1.0
_LONGEST_STATUS = 200  # characters of the provider's own words


class Pulling:
    """One pull that this worker has taken.

    ask: has the provider tell what models it has, so that a pull which is done is in the list.
    """

    def __init__(
        self,
        pipe: Pipe,
        boot: str,
        pull_id: str,
        provider: Provider,
        model: str,
        ask: Callable[[Provider], Awaitable[None]],
    ) -> None:
        self._pipe = pipe
        self._boot = boot
        self._id = pull_id
        self._provider = provider
        self._model = model
        self._ask = ask
        self._progress = Progress()

    async def run(self) -> None:
        """Returns when it has ended, or another worker has it. Cancelled, it gives the pull back."""
        following = asyncio.ensure_future(self._follow())
        try:
            while not following.done():
                await asyncio.wait([following], timeout=TELL_S)
                if not following.done() and not await self._tell("running"):
                    log.warning("pull_lost", pull=self._id)
                    return
            await self._end(following)
        except asyncio.CancelledError:
            await self._tell("queued")
            raise
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._provider.pull(self._model)) as steps:
            async for self._progress in steps:
                pass
        await self._ask(self._provider)

    async def _end(self, following: asyncio.Future[None]) -> None:
        error = following.exception()
        if error is None:
            await self._tell("done")
        elif isinstance(error, GatewayError):
            await self._tell("failed", error)
        else:
            log.error("pull_broke", pull=self._id, why=type(error).__name__, frames=frames(error))
            await self._tell("failed", GatewayError("The gateway failed at this; its worker's log has the reason."))
        log.info("pull_ended", pull=self._id, provider=self._provider.name, why=type(error).__name__ if error else None)

    async def _tell(self, state: PullState, error: GatewayError | None = None) -> bool:
        """Whether the pull is ours, or was."""
        told = Progress(
            self._progress.status[:_LONGEST_STATUS], self._progress.completed_bytes, self._progress.total_bytes
        )
        return await self._pipe.do(store.pulling(self._id, self._boot, state, told, error)) is not None
