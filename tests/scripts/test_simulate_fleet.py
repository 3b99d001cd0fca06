"""The lanes and pods on paper: small cases by hand, Little's law, Erlang's formula, and the real claim script."""

from __future__ import annotations

import math
import random
from statistics import mean

import pytest
import redis
from simulator import traces
from simulator.fleet import Arrival, Batch, Fleet, Job, Lanes, Outage, Pods, Run
from simulator.scaling import Scaling

from mesh import store
from mesh.job import Spec, Submission, Target, new_id
from tests.conftest import RedisServer

ONE = Scaling(least=1, most=1)
ONE_SLOT = Pods(slots=1)


def waits(run: Run) -> list[float]:
    return [round(job.waited_s, 6) for job in run.jobs]


def test_one_slot_serves_one_after_the_other() -> None:
    run = Fleet(ONE, ONE_SLOT).run([Arrival(at, 10.0) for at in (0.0, 1.0, 2.0)], 60.0)
    assert waits(run) == [0.0, 9.0, 18.0]
    assert [job.ended_s for job in run.jobs] == [10.0, 20.0, 30.0]


def test_a_job_at_zero_waits_for_the_poll_and_the_pod() -> None:
    run = Fleet(Scaling(least=0, polling_s=5.0), Pods(cold_s=12.0)).run([Arrival(61.0, 1.0)], 900.0)
    assert waits(run) == [16.0]  # polled at 65, claimed at 77
    assert {sample.replicas for sample in run.samples if sample.at_s > 400} == {0}
    assert run.pod_s == pytest.approx(
        380 - 65
    )  # the last poll that saw it was 75; 380 is the first more than 300 s later


def test_a_pod_that_leaves_ends_its_jobs_within_the_grace_and_gives_the_rest_back() -> None:
    rules = Scaling(least=0, cooldown_s=10.0, polling_s=5.0, activation=1.0)
    run = Fleet(rules, Pods(cold_s=0.0, grace_s=30.0)).run(
        [Arrival(1.0, 5.0), Arrival(1.0, 100.0), Arrival(200.0, 100.0), Arrival(200.0, 100.0)], 300.0
    )
    # One job is not above the activation, so the pod goes while it runs; the later ones wake another, for all three.
    assert run.released == 1
    assert [job.attempts for job in run.jobs] == [1, 2, 1, 1]
    assert [job.ended_s for job in run.jobs] == [10.0, 300.0, 300.0, 300.0]


def test_jobs_that_no_pod_will_ever_take_end_the_play() -> None:
    with pytest.raises(ValueError, match="1 job waits for ever"):
        Fleet(Scaling(least=0, activation=1.0), Pods()).run([Arrival(1.0, 5.0)], 60.0)


def test_the_time_in_the_mesh_is_what_littles_law_says() -> None:
    trace = list(traces.poisson(traces.constant(5.0), 5.0, 600.0, traces.lognormal(4.0, 20.0), seed=3))
    run = Fleet(Scaling(), Pods(slots=8), Outage(100.0, 160.0)).run(trace, 600.0)
    assert len(run.jobs) == len(trace)
    assert run.job_s == pytest.approx(sum(job.ended_s - job.arrival.at_s for job in run.jobs))


def test_the_mean_wait_is_erlangs() -> None:
    servers, service_s, rate = 8, 1.0, 6.4
    trace = traces.poisson(traces.constant(rate), rate, 6_000.0, lambda dice: dice.expovariate(1 / service_s), seed=11)
    run = Fleet(ONE, Pods(slots=servers)).run(trace, 6_000.0)
    load = rate * service_s
    tail = load**servers / math.factorial(servers) / (1 - load / servers)
    busy = tail / (sum(load**each / math.factorial(each) for each in range(servers)) + tail)
    expected_s = busy * service_s / (servers - load)
    assert mean(job.waited_s for job in run.jobs) == pytest.approx(expected_s, rel=0.1)


def test_the_same_seed_plays_the_same_and_another_does_not() -> None:
    def play(seed: int) -> Run:
        trace = traces.poisson(traces.constant(3.0), 3.0, 200.0, traces.lognormal(4.0, 20.0), seed)
        return Fleet(Scaling(), Pods()).run(trace, 200.0)

    assert play(1) == play(1)
    assert waits(play(1)) != waits(play(2)) or len(play(1).jobs) != len(play(2).jobs)


def test_parked_jobs_call_for_no_pods() -> None:
    def peak(count_parked: bool) -> int:
        trace = traces.poisson(traces.constant(10.0), 10.0, 400.0, traces.lognormal(4.0, 20.0), seed=5)
        run = Fleet(Scaling(), Pods(), Outage(100.0, 300.0), count_parked=count_parked).run(trace, 400.0)
        return max(sample.replicas for sample in run.samples if 100.0 < sample.at_s < 300.0)

    assert peak(count_parked=False) <= 3
    assert peak(count_parked=True) == 12


def test_a_batch_beside_chats_gets_a_twentieth_while_they_wait() -> None:
    chats = [Arrival(0.0, 1.0) for _ in range(190)]
    run = Fleet(ONE, Pods(slots=10)).run(chats, 60.0, batch=Batch(0.0, [1.0] * 200, window=200))
    batch = sorted(job.ended_s for job in run.jobs if job.arrival.batch)
    last_chat = max(job.ended_s for job in run.jobs if not job.arrival.batch)
    assert sum(ended < last_chat for ended in batch) in range(9, 21)


def test_a_batchs_coordinator_keeps_only_its_window_waiting() -> None:
    run = Fleet(ONE, Pods(slots=4)).run([], 10.0, batch=Batch(0.0, [0.5] * 100, window=10), sample_s=0.5)
    assert len(run.jobs) == 100
    assert max(sample.waiting_batch for sample in run.samples) <= 10


@pytest.mark.parametrize("seed", range(3))
def test_the_claim_on_paper_takes_what_the_real_script_takes(redis_server: RedisServer, seed: int) -> None:
    client = redis_server.client()
    dice = random.Random(seed)
    lanes = Lanes()
    known: dict[str, Job] = {}
    turn = paper_turn = 0
    for number in range(1, 40):
        for _ in range(dice.randrange(6)):
            job = Job(Arrival(0.0, 1.0, batch=dice.random() < 0.5), 0.0)
            known[_submitted(client, job.arrival.batch)] = job
            lanes.ring(job)
        free = dice.randrange(1, 30)
        claimed = store.run(client, store.claim("w1", number, free, turn, [("ollama", True)], max_attempts=3))
        assert isinstance(claimed, store.Claimed)
        turn = claimed.turn
        taken, paper_turn = lanes.claim(free, paper_turn)
        assert [known[each.id] for each in claimed.jobs] == taken
        assert turn == paper_turn


def _submitted(client: redis.Redis, batch: bool) -> str:
    job = Submission(
        id=new_id(),
        tenant="acme",
        key="k1",
        spec=Spec(endpoint="chat.completions", model="llama3", targets=(Target("ollama", "llama3"),)),
        request=b"sealed",
        timeout_ms=60_000,
        retention_ms=60_000,
        priority="batch" if batch else "interactive",
    )
    store.run(client, store.submit(job, lane_limit=1000, idempotency_ms=60_000, index_ms=60_000))
    return job.id
