"""A worker's shared connection against a real server that is cut, demoted, flushed and restarted under it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from mesh import store, wire
from mesh.wire import Refused
from tests.conftest import RedisServer
from workers.pipe import Pipe

Story = Callable[[Pipe], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def open_pipe(server: RedisServer) -> AsyncIterator[Pipe]:
    pipe = Pipe(wire.Address.parse(server.url), "test-pipe")
    running = asyncio.create_task(pipe.run())
    try:
        async with asyncio.timeout(30):
            yield pipe
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def tell(server: RedisServer, story: Story) -> None:
    async def told() -> None:
        async with open_pipe(server) as pipe:
            await story(pipe)

    asyncio.run(told())


def echo(text: object) -> store.Call[str]:
    return store.Call(("ECHO", str(text)), bytes.decode)


def aside(do: Callable[[], object]) -> asyncio.Future[object]:
    """Something that blocks, beside the loop."""
    return asyncio.get_running_loop().run_in_executor(None, do)


def test_everybody_gets_the_reply_to_his_own_command(redis_server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        assert await asyncio.gather(*(pipe.do(echo(n)) for n in range(3000))) == [str(n) for n in range(3000)]

    tell(redis_server, story)


def test_commands_of_one_turn_arrive_in_their_order(redis_server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        await asyncio.gather(*(pipe.do(store.Call(("RPUSH", "gw:order", n), int)) for n in range(2000)))
        kept = await pipe.do(store.Call(("LRANGE", "gw:order", 0, -1), list))
        assert [int(n) for n in kept] == list(range(2000))

    tell(redis_server, story)


def test_a_refused_command_disturbs_nobody_else(redis_server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        await pipe.do(store.Call(("SET", "gw:text", "x"), str))
        refused: list[store.Call[Any]] = [
            store.Call(("FLUSHALL",), str),  # not this user's right
            store.Call(("GET", "elsewhere"), str),  # not this user's keys
            store.Call(("LPUSH", "gw:text", "x"), int),  # not a list
            store.Call(("NOSUCH",), str),
        ]
        calls = [pipe.do(call) for n in range(100) for call in (echo(n), refused[n % 4])]
        replies = await asyncio.gather(*calls, return_exceptions=True)
        assert replies[::2] == [str(n) for n in range(100)]
        assert all(isinstance(reply, Refused) for reply in replies[1::2])

    tell(redis_server, story)


def test_scripts_are_known_again_after_a_flush(redis_server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        for _ in range(3):
            assert await pipe.do(store.status("job-1", "acme")) is None
            redis_server.admin().script_flush()
            calls = [
                pipe.do(echo(1)),
                pipe.do(store.status("job-1", "acme")),
                pipe.do(echo(2)),
                pipe.do(store.status("job-2", "acme")),
            ]
            assert await asyncio.gather(*calls) == ["1", None, "2", None]

    tell(redis_server, story)


def test_cut_connections_lose_no_reply(redis_server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        replies: list[str] = []

        async def ask(number: int) -> None:
            for turn in range(40):
                replies.append(await pipe.do(echo(f"{number}.{turn}")))
                await asyncio.sleep(0.005)

        async def cut() -> None:
            for _ in range(6):
                await aside(lambda: redis_server.admin().client_kill_filter(_type="normal", skipme=True))
                await asyncio.sleep(0.02)

        await asyncio.gather(cut(), *(ask(number) for number in range(50)))
        assert sorted(replies) == sorted(f"{number}.{turn}" for number in range(50) for turn in range(40))

    tell(redis_server, story)


def test_a_restart_is_waited_for(own_redis: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        await pipe.do(store.Call(("SET", "gw:kept", "1"), str))
        await aside(own_redis.kill)
        waiting = [asyncio.create_task(pipe.do(echo(n))) for n in range(10)]
        kept = asyncio.create_task(pipe.do(store.Call(("GET", "gw:kept"), bytes)))
        await asyncio.wait([*waiting], timeout=0.5)
        assert not any(task.done() for task in waiting)
        await aside(own_redis.start)
        assert await asyncio.gather(*waiting) == [str(n) for n in range(10)] and await kept == b"1"

    tell(own_redis, story)


def test_a_demoted_primary_is_waited_for(own_redis: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        assert await pipe.do(echo(0)) == "0"
        own_redis.admin().replicaof("127.0.0.1", 1)
        writing = asyncio.create_task(pipe.do(store.Call(("SET", "gw:x", "1"), bytes)))
        await asyncio.wait([writing], timeout=0.5)
        assert not writing.done()
        own_redis.admin().replicaof("NO", "ONE")
        assert await writing == b"OK"

    tell(own_redis, story)


def test_one_who_gives_up_leaves_the_others_their_replies(redis_server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        tasks = [asyncio.create_task(pipe.do(echo(n))) for n in range(100)]
        await asyncio.sleep(0)  # all are sent, none has been answered
        for task in tasks[::2]:
            task.cancel()
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        assert replies[1::2] == [str(n) for n in range(1, 100, 2)]
        assert all(isinstance(reply, asyncio.CancelledError) for reply in replies[::2])

    tell(redis_server, story)


@pytest.mark.parametrize("size", [0, 1, 65_536, 8_000_000])
def test_a_text_of_any_size_comes_back(redis_server: RedisServer, size: int) -> None:
    async def story(pipe: Pipe) -> None:
        assert await pipe.do(echo("x" * size)) == "x" * size

    tell(redis_server, story)


def test_a_wrong_password_is_tried_again(redis_server: RedisServer) -> None:
    async def story() -> None:
        address = wire.Address.parse(redis_server.url.replace("secret", "wrong"))
        pipe = Pipe(address, "test-pipe")
        running = asyncio.create_task(pipe.run())
        waiting = asyncio.create_task(pipe.do(echo(1)))
        await asyncio.wait([waiting, running], timeout=0.5)
        assert not waiting.done() and not running.done()  # it tries again: the password may be right in a moment
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)

    asyncio.run(story())
