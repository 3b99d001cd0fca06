"""Each script against a real server: what it does, what it answers, and that a second sending changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import redis

from mesh import store
from mesh.job import Claim, Hold, Spec, State, Status, Submission, Target, new_id, told
from mesh.lanes import Lane
from tests.conftest import RedisServer, wait_until
from tests.counters import taken

LANE = Lane("ollama")
Do = Callable[[store.Call[Any]], Any]


@pytest.fixture
def client(redis_server: RedisServer) -> redis.Redis:
    return redis_server.client()


@pytest.fixture
def do(client: redis.Redis) -> Do:
    return doing(client)


def doing(client: redis.Redis) -> Do:
    return lambda call: store.run(client, call)


def submission(**changes: Any) -> Submission:
    job = Submission(
        id=new_id(),
        tenant="acme",
        key="k1",
        spec=Spec(
            endpoint="chat.completions", model="llama3", targets=(Target("ollama", "llama3"), Target("openai", "gpt-4"))
        ),
        request=b"sealed",
        timeout_ms=60_000,
        retention_ms=60_000,
        door="door1",
    )
    holds = told(hold.template for hold in changes.pop("holds", ()))
    return dataclasses.replace(job, holds=holds, **changes)


def submit(do: Do, job: Submission, lane_limit: int = 1000) -> store.Submitted:
    outcome = do(store.submit(job, lane_limit=lane_limit, idempotency_ms=60_000, index_ms=60_000))
    assert isinstance(outcome, store.Submitted)
    return outcome


def claim(do: Do, number: int = 1, free: int = 10, boot: str = "w1", **kw: Any) -> store.Claimed:
    kw = {"turn": 0, "providers": [("ollama", True)], "max_attempts": 3, **kw}
    claimed = do(store.claim(boot, number, free, kw["turn"], kw["providers"], max_attempts=kw["max_attempts"]))
    assert isinstance(claimed, store.Claimed)
    return claimed


def submitted_and_claimed(do: Do, **changes: Any) -> Claim:
    submit(do, submission(**changes))
    (job,) = claim(do).jobs
    return job


def status(do: Do, job_id: str) -> Status:
    seen = do(store.status(job_id, "acme"))
    assert isinstance(seen, Status)
    return seen


def ledger(client: redis.Redis) -> list[dict[str, str]]:
    rows: Any = client.xrange("gw:ledger:rows")
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]


def finish(job: Claim, state: State = State.DONE) -> store.Call[str]:
    return store.finish(
        job.id, job.fence, state, end=b"end", attempt=b'{"attempt":1}', usage=b'{"total_tokens":3}', cost_usd="0.01"
    )


def say(do: Do, job: Claim, first: int, said: bool, sealed: list[bytes]) -> str:
    (word,) = do(store.append([store.Said(job.id, job.fence, first, said, list(enumerate(sealed, first)))]))
    assert isinstance(word, str)
    return word


def end_lease(client: redis.Redis, job: Claim) -> None:
    client.zadd(LANE.running.replace("ollama", job.lane), {job.id: 1})
    # The reaper has been at work for long: no grace.
    client.hset("gw:reaper:clock", mapping={"since": 0})


def test_a_submitted_job_waits_in_its_lane_with_a_celery_message(do: Do, client: redis.Redis) -> None:
    job = submission()
    assert submit(do, job).outcome == "queued"
    message = orjson.loads(client.lindex(LANE.messages, 0))  # type: ignore[arg-type]
    assert orjson.loads(message["body"])[0] == [job.id, 1]
    assert message["headers"]["task"] == "workers.tasks.run" and message["headers"]["id"] == job.id
    seen = status(do, job.id)
    assert (seen.state, seen.position, seen.lane, seen.spec) == (State.QUEUED, 0, "ollama", job.spec)


def test_a_second_submit_of_the_same_id_accepts_nothing_again(do: Do, client: redis.Redis) -> None:
    job = submission(holds=(Hold("h", 1, 5),))
    submit(do, job)
    assert submit(do, job).outcome == "again"
    assert client.llen(LANE.messages) == 1 and taken(client, "h") == 1


def test_an_idempotency_key_names_one_job(do: Do) -> None:
    first = submission(idempotency_key="once", fingerprint="a")
    submit(do, first)
    same = submit(do, submission(idempotency_key="once", fingerprint="a"))
    assert (same.outcome, same.other) == ("same", first.id)
    assert submit(do, submission(idempotency_key="once", fingerprint="b")).outcome == "conflict"
    assert submit(do, submission(idempotency_key="once", fingerprint="b", tenant="other")).outcome == "queued"


def test_a_full_lane_takes_no_more(do: Do) -> None:
    submit(do, submission(), lane_limit=1)
    assert submit(do, submission(), lane_limit=1) == store.Submitted("full", waiting=1)


def test_a_hold_is_never_over_its_ceiling_and_is_given_back(do: Do, client: redis.Redis) -> None:
    jobs = [submission(holds=(Hold("a", 1, 9), Hold("b", 2, 4))) for _ in range(3)]
    assert [submit(do, job).outcome for job in jobs] == ["queued", "queued", "held"]
    assert (taken(client, "a"), taken(client, "b")) == (2, 4)
    for job in jobs[:2]:
        do(store.cancel(job.id, "acme"))
    assert (taken(client, "a"), taken(client, "b")) == (0, 0)


def test_a_large_request_lasts_once_it_is_submitted_and_goes_when_the_job_ends(do: Do, client: redis.Redis) -> None:
    job = submission(large=True, request=b"")
    assert submit(do, job).outcome == "missing"
    do(store.put_request(job.id, b"large"))
    assert submit(do, job).outcome == "queued"
    assert client.ttl(f"gw:request:{job.id}") == -1
    (held,) = claim(do).jobs
    assert held.large and do(store.get_request(job.id)) == b"large"
    do(finish(held))
    assert do(store.get_request(job.id)) == b""


def test_a_claim_leases_the_oldest_jobs_and_repeats_itself_for_a_repeated_number(do: Do, client: redis.Redis) -> None:
    jobs = [submission() for _ in range(5)]
    for job in jobs:
        submit(do, job)
    first = claim(do, number=1, free=3)
    assert [job.id for job in first.jobs] == [job.id for job in jobs[:3]]
    again = claim(do, number=1, free=3)
    assert [dataclasses.replace(job, left_ms=0, waited_ms=0) for job in again.jobs] == [
        dataclasses.replace(job, left_ms=0, waited_ms=0) for job in first.jobs
    ]
    assert [job.id for job in claim(do, number=2, free=9).jobs] == [job.id for job in jobs[3:]]
    assert client.zcard(LANE.running) == 5 and client.zcard(LANE.waiting) == 0


def test_a_number_below_one_that_brought_jobs_brings_none(do: Do, client: redis.Redis) -> None:
    submit(do, submission())
    assert len(claim(do, number=5).jobs) == 1
    submit(do, submission())
    assert claim(do, number=4).jobs == []
    assert len(claim(do, number=6).jobs) == 1
    assert client.zcard(LANE.running) == 2


def test_a_number_that_found_nothing_may_still_bring_jobs(do: Do) -> None:
    assert claim(do, number=1).jobs == []
    submit(do, submission())
    assert len(claim(do, number=1).jobs) == 1


def test_a_claim_without_free_slots_has_its_number_bring_none(do: Do, client: redis.Redis) -> None:
    submit(do, submission())
    assert claim(do, number=1, free=0).jobs == []
    assert claim(do, number=1).jobs == [] and client.llen(LANE.messages) == 1
    assert len(claim(do, number=2).jobs) == 1
    assert len(claim(do, number=2, free=0).jobs) == 1  # it has brought some: they are told again


def test_of_twenty_jobs_one_is_a_batch_job(do: Do) -> None:
    for _ in range(60):
        submit(do, submission())
    for _ in range(5):
        submit(do, submission(priority="batch"))
    turn, lanes = 0, []
    for number in range(40):
        claimed = claim(do, number=number, free=1, turn=turn)
        turn = claimed.turn
        lanes += [job.lane for job in claimed.jobs]
    assert [index for index, lane in enumerate(lanes) if lane == "ollama.batch"] == [19, 39]


def test_a_batch_lane_is_served_when_nothing_else_waits(do: Do) -> None:
    submit(do, submission(priority="batch"))
    assert [job.lane for job in claim(do).jobs] == ["ollama.batch"]


def test_a_private_job_is_never_leased_on_a_lane_that_is_not(do: Do) -> None:
    job = submission(private=True)
    submit(do, job)
    assert claim(do, providers=[("ollama", False)]).jobs == []
    seen = status(do, job.id)
    assert (seen.state, seen.reason) == (State.FAILED, "not_private")


def test_renewing_tells_lost_leases_and_stops(do: Do) -> None:
    kept, lost, stopped = (submitted_and_claimed(do) if i == 0 else claim_one(do, i) for i in range(3))
    do(store.cancel(stopped.id, "acme", "hangup"))
    renewed = do(
        store.renew(
            "w1",
            ["ollama"],
            [(kept.id, kept.fence, "ollama"), (lost.id, 99, "ollama"), (stopped.id, stopped.fence, "ollama")],
        )
    )
    assert renewed == store.Renewed([lost.id], {stopped.id: "hangup"})


def claim_one(do: Do, number: int) -> Claim:
    submit(do, submission())
    (job,) = claim(do, number=number + 1).jobs
    return job


def test_events_are_numbered_once_and_reach_only_living_doors(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, door="alive dead")
    do(store.door_beat("alive"))
    assert say(do, job, 1, False, [b"one"]) == "ok"
    assert say(do, job, 1, True, [b"one", b"two"]) == "ok"
    assert do(store.events(job.id, 0)) == [(1, b"one"), (2, b"two")]
    assert do(store.events(job.id, 1)) == [(2, b"two")]
    assert client.lrange("gw:replies:alive", 0, -1) == [f"{job.id} 1 one".encode(), f"{job.id} 2 two".encode()]
    assert client.exists("gw:replies:dead") == 0


def test_what_doors_are_told_is_not_kept_twice(own_redis: RedisServer) -> None:
    client = own_redis.client()
    do = doing(client)
    do(store.door_beat("alive"))
    job = submitted_and_claimed(do, door="alive")
    say(do, job, 1, True, [b"a sealed event"])
    assert do(finish(job)) == "ok"
    assert client.llen("gw:replies:alive") == 2
    kept = b"".join(file.read_bytes() for file in own_redis.folder.glob("appendonlydir/*"))
    assert kept.count(b"a sealed event") == 1 and b"gw:replies:" not in kept
    own_redis.kill()
    own_redis.start()
    assert do(store.events(job.id, 0)) == [(1, b"a sealed event")] and status(do, job.id).end == b"end"


def test_what_is_written_after_a_door_was_told_is_kept(own_redis: RedisServer) -> None:
    client = own_redis.client()
    do = doing(client)
    do(store.door_beat("alive"))
    overdue = [submission(timeout_ms=0, door="alive") for _ in range(3)]
    for job in overdue:
        submit(do, job)
    wait_until(lambda: do(store.reap(["ollama"], max_attempts=3)).overdue_closed == 3)  # one call tells of each
    assert client.llen("gw:replies:alive") == 3
    own_redis.kill()
    own_redis.start()
    assert [status(do, job.id).state for job in overdue] == [State.EXPIRED] * 3


def test_a_record_of_several_events_is_found_from_each_of_them(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    said = store.Said(job.id, job.fence, 1, True, [(1, b"began"), (4, b"2 to 4"), (5, b"five")])
    assert [do(store.append([said])) for _ in range(2)] == [["ok"], ["ok"]]
    assert [do(store.events(job.id, after)) for after in (0, 2, 3, 4, 5)] == [
        [(1, b"began"), (4, b"2 to 4"), (5, b"five")],
        [(4, b"2 to 4"), (5, b"five")],
        [(4, b"2 to 4"), (5, b"five")],
        [(5, b"five")],
        [],
    ]
    assert status(do, job.id).seq == 5


def test_a_log_is_cut_whatever_numbers_its_records_have(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    for first in range(1, 66_001, 1_500):
        records = [(first + at + 2, b"x") for at in range(0, 1_500, 3)]
        do(store.append([store.Said(job.id, job.fence, first, True, records)]))
    assert 20_000 <= client.xlen(f"gw:events:{job.id}") < 21_000


def test_finish_writes_one_ledger_row_and_answers_a_repeat(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    do(store.door_beat("door1"))
    assert [do(finish(job)) for _ in range(3)] == ["ok", "already", "already"]
    (row,) = ledger(client)
    assert (row["job"], row["state"], row["cost_usd"], row["attempts"]) == (job.id, "done", "0.01", '[{"attempt":1}]')
    seen = status(do, job.id)
    assert (seen.state, seen.end, seen.usage, seen.seq) == (State.DONE, b"end", {"total_tokens": 3}, 1)
    assert client.lrange("gw:replies:door1", 0, -1) == [f"{job.id} 1!3 end".encode()]
    assert 0 < client.pttl(f"gw:job:{job.id}") <= 60_000
    assert client.zcard("gw:jobs:open") == client.zcard(LANE.running) == 0


def test_a_stale_fence_can_neither_speak_nor_finish_nor_release(do: Do, client: redis.Redis) -> None:
    old = submitted_and_claimed(do)
    end_lease(client, old)
    assert do(store.reap(["ollama"], max_attempts=3)).leases_ended == 1
    (new,) = claim(do, number=2, boot="w2").jobs
    assert (new.id, new.fence, new.attempt) == (old.id, old.fence + 1, 2)
    assert say(do, old, 1, True, [b"late"]) == "lost"
    assert do(finish(old)) == "lost"
    assert do(store.release(old, old.spec, why="late")) == "lost"
    assert do(finish(new)) == "ok"
    (row,) = ledger(client)
    assert [attempt.get("outcome") for attempt in orjson.loads(row["attempts"])] == ["unknown", None]


@pytest.mark.parametrize(
    ("changes", "speak", "stop", "state", "reason"),
    [
        pytest.param({}, True, None, State.FAILED, "outcome_unknown", id="the client has seen something"),
        pytest.param(
            {"rerun": False}, False, None, State.FAILED, "outcome_unknown", id="the request may not be repeated"
        ),
        pytest.param({}, False, "hangup", State.CANCELLED, "hangup", id="it was asked to stop"),
        pytest.param({}, False, None, State.QUEUED, "", id="nothing said: it waits again"),
    ],
)
def test_a_lost_lease_ends_or_waits_again(
    do: Do, client: redis.Redis, changes: dict[str, Any], speak: bool, stop: str | None, state: State, reason: str
) -> None:
    job = submitted_and_claimed(do, **changes)
    if speak:
        say(do, job, 1, True, [b"word"])
    if stop:
        do(store.cancel(job.id, "acme", stop))
    end_lease(client, job)
    do(store.reap(["ollama"], max_attempts=3))
    seen = status(do, job.id)
    assert (seen.state, seen.reason) == (state, reason)
    assert seen.attempts[0]["outcome"] == "unknown"
    assert len(ledger(client)) == (1 if state.ended else 0)


def test_a_job_whose_workers_are_all_lost_is_given_up(do: Do, client: redis.Redis) -> None:
    job = submission()
    submit(do, job)
    for number in range(3):
        (held,) = claim(do, number=number).jobs
        end_lease(client, held)
        do(store.reap(["ollama"], max_attempts=3))
    assert (status(do, job.id).state, status(do, job.id).reason) == (State.FAILED, "worker_lost")
    assert len(status(do, job.id).attempts) == 3 and len(ledger(client)) == 1


def test_a_released_job_goes_to_the_next_targets_lane_with_its_attempt_kept(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    onward = dataclasses.replace(job.spec, at=1)
    call = store.release(job, onward, why="provider_unavailable", attempt=b'{"attempt":1,"outcome":"failed"}')
    assert [do(call), do(call)] == ["ok", "already"]
    (held,) = claim(do, number=2, providers=[("openai", False)]).jobs
    assert (held.id, held.attempt, held.spec.target) == (job.id, 2, Target("openai", "gpt-4"))


def test_a_refunded_release_does_not_count_as_an_attempt(do: Do) -> None:
    job = submitted_and_claimed(do)
    do(store.release(job, job.spec, why="shutdown", refund=True))
    (held,) = claim(do, number=2).jobs
    assert (held.attempt, held.fence) == (1, 2)


def test_a_delayed_release_waits_for_its_time(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    do(store.release(job, job.spec, why="rate_limited", delay_ms=60_000, parked=True))
    assert status(do, job.id).state == State.PARKED
    assert claim(do, number=2).jobs == []
    assert do(store.reap(["ollama"], max_attempts=3)).retries_rung == 0
    client.zadd("gw:jobs:due", {job.id: 1})
    assert do(store.reap(["ollama"], max_attempts=3)).retries_rung == 1
    assert [held.id for held in claim(do, number=3).jobs] == [job.id]


def test_cancelling_ends_what_waits_and_asks_what_runs(do: Do, client: redis.Redis) -> None:
    waiting, running = submission(), submission()
    submit(do, running)
    (held,) = claim(do).jobs
    submit(do, waiting)
    assert do(store.cancel(waiting.id, "acme")) == "cancelled"
    assert do(store.cancel(waiting.id, "acme")) == "cancelled"
    assert do(store.cancel(running.id, "acme", "hangup")) == "stopping"
    assert do(store.cancel(running.id, "stranger")) is None
    assert client.lrange("gw:control:w1", 0, -1) == [f"{held.id} hangup".encode()]
    assert say(do, held, 1, True, [b"x"]) == "hangup"
    assert do(store.release(held, held.spec, why="x")) == "hangup"
    assert claim(do, number=2).jobs == []
    assert len(ledger(client)) == 1


def test_an_overdue_job_expires_where_it_waits_and_is_stopped_where_it_runs(do: Do, client: redis.Redis) -> None:
    running, waiting = submission(timeout_ms=100), submission(timeout_ms=100)
    submit(do, running)
    claim(do)
    submit(do, waiting)
    wait_until(lambda: do(store.reap(["ollama"], max_attempts=3)).overdue_closed == 1)
    assert (status(do, waiting.id).state, status(do, waiting.id).reason) == (State.EXPIRED, "deadline")
    assert client.lrange("gw:control:w1", 0, -1) == [f"{running.id} deadline".encode()]


def test_an_overdue_job_is_not_leased(do: Do) -> None:
    submit(do, submission(timeout_ms=0))
    assert claim(do).jobs == []


def test_lost_messages_are_rung_anew_and_only_they(do: Do, client: redis.Redis) -> None:
    jobs = [submission() for _ in range(200)]
    for job in jobs:
        submit(do, job)
    client.rpop(LANE.messages, 2)
    for job in jobs:
        client.hset(f"gw:job:{job.id}", "rung", 1)
    rung = [do(store.reap(["ollama"], max_attempts=3)).messages_rung for _ in range(4)]
    assert rung == [2, 0, 0, 0] and client.llen(LANE.messages) == 200
    assert len({job.id for number in range(4) for job in claim(do, number=number, free=50).jobs}) == 200


def test_a_lost_message_has_five_seconds_to_be_taken(do: Do, client: redis.Redis) -> None:
    job = submission()
    submit(do, job)
    client.delete(LANE.messages)
    assert do(store.reap(["ollama"], max_attempts=3)).messages_rung == 0
    client.hset(f"gw:job:{job.id}", "rung", 1)
    assert do(store.reap(["ollama"], max_attempts=3)).messages_rung == 1


def test_a_message_that_kombu_put_back_is_understood(do: Do, client: redis.Redis) -> None:
    job = submission()
    submit(do, job)
    message = orjson.loads(client.rpop(LANE.messages))  # type: ignore[arg-type]
    client.lpush(
        LANE.messages, orjson.dumps(message | {"properties": {}}, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    )
    client.lpush(LANE.messages, b"not json", b'{"body": 7}', b"{}")
    assert [held.id for held in claim(do).jobs] == [job.id]


def test_a_stock_worker_takes_one_job_by_its_id(do: Do) -> None:
    job = submission()
    submit(do, job)
    held = do(store.take("w1", job.id, ["ollama"], max_attempts=3))
    assert isinstance(held, Claim) and do(store.take("w1", job.id, ["ollama"], max_attempts=3)).fence == held.fence
    assert do(store.take("w2", job.id, ["ollama"], max_attempts=3)) == "running"
    assert do(store.take("w2", new_id(), [], max_attempts=3)) is None


def test_a_watcher_is_told_what_comes(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, door="")
    do(store.door_beat("late"))
    say(do, job, 1, True, [b"one"])
    assert do(store.watch(job.id, "stranger", "late")) is None
    assert [do(store.watch(job.id, "acme", "late")) for _ in range(2)] == [store.Watched(State.RUNNING, 1, b"")] * 2
    say(do, job, 2, True, [b"two"])
    assert client.lrange("gw:replies:late", 0, -1) == [f"{job.id} 2 two".encode()]


def test_a_tenants_jobs_are_listed_newest_first_in_pages(do: Do) -> None:
    jobs = [submission() for _ in range(7)]
    for job in jobs:
        submit(do, job)
    submit(do, submission(tenant="other"))
    do(store.cancel(jobs[3].id, "acme"))
    seen: list[str] = []
    pages, after = 0, ""
    while after or not pages:
        page = do(store.list_jobs("acme", after=after, limit=3))
        seen, after, pages = seen + page.ids, page.onward, pages + 1
    assert pages == 3
    assert sorted(seen) == sorted(job.id for job in jobs)
    assert do(store.list_jobs("acme", state="cancelled")).ids == [jobs[3].id]
    assert do(store.list_jobs("acme", after="job-none")) is None


def test_a_full_redis_refuses_submits_and_lets_running_jobs_end(own_redis: RedisServer) -> None:
    client = own_redis.client()
    do = doing(client)
    job = submitted_and_claimed(do)
    submit(do, submission())
    own_redis.admin().config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        submit(do, submission())
    assert do(store.renew("w1", ["ollama"], [(job.id, job.fence, "ollama")])) == store.Renewed([], {})
    assert say(do, job, 1, True, [b"x"]) == "ok"
    assert len(claim(do, number=2).jobs) == 1
    assert do(finish(job)) == "ok"


def test_the_pace_of_a_lane_gives_an_eta(do: Do) -> None:
    for _ in range(6):
        submit(do, submission())
    last = submission()
    submit(do, last)
    assert status(do, last.id).eta_ms is None
    for number in range(3):
        claim(do, number=number, free=1)
    seen = status(do, last.id)
    assert seen.position == 3 and seen.eta_ms is not None and seen.eta_ms >= 0


def test_a_refused_large_request_does_not_last(do: Do, client: redis.Redis) -> None:
    submit(do, submission(holds=(Hold("h", 1, 1),)))
    refused = submission(large=True, request=b"", holds=(Hold("h", 1, 1),))
    do(store.put_request(refused.id, b"large"))
    assert submit(do, refused).outcome == "held"
    assert 0 < client.pttl(f"gw:request:{refused.id}") <= store.LARGE_LIFE_MS


def test_an_idempotency_key_is_free_again_when_its_job_is_no_longer_kept(do: Do, client: redis.Redis) -> None:
    first = submission(idempotency_key="once", fingerprint="a")
    submit(do, first)
    do(store.cancel(first.id, "acme"))
    client.delete(f"gw:job:{first.id}")
    assert submit(do, submission(idempotency_key="once", fingerprint="a")).outcome == "queued"


def test_a_message_left_in_another_lane_leases_nothing(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    submit(do, submission())
    stale = client.lindex(LANE.messages, 0)
    (other,) = claim(do, number=2).jobs
    do(store.release(other, dataclasses.replace(other.spec, at=1), why="x"))
    client.lpush(LANE.messages, stale)  # type: ignore[arg-type]
    assert claim(do, number=3).jobs == []
    assert [held.lane for held in claim(do, number=4, providers=[("openai", False)]).jobs] == ["openai"]
    assert do(finish(job)) == "ok"


def test_holds_of_any_name_are_given_back(do: Do, client: redis.Redis) -> None:
    job = submission(holds=(Hold("lane:ollama:two words", 1, 1),))
    submit(do, job)
    do(store.cancel(job.id, "acme"))
    assert taken(client, "lane:ollama:two words") == 0


def test_a_repeated_claim_begins_its_leases_anew(do: Do, client: redis.Redis) -> None:
    submit(do, submission())
    (job,) = claim(do, number=1).jobs
    client.zadd(LANE.running, {job.id: 1})
    claim(do, number=1)
    assert client.zscore(LANE.running, job.id) > 1_000_000  # type: ignore[operator]
    client.zadd(LANE.running, {job.id: 1})
    do(store.take("w1", job.id, ["ollama"], max_attempts=3))
    assert client.zscore(LANE.running, job.id) > 1_000_000  # type: ignore[operator]


def test_a_search_among_many_jobs_says_where_to_go_on(do: Do) -> None:
    oldest = submission()
    submit(do, oldest, lane_limit=10_000)
    do(store.cancel(oldest.id, "acme"))
    for _ in range(2_050):
        submit(do, submission(), lane_limit=10_000)
    page = do(store.list_jobs("acme", state="cancelled"))
    assert page.ids == [] and page.onward
    assert do(store.list_jobs("acme", state="cancelled", after=page.onward)).ids == [oldest.id]


def test_as_many_jobs_as_a_worker_may_have_slots_are_claimed_at_once(do: Do, client: redis.Redis) -> None:
    for _ in range(2_048):
        submit(do, submission(), lane_limit=10_000)
    assert len(claim(do, free=2_048).jobs) == client.zcard(LANE.running) == 2_048


def test_a_running_job_without_a_lease_is_closed_at_its_deadline(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    client.zrem(LANE.running, job.id)
    client.zadd("gw:jobs:open", {job.id: 1})
    do(store.reap(["ollama"], max_attempts=3))
    assert (status(do, job.id).state, status(do, job.id).reason) == (State.EXPIRED, "deadline")


def test_a_released_job_that_was_asked_to_stop_says_why(do: Do) -> None:
    job = submitted_and_claimed(do)
    do(store.cancel(job.id, "acme", "hangup"))
    assert do(store.release(job, job.spec, why="shutdown", refund=True)) == "hangup"


def test_events_go_on_behind_those_of_an_attempt_that_was_refunded(do: Do) -> None:
    job = submitted_and_claimed(do)
    say(do, job, 1, False, [b"started"])
    do(store.release(job, job.spec, why="shutdown", refund=True))
    (again,) = claim(do, number=2).jobs
    assert (again.attempt, again.seq) == (1, 1)
