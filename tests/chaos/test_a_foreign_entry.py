"""What a web process does with an entry on its reply channel that it cannot read, as a newer worker's might be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.chaos.conftest import Gateway, names
from tests.chaos.upstream import Wish
from tests.conftest import wait_until


def test_entries_that_cannot_be_read_delay_an_answer_and_lose_none(gateway: Gateway) -> None:
    caller = gateway.caller(gateway.start_web())
    gateway.start_worker()
    (door,) = names(gateway, "gw:door:*")
    channel = door.replace("gw:door:", "gw:replies:")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(caller.ask, Wish("read", holds=1))
        wait_until(lambda: gateway.upstream.calls["read"], what="it runs")
        (job,) = names(gateway, "gw:job:*")
        for entry in (job.removeprefix("gw:job:") + " 1?new words", "no-such-job", "", "\x00"):
            gateway.redis.admin().rpush(channel, entry)
        gateway.upstream.release("read")
        assert asking.result(20).right
    assert caller.ask(Wish("after")).right
