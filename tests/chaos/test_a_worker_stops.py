"""A worker that freezes, and one that is told to end."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from tests.chaos.callers import text_of
from tests.chaos.conftest import Gateway
from tests.chaos.upstream import Wish
from tests.conftest import wait_until
from tests.stack import Process


def given_up(worker: Process) -> int:
    """Jobs of which a worker has seen that they are no longer its own."""
    return len(re.findall("lease_lost|answer_refused", worker.log.read_text()))


def test_a_frozen_workers_late_writes_are_refused(gateway: Gateway) -> None:
    caller = gateway.caller(gateway.start_web())
    frozen = gateway.start_worker()
    silent = Wish("silent", holds=1)
    begun = Wish("begun", holds=1, after=3, chunks=6)
    with ThreadPoolExecutor(1) as pool, caller.stream(begun) as (begun_id, entries):
        asking = pool.submit(caller.ask, silent)
        seen = [next(entries) for _ in range(3)]
        wait_until(lambda: gateway.upstream.calls["silent"], what="the upstream has both")
        frozen.freeze()
        successor = gateway.start_worker()
        answer = asking.result(25)
        seen += entries
    assert answer.right
    assert text_of(seen) == "".join(begun.pieces[:3])
    assert [entry.error["code"] for entry in seen if entry.error] == ["outcome_unknown"]
    rows, before = gateway.rows(), caller.job(answer.job_id)
    # Both upstream answers lie in the frozen worker's sockets when it thaws.
    gateway.upstream.release("silent")
    gateway.upstream.release("begun")
    frozen.thaw()
    wait_until(lambda: given_up(frozen) == 2, 20, "both are given up")
    assert gateway.rows() == rows
    assert caller.job(answer.job_id) == before
    assert gateway.upstream.calls == {"silent": 2, "begun": 1}
    with caller.events(begun_id, 0) as replayed:
        assert text_of(list(replayed)) == "".join(begun.pieces[:3])
    # It goes on working: alone now.
    assert successor.terminate() == 0
    assert caller.ask(Wish("afterwards")).right
    assert frozen.alive


def test_a_worker_told_to_end_ends_what_it_runs_and_leaves_the_rest_to_others(gateway: Gateway, tmp_path: Path) -> None:
    caller = gateway.caller(gateway.start_web())
    heartbeat = tmp_path / "heartbeat"
    worker = gateway.start_worker(GATEWAY_HEARTBEAT_FILE=str(heartbeat), GATEWAY_SLOTS="2")
    running = [Wish(f"running-{number}", holds=1) for number in range(2)]
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(caller.ask, wish) for wish in running]
        wait_until(lambda: all(gateway.upstream.calls[wish.marker] for wish in running), what="both run")
        waiting = [pool.submit(caller.ask, Wish(f"waiting-{number}")) for number in range(2)]
        wait_until(lambda: gateway.redis.admin().llen("gw:openai") == 2, what="two wait")
        worker.popen.send_signal(signal.SIGTERM)
        told = time.monotonic()
        oldest_s = 0.0

        def drained_for_a_while() -> bool:
            nonlocal oldest_s
            oldest_s = max(oldest_s, time.time() - heartbeat.stat().st_mtime)
            return time.monotonic() - told > 6

        wait_until(drained_for_a_while, 8)
        assert oldest_s < 4
        assert worker.alive
        assert gateway.redis.admin().llen("gw:openai") == 2
        gateway.start_worker()
        waited = [each.result(10) for each in waiting]
        for wish in running:
            gateway.upstream.release(wish.marker)
        answers = [each.result(10) for each in asking]
    assert worker.popen.wait(10) == 0
    assert all(answer.right for answer in (*answers, *waited))
    gateway.settle()
    gateway.check_each_done_once([*answers, *waited])
    assert {answer.headers["x-gateway-attempts"] for answer in (*answers, *waited)} == {"1"}


def test_what_cannot_end_within_the_grace_is_given_back_or_ended_with_a_reason(gateway: Gateway) -> None:
    caller = gateway.caller(gateway.start_web())
    worker = gateway.start_worker(GATEWAY_GRACE_S="1")
    silent = Wish("silent", holds=1)
    begun = Wish("begun", holds=1, after=3, chunks=6)
    with ThreadPoolExecutor(1) as pool, caller.stream(begun) as (begun_id, entries):
        asking = pool.submit(caller.ask, silent)
        seen = [next(entries) for _ in range(3)]
        wait_until(lambda: gateway.upstream.calls["silent"], what="the upstream has both")
        gateway.start_worker()
        assert worker.terminate(15) == 0
        answer = asking.result(10)
        seen += entries
    assert answer.right
    assert answer.headers["x-gateway-attempts"] == "1"
    assert [entry.error["code"] for entry in seen if entry.error] == ["stopping"], seen
    assert text_of(seen) == "".join(begun.pieces[:3])
    assert gateway.upstream.calls == {"silent": 2, "begun": 1}
    wait_until(lambda: gateway.upstream.hung_up == {"silent": 1, "begun": 1}, what="both calls were closed")
    gateway.settle()
    rows = gateway.rows()
    # The call that was closed had been sent: nobody knows what the provider bills for it.
    assert [each["outcome"] for each in orjson.loads(rows[answer.job_id]["attempts"])] == ["unknown", "done"]
    assert rows[begun_id]["state"] == "failed"
