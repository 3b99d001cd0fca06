"""An end to waiting for a stream, by one timer that is moved when it rings and not at every token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Patience:
    """Awaits one thing after another, each with a limit of its own, and all of them with `total_s` from the first.

    `asyncio.timeout` sets and clears a timer at each use, which costs more than parsing a token, and it must not be
    held across a `yield`. This one cancels the task only while it is inside `wait`.
    """

    __slots__ = ("_cancelling", "_end", "_loop", "_rang", "_rings_at", "_task", "_timer", "_total_s", "_until")

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + total_s
        self._until = self._end
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0  # kept here: uvloop gives a handle without `when` for a moment that is past
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._rang = False

    async def wait(self, awaitable: Awaitable[T], limit_s: float) -> T:
        """Raises:
        TimeoutError: it took longer than `limit_s`, or all of it longer than `total_s`.
        """
        self._until = min(self._loop.time() + limit_s, self._end)
        if self._timer is None or self._rings_at > self._until:
            self._move()
        task = self._task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        try:
            result = await awaitable
        except asyncio.CancelledError:
            # Somebody else may have cancelled the task as well; then it is theirs.
            if self._rang and task.uncancel() <= self._cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._task = None
        # A provider that talks without a pause never lets the timer find us waiting.
        if self._loop.time() >= self._end:
            raise TimeoutError
        return result

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _move(self) -> None:
        self.close()
        self._rings_at = self._until
        self._timer = self._loop.call_at(self._until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return  # nobody waits; the next wait sets a timer again
        if self._loop.time() < self._until:
            self._move()
        elif not self._rang:
            self._rang = True
            self._task.cancel()
