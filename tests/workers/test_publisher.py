"""A job's events reach its log and the door in their order, each once, with a real server between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from mesh import events, store
from mesh.events import Event, Kind, delta
from mesh.job import Claim
from mesh.seal import JobSeal, Sealer
from tests.conftest import RedisServer
from tests.jobs import claimed
from tests.workers.test_pipe import open_pipe
from workers.publisher import Outbox, Publisher

SEALER = Sealer({"a": b"1" * 32})


def logged(client: redis.Redis, claim: Claim) -> list[tuple[int, Event]]:
    seal = SEALER.job(claim.tenant, claim.id)
    page = store.run(client, store.events(claim.id, 0, 10_000))
    found: list[tuple[int, Event]] = []
    for last, sealed in page:
        record = events.load(seal.open(f"event:{last}", sealed))
        found += [(last - len(record) + at, event) for at, event in enumerate(record, 1)]
    return found


def tell(
    server: RedisServer, claims: list[Claim], story: Callable[[list[Publisher]], Coroutine[Any, Any, None]]
) -> list[str]:
    """Publish, each claim's publisher at hand; the reasons for which they were to stop."""
    stops: list[str] = []

    async def told() -> None:
        async with open_pipe(server) as pipe:
            outbox = Outbox(pipe)
            await story([Publisher(claim, _seal(claim), outbox, stops.append) for claim in claims])

    asyncio.run(told())
    return stops


def _seal(claim: Claim) -> JobSeal:
    return SEALER.job(claim.tenant, claim.id)


@pytest.mark.parametrize("count", [1, 3, 499, 500, 501, 5000])
def test_events_are_logged_in_their_order(redis_server: RedisServer, count: int) -> None:
    client = redis_server.client()
    (claim,) = claimed(client)

    async def story(publishers: list[Publisher]) -> None:
        (publisher,) = publishers
        for number in range(count):
            await publisher.add(delta(b"%d" % number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await publisher.drained()
        assert publisher.waiting == [] and publisher.last == count

    assert tell(redis_server, [claim], story) == []
    assert [(number, event.body) for number, event in logged(client, claim)] == [
        (n + 1, b"%d" % n) for n in range(count)
    ]


def test_the_door_is_handed_the_same_events(redis_server: RedisServer) -> None:
    client = redis_server.client()
    (claim,) = claimed(client)
    store.run(client, store.door_beat("door1"))

    async def story(publishers: list[Publisher]) -> None:
        for number in range(50):
            await publishers[0].add(delta(b"%d" % number))
        await publishers[0].drained()

    tell(redis_server, [claim], story)
    handed: Any = client.lrange("gw:replies:door1", 0, -1)
    page = store.run(client, store.events(claim.id, 0))
    assert [entry.split(b" ", 2) for entry in handed] == [
        [claim.id.encode(), b"%d" % last, sealed] for last, sealed in page
    ]
    assert len(page) == 1 and page[0][0] == 50  # nothing was under way when they came


def test_no_delta_waits_for_another(redis_server: RedisServer) -> None:
    client = redis_server.client()
    (claim,) = claimed(client)

    async def story(publishers: list[Publisher]) -> None:
        for number in range(5):
            await publishers[0].add(delta(b"%d" % number))
            await publishers[0].drained()

    tell(redis_server, [claim], story)
    assert [last for last, _ in store.run(client, store.events(claim.id, 0))] == [1, 2, 3, 4, 5]


def test_many_jobs_share_a_write_and_stay_apart(redis_server: RedisServer) -> None:
    client = redis_server.client()
    claims = claimed(client, 60)

    async def story(publishers: list[Publisher]) -> None:
        async def speak(publisher: Publisher, who: int) -> None:
            for number in range(40):
                await publisher.add(delta(b"%d.%d" % (who, number)))
                await asyncio.sleep(0)
            await publisher.drained()

        await asyncio.gather(*(speak(publisher, who) for who, publisher in enumerate(publishers)))

    assert tell(redis_server, claims, story) == []
    for who, claim in enumerate(claims):
        assert [event.body for _, event in logged(client, claim)] == [b"%d.%d" % (who, n) for n in range(40)]


@pytest.mark.parametrize(("jobs", "writes"), [(3, 3), (4, 2), (20, 2)])
def test_after_a_write_for_several_jobs_the_next_one_gathers(
    redis_server: RedisServer, jobs: int, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.publisher._GATHER_S", 0.2)
    client = redis_server.client()
    claims = claimed(client, jobs)

    async def story(publishers: list[Publisher]) -> None:
        for publisher in publishers:
            publisher.put(delta(b"first"))
        await asyncio.gather(*(publisher.drained() for publisher in publishers))
        publishers[0].put(delta(b"second"))
        await asyncio.sleep(0)  # its write has begun, where nothing is gathered
        publishers[1].put(delta(b"second"))
        await asyncio.gather(*(publisher.drained() for publisher in publishers))

    before = _scripts_run(redis_server)
    assert tell(redis_server, claims, story) == []
    assert _scripts_run(redis_server) - before == writes
    for claim in claims[:2]:
        assert [event.body for _, event in logged(client, claim)] == [b"first", b"second"]


def _scripts_run(server: RedisServer) -> int:
    stats: Any = server.admin().info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


def test_more_of_a_job_than_redis_takes_has_to_wait(redis_server: RedisServer) -> None:
    (claim,) = claimed(redis_server.client())

    async def story(publishers: list[Publisher]) -> None:
        (publisher,) = publishers
        free = [publisher.put(delta(b"x")) for _ in range(2_100)]
        assert free == [True] * 2_000 + [False] * 100
        await publisher.add(delta(b"x"))
        assert not publisher.waiting and publisher.put(delta(b"x"))
        await publisher.drained()

    assert tell(redis_server, [claim], story) == []


def test_a_cut_connection_loses_no_event_and_doubles_none(redis_server: RedisServer) -> None:
    client = redis_server.client()
    (claim,) = claimed(client)

    async def story(publishers: list[Publisher]) -> None:
        loop = asyncio.get_running_loop()
        for number in range(600):
            await publishers[0].add(delta(b"%d" % number))
            if number % 150 == 20:
                await loop.run_in_executor(
                    None, lambda: redis_server.admin().client_kill_filter(_type="normal", skipme=True)
                )
        await publishers[0].drained()

    assert tell(redis_server, [claim], story) == []
    assert [event.body for _, event in logged(client, claim)] == [b"%d" % n for n in range(600)]


def test_what_only_says_that_it_began_has_said_nothing(redis_server: RedisServer) -> None:
    (claim,) = claimed(redis_server.client())

    async def story(publishers: list[Publisher]) -> None:
        await publishers[0].add(Event(Kind.STARTED, {"provider": "ollama"}))
        assert not publishers[0].said
        await publishers[0].add(delta(b"{}"))
        assert publishers[0].said
        await publishers[0].drained()
        await publishers[0].drained()  # once more: there is nothing to wait for

    tell(redis_server, [claim], story)


def test_who_has_lost_his_job_is_told_so_and_writes_nothing(redis_server: RedisServer) -> None:
    client = redis_server.client()
    lost, kept = claimed(client, 2)
    store.run(client, store.release(lost, lost.spec, why="test"))

    async def story(publishers: list[Publisher]) -> None:
        for publisher in publishers:
            await publisher.add(delta(b"{}"))
        for publisher in publishers:
            await publisher.drained()

    assert tell(redis_server, [lost, kept], story) == ["lost"]
    assert logged(client, lost) == [] and len(logged(client, kept)) == 1


def test_who_is_to_stop_hears_why_with_his_next_word(redis_server: RedisServer) -> None:
    client = redis_server.client()
    (claim,) = claimed(client)
    store.run(client, store.cancel(claim.id, "acme", "hangup"))

    async def story(publishers: list[Publisher]) -> None:
        await publishers[0].add(delta(b"{}"))
        await publishers[0].drained()

    assert tell(redis_server, [claim], story) == ["hangup"]
