"""Claims that stand behind looks, with a real server between: each job once, never more than there are slots."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
import redis

from mesh import store, wire
from mesh.job import Claim, Spec, Submission, Target, new_id
from mesh.lanes import Priority
from tests.conftest import RedisServer, wait_until
from tests.workers.test_pipe import open_pipe
from workers.claiming import Claiming


class Hands:
    """What claims work for: `slots` of them, each busy until it is let go."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.busy: list[str] = []
        self.begun: list[str] = []
        self.most = 0
        self.asked_s = 0.0
        self.claiming: Claiming
        self.heard = asyncio.Event()

    def begin(self, claim: Claim, asked_s: float) -> None:
        self.asked_s = asked_s
        self.begun.append(claim.id)
        self.busy.append(claim.id)
        self.most = max(self.most, len(self.busy))
        self.heard.set()

    def let_go(self) -> None:
        self.busy.clear()
        self.claiming.freed()

    async def have(self, count: int) -> None:
        while len(self.begun) < count:
            self.heard.clear()
            await self.heard.wait()


class Relay:
    """Stands before a server, and loses one answer with its connection once it `swallows`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.swallows = self.swallowed = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        server = await asyncio.start_server(self._join, "127.0.0.1")
        return int(server.sockets[0].getsockname()[1])

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [self._pass(reader, forth, loses=False), self._pass(back, writer, loses=True)]
        self._tasks |= {asyncio.ensure_future(way) for way in ways}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, loses: bool) -> None:
        while data := await reader.read(65536):
            if loses and self.swallows:
                self.swallows, self.swallowed = False, True
                break
            writer.write(data)
        writer.close()


Story = Callable[[Hands], Coroutine[Any, Any, None]]
OLLAMA = (("ollama", False),)


def tell(
    server: RedisServer,
    story: Story,
    *,
    slots: int = 10,
    served: Sequence[tuple[str, bool]] = OLLAMA,
    relay: Relay | None = None,
) -> Hands:
    async def told() -> Hands:
        hands = Hands(slots)
        url = server.url.replace(str(server.port), str(await relay.open())) if relay else server.url
        async with open_pipe(server) as pipe:
            hands.claiming = Claiming(
                wire.Address.parse(url),
                pipe,
                "w1",
                served=lambda: served,
                free=lambda: hands.slots - len(hands.busy),
                max_attempts=lambda: 3,
                begin=hands.begin,
            )
            running = asyncio.create_task(hands.claiming.run())
            try:
                await story(hands)
            finally:
                running.cancel()
                await asyncio.wait([running])
        return hands

    return asyncio.run(told())


def put(
    client: redis.Redis, provider: str = "ollama", priority: Priority = "interactive", *, private: bool = False
) -> str:
    job = Submission(
        id=new_id(),
        tenant="acme",
        key="k1",
        spec=Spec(endpoint="chat.completions", model="m", targets=(Target(provider, "m"),)),
        request=b"sealed",
        timeout_ms=60_000,
        retention_ms=60_000,
        door="door1",
        priority=priority,
        private=private,
    )
    store.run(client, store.submit(job, lane_limit=1000, idempotency_ms=1000, index_ms=1000))
    return job.id


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition)


def blocked(server: RedisServer, count: int) -> Callable[[], bool]:
    """Whether so many looks stand."""
    return lambda: server.admin().info("clients")["blocked_clients"] == count


def test_what_waits_and_what_comes_is_begun_in_its_order(redis_server: RedisServer) -> None:
    client = redis_server.client()
    ids = [put(client) for _ in range(3)]

    async def story(hands: Hands) -> None:
        await hands.have(3)
        for count in range(4, 20):
            ids.append(put(client))
            await hands.have(count)

    assert tell(redis_server, story, slots=100).begun == ids


def test_the_claim_that_brings_a_job_was_sent_before_the_job_came(redis_server: RedisServer) -> None:
    client = redis_server.client()

    async def story(hands: Hands) -> None:
        await until(blocked(redis_server, 2))
        came_s = asyncio.get_running_loop().time()
        put(client)
        await hands.have(1)
        assert hands.asked_s < came_s

    tell(redis_server, story)


@pytest.mark.parametrize("names", [("ollama",), ("ollama", "openai", "anthropic")])
def test_never_more_jobs_than_slots_whatever_lanes_ring_at_once(
    redis_server: RedisServer, names: tuple[str, ...]
) -> None:
    client = redis_server.client()

    async def story(hands: Hands) -> None:
        await until(blocked(redis_server, 2 * len(names)))
        priorities: tuple[Priority, ...] = ("interactive", "batch")
        ids = {put(client, name, priority) for _ in range(5) for priority in priorities for name in names}
        while len(hands.begun) < len(ids):
            await until(lambda: hands.busy)
            await asyncio.sleep(0.02)  # for more to come, if more could
            hands.let_go()
        assert set(hands.begun) == ids and len(hands.begun) == len(ids)

    assert tell(redis_server, story, slots=2, served=[(name, False) for name in names]).most == 2


def test_connections_that_are_cut_again_and_again_lose_no_job_and_double_none(redis_server: RedisServer) -> None:
    client = redis_server.client()

    async def story(hands: Hands) -> None:
        ids: list[str] = []
        for _ in range(30):
            ids += [put(client), put(client, priority="batch")]
            redis_server.admin().client_kill_filter(user="gw", skipme=False)
            await asyncio.sleep(0.01)
        await hands.have(60)
        assert sorted(hands.begun) == sorted(ids)

    tell(redis_server, story, slots=1000)


def test_a_claim_that_was_carried_out_while_its_connection_died_is_answered_again(redis_server: RedisServer) -> None:
    client = redis_server.client()

    async def story(hands: Hands) -> None:
        await until(blocked(redis_server, 2))
        relay.swallows = True
        job_id = put(client)
        await hands.have(1)
        assert hands.begun == [job_id] and relay.swallowed
        assert client.hget(f"gw:job:{job_id}", "attempt") == b"1"

    relay = Relay(redis_server.port)
    tell(redis_server, story, relay=relay)


def test_once_closed_nothing_is_taken(redis_server: RedisServer) -> None:
    client = redis_server.client()

    async def story(hands: Hands) -> None:
        await until(blocked(redis_server, 2))
        await hands.claiming.close()
        put(client)
        await until(blocked(redis_server, 0))
        assert hands.begun == [] and client.llen("gw:ollama") == 1

    tell(redis_server, story)


def test_a_claim_made_by_settings_of_before_takes_nothing(redis_server: RedisServer) -> None:
    client = redis_server.client()
    served = [("ollama", False)]  # it would close a private job

    async def story(hands: Hands) -> None:
        await until(blocked(redis_server, 2))
        served[:] = [("ollama", True)]
        await hands.claiming.start_over()
        job_id = put(client, private=True)
        await hands.have(1)
        assert hands.begun == [job_id]

    tell(redis_server, story, served=served)
