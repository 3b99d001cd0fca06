"""Valkey killed, demoted, emptied, filled up and cut off, under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.chaos.callers import Answer, Load
from tests.chaos.conftest import Gateway, names
from tests.chaos.upstream import Wish
from tests.conftest import wait_until


@contextmanager
def repeated(every_s: float, *harm: str, gateway: Gateway) -> Iterator[list[Any]]:
    """An admin's command again and again, as long as the context lasts; its replies."""
    admin: Any = gateway.redis.admin()
    stop, replies = threading.Event(), []

    def go_on() -> None:
        while not stop.wait(every_s):
            replies.append(admin.execute_command(*harm))

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(go_on)
        try:
            yield replies
        finally:
            stop.set()
            going.result()


def pass_time(seconds: float) -> None:
    """Let an outage last: here the time itself is what is waited for."""
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > seconds, seconds + 1)


def more(load: Load, count: int) -> None:
    """Wait until so many more answers have come."""
    target = len(load.answers) + count
    wait_until(lambda: len(load.answers) >= target, 30, f"{count} more answers")


def right_again(gateway: Gateway, load: Load) -> list[Answer]:
    """The load's answers, after work has gone on and everything accepted has ended."""
    more(load, 30)
    answers = load.stop()
    gateway.settle()
    assert all(process.alive for process in gateway.stack.processes)
    return answers


def test_a_killed_valkey_loses_no_accepted_job(gateway: Gateway) -> None:
    gateway.start_worker()
    with Load(gateway.caller(gateway.start_web())) as load:
        for _ in range(2):
            more(load, 60)
            gateway.redis.kill()
            pass_time(2)
            gateway.redis.start()
        answers = right_again(gateway, load)
    gateway.check_each_done_once(answers)


def test_a_demoted_primary_for_ten_seconds_loses_no_job_and_no_worker(gateway: Gateway) -> None:
    gateway.start_worker()
    with Load(gateway.caller(gateway.start_web())) as load:
        more(load, 30)
        admin: Any = gateway.redis.admin()
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        pass_time(10)
        assert admin.info("replication")["role"] == "slave"
        admin.execute_command("REPLICAOF", "NO", "ONE")
        answers = right_again(gateway, load)
    gateway.check_each_done_once(answers)


def test_a_reply_channel_that_loses_its_entries_leaves_no_caller_waiting(gateway: Gateway) -> None:
    web = gateway.start_web()
    gateway.start_worker()
    (channel,) = [name.replace(":door:", ":replies:") for name in names(gateway, "gw:door:*")]
    # A deletion finds an entry only while the door is not waiting for one; a thief that waits beside it gets its share.
    with (
        Load(gateway.caller(web), blocking=9, streaming=3, later=0) as load,
        repeated(0.001, "DEL", channel, gateway=gateway),
        repeated(0.0, "BLMPOP", "0.2", "1", channel, "LEFT", gateway=gateway),
    ):
        wait_until(lambda: sum(answer.took_s > 4 for answer in load.answers) >= 12, 30, "twelve replies were missed")
        answers = load.stop()
    gateway.settle()
    assert all(answer.right for answer in answers)
    # A door looks for itself after 5 s; what ends just then may be missed once more.
    assert max(answer.took_s for answer in answers) < 12
    gateway.check_each_done_once(answers)


def test_connections_cut_every_150_ms_double_nothing(gateway: Gateway) -> None:
    gateway.start_worker()
    with Load(gateway.caller(gateway.start_web())) as load:
        more(load, 10)
        with repeated(0.15, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", gateway=gateway) as replies:
            wait_until(lambda: len(replies) >= 65, 30, "connections were cut for ten seconds")
        assert sum(map(int, replies)) >= 65
        answers = right_again(gateway, load)
    gateway.check_each_done_once(answers)


def test_a_full_valkey_refuses_new_jobs_and_ends_those_that_run(gateway: Gateway) -> None:
    caller = gateway.caller(gateway.start_web())
    gateway.start_worker()
    admin: Any = gateway.redis.admin()
    running = [Wish(f"running-{number}", holds=1) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(caller.ask, wish) for wish in running]
        wait_until(lambda: all(gateway.upstream.calls[wish.marker] for wish in running), what="all run")
        admin.config_set("maxmemory", int(admin.info("memory")["used_memory"]) // 2)
        # At once by the script's refusal, later by the door's own look.
        refused = [caller.ask(Wish("too-much")), caller.ask_later(Wish("too-much"))]
        for wish in running:
            gateway.upstream.release(wish.marker)
        answers = [each.result(20) for each in asking]
    refused.append(caller.ask(Wish("too-much")))
    assert all(answer.right for answer in answers)
    assert [answer.status for answer in refused] == [503] * 3
    gateway.settle()
    admin.config_set("maxmemory", 0)
    again: list[Answer] = []

    def taken() -> bool:
        again.append(caller.ask(Wish(f"again-{len(again)}")))
        return again[-1].status == 200

    wait_until(taken, 10, "jobs are taken again")
    gateway.settle()
    gateway.check_each_done_once([*answers, *refused, *again])


def test_jobs_whose_messages_are_lost_are_done_once(gateway: Gateway) -> None:
    caller = gateway.caller(gateway.start_web())
    later = [caller.ask_later(Wish(f"later-{number}")) for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        asking = [pool.submit(caller.ask, Wish(f"now-{number}")) for number in range(20)]
        admin: Any = gateway.redis.admin()
        wait_until(lambda: admin.llen("gw:openai") == 20, what="all wait")
        # All messages of one lane, and the newest, the oldest and some in the middle of the other.
        lost = [*admin.lpop("gw:openai.batch", 3), *admin.rpop("gw:openai.batch", 3), *admin.lpop("gw:openai", 20)]
        middle = admin.lrange("gw:openai.batch", 0, -1)[5]
        lost += [middle] * admin.lrem("gw:openai.batch", 1, middle)
        assert len(lost) == 27
        gateway.start_worker()
        answers = [each.result(25) for each in asking]
    gateway.settle()
    assert all(answer.right for answer in answers)
    gateway.check_each_done_once([*later, *answers])
    assert not admin.exists("gw:openai", "gw:openai.batch")
