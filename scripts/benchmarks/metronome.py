"""Ticks at a fixed rate, exact to tens of microseconds: an event loop's own timers are whole milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import time
from collections.abc import AsyncIterator

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1


async def ticks(per_s: float, count: int) -> AsyncIterator[int]:
    """Yield for each of `count` ticks the moment it was due (monotonic, ns), not before it; late ones come at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    period = round(1e9 / per_s)
    first = time.monotonic_ns() + period
    setting = struct.pack("@4l", *divmod(period, 1_000_000_000), *divmod(first, 1_000_000_000))
    due: asyncio.Queue[int] = asyncio.Queue()

    def expired() -> None:
        (times,) = struct.unpack("@Q", os.read(timer, 8))
        for _ in range(times):
            due.put_nowait(0)

    loop = asyncio.get_running_loop()
    try:
        if libc.timerfd_settime(timer, _ABSOLUTE, setting, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        loop.add_reader(timer, expired)
        for number in range(count):
            await due.get()
            yield first + number * period
    finally:
        loop.remove_reader(timer)
        os.close(timer)
