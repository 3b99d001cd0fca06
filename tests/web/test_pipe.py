"""The door's shared connection against a real server that is cut, demoted, frozen and restarted under it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from mesh import errors, store, wire
from mesh.wire import Refused
from tests.conftest import RedisServer
from web.pipe import Pipe


@pytest.fixture
def open_pipe() -> Iterator[Callable[..., Pipe]]:
    pipes: list[Pipe] = []

    def opened(server: RedisServer, patience_s: float = 15.0) -> Pipe:
        pipe = Pipe(wire.Address.parse(server.url), "test-pipe", patience_s=patience_s)
        pipe.start()
        pipes.append(pipe)
        return pipe

    with gevent.Timeout(30):
        yield opened
    for pipe in pipes:
        pipe.stop()


def echo(text: object) -> store.Call[str]:
    return store.Call(("ECHO", str(text)), bytes.decode)


def together(pipe: Pipe, calls: list[store.Call[Any]]) -> list[Any]:
    """All at once; what was raised stands in the place of its reply."""

    def do(call: store.Call[Any]) -> Any:
        try:
            return pipe.do(call)
        except (Refused, errors.GatewayError) as error:
            return error

    return [greenlet.get() for greenlet in [gevent.spawn(do, call) for call in calls]]


def test_everybody_gets_the_reply_to_his_own_command(redis_server: RedisServer, open_pipe: Any) -> None:
    assert together(open_pipe(redis_server), [echo(n) for n in range(3000)]) == [str(n) for n in range(3000)]


def test_commands_arrive_in_their_order(redis_server: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(redis_server)
    together(pipe, [store.Call(("RPUSH", "gw:order", n), int) for n in range(2000)])
    assert [int(n) for n in pipe.do(store.Call(("LRANGE", "gw:order", 0, -1), list))] == list(range(2000))


def test_a_refused_command_disturbs_nobody_else(redis_server: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(redis_server)
    pipe.do(store.Call(("SET", "gw:text", "x"), str))
    refused = [
        store.Call(("FLUSHALL",), str),  # not this user's right
        store.Call(("GET", "elsewhere"), str),  # not this user's keys
        store.Call(("LPUSH", "gw:text", "x"), str),  # not a list
        store.Call(("NOSUCH",), str),
    ]
    replies = together(pipe, [call for n in range(100) for call in (echo(n), refused[n % 4])])
    assert replies[::2] == [str(n) for n in range(100)]
    assert all(isinstance(reply, Refused) for reply in replies[1::2])


def test_scripts_are_known_again_after_a_flush(redis_server: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(redis_server)
    for _ in range(3):
        assert pipe.do(store.status("job-1", "acme")) is None
        redis_server.admin().script_flush()
        calls: list[store.Call[Any]] = [echo(1), store.status("job-1", "acme"), echo(2), store.status("job-2", "acme")]
        assert together(pipe, calls) == ["1", None, "2", None]


def test_cut_connections_lose_no_reply(redis_server: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(redis_server)
    replies: list[str] = []

    def ask(number: int) -> None:
        for turn in range(40):
            replies.append(pipe.do(echo(f"{number}.{turn}")))
            gevent.sleep(0.005)

    asking = [gevent.spawn(ask, number) for number in range(50)]
    for _ in range(6):
        redis_server.admin().client_kill_filter(_type="normal", skipme=True)
        gevent.sleep(0.02)
    gevent.joinall(asking, raise_error=True)
    assert sorted(replies) == sorted(f"{number}.{turn}" for number in range(50) for turn in range(40))


def test_a_short_absence_is_waited_for(own_redis: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(own_redis)
    pipe.do(store.Call(("SET", "gw:kept", "1"), str))
    own_redis.kill()
    kept = gevent.spawn(pipe.do, store.Call(("GET", "gw:kept"), bytes))
    assert not kept.ready() and kept.join(0.3) is None
    own_redis.start()
    assert kept.get() == b"1"


def test_a_demoted_primary_is_waited_for(own_redis: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(own_redis)
    own_redis.admin().replicaof("127.0.0.1", 1)
    writing = gevent.spawn(pipe.do, store.Call(("SET", "gw:x", "1"), bytes))
    writing.join(0.5)
    assert not writing.ready()
    own_redis.admin().replicaof("NO", "ONE")
    assert writing.get() == b"OK"


def test_a_long_absence_is_an_error_and_then_all_is_well_again(own_redis: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(own_redis, patience_s=0.5)
    assert pipe.do(echo(0)) == "0"
    own_redis.kill()
    replies = together(pipe, [echo(n) for n in range(20)])
    assert all(isinstance(reply, errors.StoreUnavailable) and reply.retry_after_s for reply in replies)
    own_redis.start()
    replies = []
    while not replies or isinstance(replies[0], errors.StoreUnavailable):
        replies = together(pipe, [echo(n) for n in range(20)])
    assert replies == [str(n) for n in range(20)]


def test_late_replies_of_a_frozen_server_are_nobody_elses(own_redis: RedisServer, open_pipe: Any) -> None:
    pipe = open_pipe(own_redis, patience_s=0.5)
    assert pipe.do(echo("before")) == "before"
    assert own_redis.process is not None
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        replies = together(pipe, [echo(f"given up {n}") for n in range(10)])
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert all(isinstance(reply, errors.StoreUnavailable) for reply in replies)
    assert together(pipe, [echo(n) for n in range(10)]) == [str(n) for n in range(10)]


@pytest.mark.parametrize("size", [0, 1, 65_536, 8_000_000])
def test_a_text_of_any_size_comes_back(redis_server: RedisServer, open_pipe: Any, size: int) -> None:
    assert open_pipe(redis_server).do(echo("x" * size)) == "x" * size
