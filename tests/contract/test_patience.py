"""Waiting has an end, and only waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

import pytest

from tests.contract.exchange import run
from workers.transports.patience import Patience


async def _nothing() -> None:
    await asyncio.Event().wait()


async def _wait(patience: Patience, awaitable: Awaitable[object], limit_s: float) -> None:
    patience.begin(limit_s)
    try:
        await awaitable
        patience.end()
    except asyncio.CancelledError:
        if patience.ran_out():
            raise TimeoutError from None
        raise


def test_a_wait_that_is_too_long_ends_in_time() -> None:
    async def main() -> float:
        patience = Patience(10)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await _wait(patience, _nothing(), 0.1)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        return time.monotonic() - begun

    assert 0.09 < run(main()) < 1


def test_many_short_waits_are_no_long_one() -> None:
    async def main() -> None:
        patience = Patience(10)
        for _ in range(30):
            await _wait(patience, asyncio.sleep(0.01), 0.1)
        patience.close()

    run(main())


def test_a_shorter_limit_after_a_longer_one_holds() -> None:
    async def main() -> float:
        patience = Patience(10)
        await _wait(patience, asyncio.sleep(0), 5)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await _wait(patience, _nothing(), 0.05)
        return time.monotonic() - begun

    assert run(main()) < 1


def test_the_total_ends_waits_that_are_each_short() -> None:
    async def main() -> int:
        patience = Patience(0.2)
        waits = 0

        async def wait_on() -> None:
            nonlocal waits
            while True:
                await _wait(patience, asyncio.sleep(0.01), 5)
                waits += 1

        with pytest.raises(TimeoutError):
            await wait_on()
        return waits

    assert run(main()) < 25


def test_a_wait_after_the_total_ends_at_once() -> None:
    async def main() -> None:
        patience = Patience(0.01)
        await asyncio.sleep(0.02)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await _wait(patience, asyncio.sleep(0), 5)

    run(main())


def test_time_between_waits_does_not_count_as_silence() -> None:
    async def main() -> None:
        patience = Patience(10)
        await _wait(patience, asyncio.sleep(0), 0.05)
        await asyncio.sleep(0.15)
        await _wait(patience, asyncio.sleep(0), 0.05)
        patience.close()

    run(main())


def test_a_cancel_from_outside_stays_a_cancel() -> None:
    async def main() -> None:
        async def wait() -> None:
            await _wait(Patience(10), _nothing(), 5)

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_cancel_between_waits_is_not_ours() -> None:
    async def main() -> None:
        patience = Patience(10)
        await _wait(patience, asyncio.sleep(0), 0.02)
        await asyncio.sleep(0.05)  # the timer rings here, and nobody waits
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
        patience.close()

    run(main())
