"""Mends what nobody else will, four times a second: ended leases, due retries, overdue jobs, lost messages."""

from __future__ import annotations

import asyncio

import structlog

from mesh import store
from mesh.reload import Reloaded
from mesh.settings import Config
from mesh.wire import Refused
from workers.pipe import Pipe

log = structlog.get_logger()

EVERY_S = 0.25  # a retry is never much later than its back-off


async def reap(pipe: Pipe, settings: Reloaded[Config]) -> None:
    """Reap until cancelled. Any number of reapers may run at once."""
    providers: dict[str, None] = {}  # all that there ever were: jobs may wait for one that config has lost
    while True:
        providers |= dict.fromkeys(settings.current.providers)
        try:
            done = await pipe.do(store.reap(providers, max_attempts=settings.current.lanes.max_attempts))
        except Refused as error:
            log.error("reaper_refused", why=str(error))
        else:
            if done:
                log.info(
                    "reaped",
                    leases_ended=done.leases_ended,
                    retries_rung=done.retries_rung,
                    overdue_closed=done.overdue_closed,
                    messages_rung=done.messages_rung,
                    pulls_rung=done.pulls_rung,
                )
        await asyncio.sleep(EVERY_S)
