"""An end to waiting for a stream, by one timer that is moved when it rings and not at every token."""

from __future__ import annotations

import asyncio
from typing import Any


class Patience:
    """Bounds one wait after another of one task, each with a limit of its own, and all of them with `total_s` from the
    first. Around each wait stand `begin` and `end`; a CancelledError out of it may be ours: `ran_out` tells.

    `asyncio.timeout` sets and clears a timer at each use, which costs more than parsing a token, and it must not be
    held across a `yield`. This one cancels the task only between `begin` and `end`.
    """

    __slots__ = (
        "_cancelling",
        "_end",
        "_loop",
        "_rang",
        "_rings_at",
        "_task",
        "_timer",
        "_until",
        "_waiting",
        "limit_s",
    )

    def __init__(self, total_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + total_s
        self._until = self._end
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0  # kept here: uvloop gives a handle without `when` for a moment that is past
        self.limit_s = total_s  # of the wait that was begun last
        self._waiting = False
        self._cancelling = 0
        self._rang = False

    def begin(self, limit_s: float) -> None:
        self.limit_s = limit_s
        until = self._loop.time() + limit_s
        self._until = until if until < self._end else self._end
        if self._timer is None or self._rings_at > self._until:
            self._move()
        self._cancelling = self._task.cancelling()
        self._waiting = True

    def again(self, limit_s: float) -> bool:
        """`end` and `begin` in one, from outside the task that waits; whether the total is not over."""
        self.limit_s = limit_s
        now = self._loop.time()
        until = now + limit_s
        self._until = until if until < self._end else self._end
        if self._rings_at > self._until:
            self._move()
        return now < self._end

    def end(self) -> None:
        """
        Raises:
            TimeoutError: the total is over; a provider that talks without a pause never lets the timer find us waiting.
        """
        self._waiting = False
        if self._loop.time() >= self._end:
            raise TimeoutError

    def ran_out(self) -> bool:
        """Whether the task was cancelled by this patience alone; then it is not cancelled any more."""
        self._waiting = False
        # Somebody else may have cancelled the task as well; then it is theirs.
        return self._rang and self._task.uncancel() <= self._cancelling

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
        if not self._waiting:
            return  # the next wait sets a timer again
        if self._loop.time() < self._until:
            self._move()
        elif not self._rang:
            self._rang = True
            self._task.cancel()
