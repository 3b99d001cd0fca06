"""A follower gives out a job's events in order, each once, from any number on, however they were put into records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import pytest
import redis

from mesh import store, wire
from mesh.errors import NotFound
from mesh.events import Event, Kind, delta, records
from mesh.job import Claim, State
from mesh.seal import JobSeal, Sealer
from tests.conftest import RedisServer
from tests.jobs import claimed
from web.pipe import Pipe
from web.replies import Follower, Replies

SEALER = Sealer({"a": b"1" * 32})
END = Event(Kind.END, {"state": "done"})
COUNT = 12  # deltas


@pytest.fixture
def replies(redis_server: RedisServer) -> Iterator[Replies]:
    address = wire.Address.parse(redis_server.url)
    pipe = Pipe(address, "test-replies", patience_s=15.0)
    channel = Replies(address, pipe)
    with gevent.Timeout(30):
        pipe.start()
        channel.start()
        yield channel
        channel.stop()
        pipe.stop()


def say(client: redis.Redis, claim: Claim, first: int, count: int) -> None:
    """So many deltas in one record."""
    said = [delta(b"%d" % number) for number in range(first, first + count)]
    sealed = [(last, _seal(claim).seal(f"event:{last}", record)) for last, record in records(said, first)]
    assert len(sealed) == 1
    store.run(client, store.append([store.Said(claim.id, claim.fence, first, True, sealed)]))


def finish(client: redis.Redis, claim: Claim, last: int) -> None:
    end = _seal(claim).seal("end", END.dump())
    store.run(client, store.finish(claim.id, claim.fence, State.DONE, end=end, last=last))


def _seal(claim: Claim) -> JobSeal:
    return SEALER.job(claim.tenant, claim.id)


@pytest.fixture
def follow(replies: Replies) -> Callable[[Claim, int], Follower]:
    return lambda claim, after: Follower(replies, replies._pipe, _seal(claim), claim.id, claim.tenant, after)


def heard(follower: Follower) -> list[tuple[int, bytes]]:
    """Numbers and bodies up to the end, which has none."""
    found: list[tuple[int, Event]] = []
    while not found or found[-1][1].kind is not Kind.END:
        batch = follower.batch(10.0)
        assert batch, "nothing came"
        found += batch
    return [(number, event.body) for number, event in found]


def told(after: int) -> list[tuple[int, bytes]]:
    return [*((number, b"%d" % number) for number in range(after + 1, COUNT + 1)), (COUNT + 1, b"")]


@pytest.mark.parametrize("sizes", [(1,) * COUNT, (COUNT,), (1, 4, 2, 5), (5, 1, 6)])
def test_a_replay_begins_after_any_number(redis_server: RedisServer, follow: Any, sizes: tuple[int, ...]) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door="another")
    for at, size in enumerate(sizes):
        say(client, claim, 1 + sum(sizes[:at]), size)
    finish(client, claim, COUNT)
    for after in range(COUNT + 1):
        with follow(claim, after) as follower:
            follower.heal_soon()
            assert heard(follower) == told(after)


def test_what_is_heard_while_the_log_is_read_is_given_out_once(
    redis_server: RedisServer, replies: Replies, follow: Any
) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door=replies.boot)
    with follow(claim, 0) as early, follow(claim, 3) as late:
        say(client, claim, 1, 2)
        assert [number for number, _ in early.batch(10.0)] == [1, 2]
        say(client, claim, 3, 4)  # for the late one it begins before the number that he has
        early.heal_soon()
        say(client, claim, 7, COUNT - 6)
        finish(client, claim, COUNT)
        assert heard(early) == told(2)
        assert heard(late) == told(3)


def test_a_record_that_the_channel_lost_is_read_from_the_log(
    redis_server: RedisServer, replies: Replies, follow: Any
) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door="another")
    with follow(claim, 0) as follower:
        say(client, claim, 1, 2)
        say(client, claim, 3, 3)
        store.run(client, store.watch(claim.id, claim.tenant, replies.boot))
        say(client, claim, 6, COUNT - 5)
        finish(client, claim, COUNT)
        assert heard(follower) == told(0)


def test_a_replay_from_before_the_log_begins_is_refused(redis_server: RedisServer, follow: Any) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door="another")
    for first in (1, 5, 9):
        say(client, claim, first, 4)
    finish(client, claim, COUNT)
    client.xtrim(f"gw:events:{claim.id}", maxlen=2, approximate=False)
    for after in (0, 3):
        with follow(claim, after) as follower:
            follower.heal_soon()
            with pytest.raises(NotFound, match="no longer kept"):
                heard(follower)
    with follow(claim, 4) as follower:
        follower.heal_soon()
        assert heard(follower) == told(4)


def test_what_comes_while_somebody_waits_goes_past_him(
    redis_server: RedisServer, replies: Replies, follow: Any
) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door=replies.boot)
    gone: list[tuple[int, bytes]] = []

    def past(events: Sequence[tuple[int, Event]]) -> bool:
        gone.extend((number, event.body) for number, event in events)
        return True

    with follow(claim, 0) as follower:
        say(client, claim, 1, 2)
        first = follower.batch(10.0)
        follower.past = past
        waiting = gevent.spawn(heard, follower)
        for at in range(3, COUNT + 1):
            say(client, claim, at, 1)
        finish(client, claim, COUNT)
        rest = waiting.get(timeout=10)
    assert [(number, event.body) for number, event in first] + gone + rest == told(0)
    assert rest[-1] == told(0)[-1] and gone, "the end is for whoever waits, and not all went to him"


def test_who_waits_is_woken_with_nothing_when_something_was_left_to_him(
    redis_server: RedisServer, replies: Replies, follow: Any
) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door=replies.boot)
    with follow(claim, 0) as follower:
        gone: list[int] = []

        def past(events: Sequence[tuple[int, Event]]) -> bool:
            gone.extend(number for number, _ in events)
            return False

        say(client, claim, 1, 1)
        assert follower.batch(10.0)
        follower.past = past
        waiting = gevent.spawn(follower.batch, 10.0)
        gevent.sleep(0)
        say(client, claim, 2, 2)
        assert waiting.get(timeout=5) == [] and gone == [2, 3]


def test_what_could_not_go_past_comes_as_always(redis_server: RedisServer, replies: Replies, follow: Any) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door=replies.boot)

    def broken(events: Sequence[tuple[int, Event]]) -> bool:
        raise ValueError

    with follow(claim, 0) as follower:
        follower.past = broken
        waiting = gevent.spawn(heard, follower)
        gevent.sleep(0)
        say(client, claim, 1, COUNT)
        finish(client, claim, COUNT)
        assert waiting.get(timeout=5) == told(0)


def test_silence_is_counted_from_what_went_past(redis_server: RedisServer, replies: Replies, follow: Any) -> None:
    client = redis_server.client()
    (claim,) = claimed(client, door=replies.boot)
    went: list[float] = []

    def past(events: Sequence[tuple[int, Event]]) -> bool:
        went.append(time.monotonic())
        return True

    with follow(claim, 0) as follower:
        follower.past = past
        waiting = gevent.spawn(follower.batch, 1.5)
        gevent.sleep(1.0)
        say(client, claim, 1, 1)
        assert waiting.get(timeout=10) == []
        assert went and time.monotonic() - went[0] >= 1.5
