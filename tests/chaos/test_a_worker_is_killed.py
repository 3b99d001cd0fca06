"""kill -9 of a worker in mid-answer."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import orjson

from tests.chaos.callers import text_of
from tests.chaos.conftest import Gateway
from tests.chaos.upstream import Wish
from tests.conftest import wait_until


def test_a_killed_workers_silent_job_is_done_by_the_next_and_a_stream_that_had_begun_is_not_repeated(
    gateway: Gateway,
) -> None:
    caller = gateway.caller(gateway.start_web())
    worker = gateway.start_worker()
    silent = Wish("silent", holds=1)
    begun = Wish("begun", holds=1, after=3, chunks=6)
    with ThreadPoolExecutor(1) as pool, caller.stream(begun) as (begun_id, entries):
        asking = pool.submit(caller.ask, silent)
        seen = [next(entries) for _ in range(3)]
        wait_until(lambda: gateway.upstream.calls["silent"], what="the upstream has both")
        worker.kill()
        killed = time.monotonic()
        gateway.start_worker()
        answer = asking.result(25)
        assert time.monotonic() - killed < 20
        rest = list(entries)
    assert answer.right
    assert text_of(seen) == "".join(begun.pieces[:3])
    assert text_of(rest) == ""
    assert [entry.error["code"] for entry in rest if entry.error] == ["outcome_unknown"]
    assert rest[-1].data == "[DONE]"
    assert gateway.upstream.calls == {"silent": 2, "begun": 1}
    gateway.settle()
    rows = gateway.rows()
    assert rows.keys() == {answer.job_id, begun_id}
    assert rows[begun_id]["state"] == "failed"
    assert [each["outcome"] for each in orjson.loads(rows[answer.job_id]["attempts"])] == ["unknown", "done"]
    assert [each["outcome"] for each in caller.job(answer.job_id)["attempts"]] == ["unknown", "done"]
    assert answer.headers["x-gateway-attempts"] == "2"
