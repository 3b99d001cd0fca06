"""A plain `celery worker` on the lanes themselves, without the mesh's consumer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.chaos.conftest import Gateway
from tests.chaos.upstream import Wish
from tests.conftest import wait_until

LANES = "openai,openai.batch"


def test_a_stock_worker_does_the_same_jobs(gateway: Gateway) -> None:
    caller = gateway.caller(gateway.start_web())
    worker = gateway.stack.start_worker(queues=LANES, ready=False)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: caller.ask(Wish(f"stock-{number}", delay_ms=50)), range(20)))
    later = [caller.ask_later(Wish(f"later-{number}")) for number in range(5)]
    wish = Wish("streamed", chunks=6)
    with caller.stream(wish) as (stream_id, entries):
        assert "".join(entry.content for entry in entries) == "".join(wish.pieces)
    gateway.settle()
    assert all(answer.right for answer in answers)
    rows = gateway.rows()
    assert rows.keys() == {stream_id, *(answer.job_id for answer in (*answers, *later))}
    assert {row["state"] for row in rows.values()} == {"done"}
    assert set(gateway.upstream.calls.values()) == {1}
    admin = gateway.redis.admin()
    wait_until(lambda: not admin.exists("gw:unacked"), what="every message is acknowledged")
    assert not admin.exists("gw:openai", "gw:openai.batch")
    assert worker.terminate() == 0


def test_a_stock_worker_told_to_end_ends_what_it_runs(gateway: Gateway) -> None:
    caller = gateway.caller(gateway.start_web())
    worker = gateway.stack.start_worker(queues=LANES, ready=False)
    wish = Wish("running", holds=1)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(caller.ask, wish)
        wait_until(lambda: gateway.upstream.calls["running"], 20, "it runs")
        worker.popen.terminate()
        gateway.upstream.release("running")
        assert asking.result(20).right
    assert worker.popen.wait(20) == 0
    assert not gateway.redis.admin().exists("gw:unacked")


def test_a_worker_that_would_be_popped_by_both_is_refused(gateway: Gateway) -> None:
    worker = gateway.stack.start_worker(queues="tasks.openai,openai", ready=False)
    assert worker.popen.wait(20) != 0
    said = worker.log.read_text()
    assert "openai would be popped by Celery and by the consumer; give only tasks.<provider>" in said
    assert "Traceback" not in said
