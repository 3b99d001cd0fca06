"""Holds: what a job takes of counters, what of it comes back, and that no counter ever exceeds its ceiling."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import orjson
import redis

from mesh import store
from mesh.job import UNBOUNDED, Claim, Hold, State, Target, told, without
from mesh.settings import CircuitLimits
from tests.conftest import RedisServer, wait_until
from tests.counters import taken
from tests.mesh.test_store import LANE, Do, claim, client, do, end_lease, submission, submit, submitted_and_claimed

__all__ = ["client", "do"]  # fixtures

SLICES = 120
DAY_MS = 86_400_000


def window(amount: int = 1, ceiling: int = 3, *, unit: str = "-", period_ms: int = 60_000, name: str = "w") -> Hold:
    return Hold(name, amount, ceiling, "window", unit, period_ms)


def budget(amount: int, ceiling: int = UNBOUNDED) -> Hold:
    return Hold("b", amount, ceiling, "spent", "cost", 60_000)


def spent(client: redis.Redis) -> int:
    return taken(client, "b")


def ends_ms(client: redis.Redis, counter: str) -> int:
    """When a counter of a period may go."""
    ends = orjson.loads(client.hget("gw:holds:", ".periods"))[counter]  # type: ignore[arg-type]
    assert isinstance(ends, int)
    return ends


def test_a_window_takes_what_its_ceiling_allows_and_says_how_long_to_wait(do: Do, client: redis.Redis) -> None:
    outcomes = [submit(do, submission(holds=(window(),))) for _ in range(4)]
    assert [each.outcome for each in outcomes] == ["queued", "queued", "queued", "held"]
    assert [each.taken for each in outcomes[:3]] == [(1,), (2,), (3,)]
    assert (outcomes[3].other, outcomes[3].waiting) == ("w", 3)
    assert 55_000 < outcomes[3].wait_ms <= 60_000 + 60_000 / SLICES
    assert taken(client, "w") == 3


def test_a_window_is_free_again_after_its_period_and_never_before(do: Do) -> None:
    period_ms = 600
    admitted: list[int] = []

    def ask() -> bool:
        outcome = submit(do, submission(holds=(window(ceiling=5, period_ms=period_ms),)))
        if outcome.outcome == "queued":
            admitted.append(outcome.created_ms)
        return len(admitted) == 16

    wait_until(ask, 5, "sixteen are admitted")
    gaps = [later - earlier for earlier, later in zip(admitted, admitted[5:], strict=False)]
    assert min(gaps) >= period_ms  # in no period are there more than five


def test_a_second_submit_takes_nothing_again(do: Do, client: redis.Redis) -> None:
    job = submission(holds=(window(2), budget(70)))
    assert [submit(do, job).outcome for _ in range(2)] == ["queued", "again"]
    assert (taken(client, "w"), spent(client)) == (2, 70)


def test_what_is_refused_takes_nothing_of_any_counter(do: Do, client: redis.Redis) -> None:
    holds = (Hold("open", 1, 9), window(2, 9), budget(5), Hold("full", 2, 1))
    refused = submit(do, submission(holds=holds))
    assert (refused.outcome, refused.other, refused.wait_ms) == ("held", "full", -1)
    assert (taken(client, "w"), spent(client), client.exists("gw:holds:")) == (0, 0, 0)


def test_a_finish_puts_what_was_measured_in_the_place_of_what_was_held(do: Do, client: redis.Redis) -> None:
    holds = (Hold("open", 1, 9), window(1000, 5000, unit="tokens"), window(name="r"), budget(9_007_199_254))
    job = submitted_and_claimed(do, holds=holds)
    said = store.finish(job.id, job.fence, State.DONE, end=b"end", measured={"tokens": 18, "cost": 7_500})
    assert [do(said), do(said)] == ["ok", "already"]
    assert (taken(client, "w"), taken(client, "r"), spent(client), taken(client, "open")) == (18, 1, 7_500, 0)


def test_a_finish_without_a_measure_frees_what_is_settled(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(window(9, 10, unit="tokens"), window(name="r"), budget(5)))
    do(store.finish(job.id, job.fence, State.FAILED, end=b"end"))
    assert (taken(client, "w"), taken(client, "r"), spent(client)) == (0, 1, 0)


def test_a_cancelled_and_an_expired_job_give_everything_back_but_the_request(do: Do, client: redis.Redis) -> None:
    for ending in ("cancelled", "expired"):
        job = submission(holds=(window(9, 10, unit="tokens"), budget(5)), timeout_ms=60_000)
        submit(do, job)
        if ending == "cancelled":
            do(store.cancel(job.id, "acme"))
        else:
            client.zadd("gw:jobs:open", {job.id: 1})
            do(store.reap(["ollama"], max_attempts=3))
        assert (taken(client, "w"), spent(client)) == (0, 0), ending


def test_an_attempt_of_which_nobody_knows_keeps_what_was_held_beside_the_next_ones(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(budget(500),), reserved_usd="0.0000005")
    end_lease(client, job)
    do(store.reap(["ollama"], max_attempts=3))
    (again,) = claim(do, number=2).jobs
    do(store.finish(again.id, again.fence, State.DONE, end=b"end", measured={"cost": 20}))
    assert spent(client) == 520


def test_the_last_unknown_attempt_keeps_what_was_held(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(budget(500),), reserved_usd="0.0000005")
    end_lease(client, job)
    do(store.reap(["ollama"], max_attempts=1))
    assert spent(client) == 500


def test_a_counter_whose_time_is_over_is_not_made_anew(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(budget(500), window(4, 9, unit="tokens")))
    client.delete("gw:holds:")
    do(store.finish(job.id, job.fence, State.DONE, end=b"end", measured={"cost": 700, "tokens": 9}))
    assert client.exists("gw:holds:") == 0


def test_what_had_no_price_when_it_was_held_counts_once_it_has_one(do: Do, client: redis.Redis) -> None:
    for total in (700, 1_400):
        submit(do, submission(holds=(budget(0, 1_000),)))
        (job,) = claim(do, number=total).jobs
        do(store.finish(job.id, job.fence, State.DONE, end=b"end", measured={"cost": 700}))
        assert spent(client) == total and 0 < ends_ms(client, "b") - store.run(client, store.now_ms()) <= 60_000
    assert submit(do, submission(holds=(budget(0, 1_000),))).outcome == "held"


def test_what_is_held_of_nothing_writes_nothing(do: Do, client: redis.Redis) -> None:
    submit(do, submission(holds=(budget(0),)))
    assert client.hkeys("gw:holds:") == [b".ends"]


def test_every_counter_has_an_end(do: Do, client: redis.Redis) -> None:
    holds = (window(period_ms=240), budget(5), Hold("open", 1, 9), Hold("m:long", 5, 9, "spent", "cost", 20 * DAY_MS))
    submit(do, submission(holds=holds))
    assert 0 < ends_ms(client, "b") - store.run(client, store.now_ms()) <= 60_000
    assert DAY_MS < int(client.pttl("gw:holds:")) < 2 * DAY_MS  # type: ignore[arg-type]
    assert 20 * DAY_MS < int(client.pttl("gw:holds:long")) < 21 * DAY_MS  # type: ignore[arg-type]

    def turned() -> bool:
        submit(do, submission(holds=(window(0, period_ms=240),)))
        return client.exists("gw:window:w") == 1

    wait_until(turned, 5, "a slice is over")
    assert 0 < int(client.pttl("gw:window:w")) <= 480  # type: ignore[arg-type]


def test_a_counter_whose_period_is_over_goes_when_the_next_begins(do: Do, client: redis.Redis) -> None:
    first, second = (Hold(name, 5, 9, "spent", "cost", life) for name, life in (("day1", 1), ("day2", 60_000)))
    submit(do, submission(holds=(first, Hold("month", 5, 99, "spent", "cost", DAY_MS))))
    wait_until(lambda: store.run(client, store.now_ms()) > ends_ms(client, "day1"), 5)
    submit(do, submission(holds=(second,)))
    assert set(client.hkeys("gw:holds:")) == {b".ends", b".periods", b"day2", b"month"}  # type: ignore[arg-type]


def test_what_is_counted_of_an_owner_that_was_forgotten_has_an_end(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(budget(0),))
    client.delete("gw:holds:")
    do(store.finish(job.id, job.fence, State.DONE, end=b"end", measured={"cost": 700}))
    assert spent(client) == 700
    assert 0 < int(client.pttl("gw:holds:")) <= 60_000  # type: ignore[arg-type]


def test_a_counter_that_is_none_takes_nothing_and_accepts_nothing(do: Do, client: redis.Redis) -> None:
    client.rpush("gw:holds:apart", "a list")
    holds = (Hold("open", 1, 9), budget(5), window(name="broken:apart"))
    refused = submit(do, submission(holds=holds))
    assert (refused.outcome, refused.other) == ("broken", "broken:apart")
    assert client.exists("gw:holds:", LANE.messages) == 0


def test_one_counter_that_is_none_is_named_alone(do: Do, client: redis.Redis) -> None:
    client.hset("gw:holds:", mapping={"w": "three", "open": "many"})
    for hold in (window(), Hold("open", 1, 9)):
        refused = submit(do, submission(holds=(budget(5), hold)))
        assert (refused.outcome, refused.other, spent(client)) == ("broken", hold.name, 0)
    assert submit(do, submission(holds=(budget(5),))).outcome == "queued"


def test_a_job_ends_though_its_counters_cannot_be_read(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(window(9, 50, unit="tokens"), Hold("jobs:other", 1, 9)))
    client.delete("gw:holds:")
    client.rpush("gw:holds:", "a list")
    assert do(store.finish(job.id, job.fence, State.DONE, end=b"end")) == "ok"
    assert taken(client, "jobs:other") == 0


def test_a_hold_may_be_called_anything_and_leave_its_amount_to_the_job(do: Do, client: redis.Redis) -> None:
    odd, plain = Hold('tokens:model:100 %(x)d "é"\n', None, 9, "window", "tokens", 60_000), Hold("open", 1, 9)
    job = dataclasses.replace(submission(), holds=told([odd.template, plain.template], {"tokens": 7}))
    assert submit(do, job).taken == (7,) and taken(client, odd.name) == 7
    assert without(job.holds, odd.name) == told([plain.template])
    assert without(job.holds, plain.name) == told([odd.template], {"tokens": 7})


def test_many_at_once_take_exactly_what_the_ceiling_allows(redis_server: RedisServer) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        client = redis_server.client()
        for _ in range(40):
            job = submission(holds=(window(3, 200), budget(3, 99)))
            outcomes.append(store.run(client, store.submit(job, lane_limit=9999, idempotency_ms=1, index_ms=1)).outcome)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("queued") == 33 and outcomes.count("held") == 8 * 40 - 33
    client = redis_server.client()
    assert (taken(client, "w"), spent(client)) == (99, 99)


def test_a_window_that_was_left_alone_for_long_begins_anew(do: Do, client: redis.Redis) -> None:
    submit(do, submission(holds=(window(3, 3, period_ms=120),)))
    wait_until(lambda: submit(do, submission(holds=(window(3, 3, period_ms=120),))).outcome == "queued", 2)
    assert taken(client, "w") == 3


def moved(job: Claim, **more: Any) -> store.Call[str]:
    """The word that gives a job back to the lane of another target."""
    spec = dataclasses.replace(job.spec, targets=(*job.spec.targets, Target("other", "m")), at=len(job.spec.targets))
    return store.release(job, spec, why="elsewhere", **more)


def attempt(job: Claim, outcome: str = "failed", **measured: int) -> bytes:
    target = job.spec.target
    record = {"attempt": 1, "provider": target.provider, "model": target.model, "outcome": outcome}
    return orjson.dumps(record | ({"measured": measured} if measured else {}))


def test_what_leaves_a_target_settles_its_holds_and_takes_others(do: Do, client: redis.Redis) -> None:
    holds = (Hold("lane", 1, 9), Hold("open", 1, 9), window(9, 50, unit="tokens"), window(name="r"), budget(500))
    job = submitted_and_claimed(do, holds=holds)
    say = moved(
        job, attempt=attempt(job, tokens=4, cost=70), let_go=("lane", "w", "r"), take=(Hold("next", 1, UNBOUNDED),)
    )
    assert [do(say), do(say)] == ["ok", "already"]
    # The budget waits for the job's end; a request that was sent stays one.
    assert (taken(client, "w"), taken(client, "r"), spent(client)) == (4, 1, 500)
    assert (taken(client, "next"), taken(client, "lane"), taken(client, "open")) == (1, 0, 1)
    do(store.cancel(job.id, "acme"))
    assert (taken(client, "w"), taken(client, "r"), spent(client)) == (4, 1, 70)
    assert (taken(client, "next"), taken(client, "open")) == (0, 0)


def test_what_was_never_sent_there_was_never_taken(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(window(9, 50, unit="tokens"), window(name="r")))
    do(moved(job, let_go=("w", "r"), undo=True, refund=True))
    assert (taken(client, "w"), taken(client, "r")) == (0, 0)


def test_an_unknown_attempt_keeps_what_was_held_at_its_own_target(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do, holds=(window(9, 50, unit="tokens"), budget(500)))
    do(moved(job, attempt=attempt(job, "unknown"), let_go=("w",)))
    (again,) = claim(do, number=2, providers=[("other", True)]).jobs
    assert do(store.hold(again, (window(9, 50, unit="tokens", name="b"),))).outcome == "ok"
    do(
        store.finish(
            again.id, again.fence, State.DONE, end=b"end", attempt=attempt(again), measured={"tokens": 5, "cost": 20}
        )
    )
    assert (taken(client, "w"), spent(client)) == (9, 520)


def test_a_running_job_takes_holds_once_all_or_none(do: Do, client: redis.Redis) -> None:
    job = submitted_and_claimed(do)
    wanted = (window(2), Hold("open", 1, 1))
    assert [do(store.hold(job, wanted)).outcome for _ in range(2)] == ["ok", "ok"]
    assert (taken(client, "w"), taken(client, "open")) == (2, 1)
    submit(do, submission())
    (late,) = claim(do, number=2).jobs
    refused = do(store.hold(late, (window(1), Hold("open", 1, 1))))
    assert (refused.outcome, refused.other, refused.taken, refused.wait_ms) == ("held", "open", 1, 0)
    assert taken(client, "w") == 2
    client.rpush("gw:holds:apart", "a list")
    assert do(store.hold(late, (window(1), window(name="broken:apart")))) == store.Holding("broken", "broken:apart")
    assert taken(client, "w") == 2
    do(store.finish(job.id, job.fence, State.DONE, end=b"end"))
    assert do(store.hold(job, wanted)).outcome == "lost"
    assert taken(client, "open") == 0


def test_what_is_taken_is_told_without_changing_it(do: Do, client: redis.Redis) -> None:
    submit(do, submission(holds=(window(2, period_ms=240), Hold("open", 1, 9))))
    client.rpush("gw:holds:apart", "a list")
    counters = (window(period_ms=240), Hold("open", 1, 9), window(name="broken:apart"), window(name="none"))

    def told() -> list[int]:
        return list(do(store.health(CircuitLimits(), (), {}, counters)).taken.values())

    before = client.hgetall("gw:holds:")
    assert told() == [2, 1, 0, 0]
    wait_until(lambda: told()[0] == 0, 5, "the window has slid on")
    assert client.hgetall("gw:holds:") in (before, {})
