"""Pulls in Redis: one a model, one worker at a time, and none lost with its worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
import redis

from mesh import errors, store
from mesh.pull import Progress
from tests.conftest import RedisServer

Do = Callable[[store.Call[Any]], Any]
OLLAMA = "gw:tasks.ollama"


@pytest.fixture
def client(redis_server: RedisServer) -> redis.Redis:
    return redis_server.client()


@pytest.fixture
def do(client: redis.Redis) -> Do:
    return lambda call: store.run(client, call)


def asked(do: Do, model: str = "llama3.2:1b") -> str:
    pull = do(store.pull("ollama", model))
    assert pull is not None
    return str(pull.id)


def tell(do: Do, pull: str, boot: str, state: Any, progress: Progress | None = None, error: Any = None) -> Any:
    return do(store.pulling(pull, boot, state, progress or Progress(), error))


def lapse(client: Any, pull: str) -> None:
    client.zadd("gw:pulls:open", {pull: 0})


def reaped(do: Do) -> int:
    """How many pulls the reaper rings anew."""
    rung: int = do(store.reap([], max_attempts=3)).pulls_rung
    return rung


def test_a_pull_rings_its_providers_queue_once_until_it_has_ended(do: Do, client: Any) -> None:
    first = asked(do)
    assert asked(do) == first and asked(do, "another") != first
    messages = [orjson.loads(message) for message in client.lrange(OLLAMA, 0, -1)]
    assert [message["headers"]["task"] for message in messages] == ["workers.tasks.pull"] * 2
    assert orjson.loads(messages[-1]["body"])[0] == [first]
    assert tell(do, first, "w1", "running") == ("ollama", "llama3.2:1b")
    asked(do)
    assert client.llen(OLLAMA) == 2
    tell(do, first, "w1", "failed", error=errors.ProviderBrokeOff("cut"))
    assert asked(do) == first and client.llen(OLLAMA) == 3
    again = do(store.pulls())[0]
    assert (again.state, again.error, again.started_ms, again.ended_ms) == ("queued", None, None, None)


def test_a_pull_is_one_workers_until_its_lease_ends(do: Do, client: Any) -> None:
    pull = asked(do)
    assert tell(do, pull, "w1", "running") and tell(do, pull, "w1", "running", Progress("half", 5, 10))
    assert tell(do, pull, "w2", "running") is None and tell(do, pull, "w2", "queued") is None
    assert do(store.pulls())[0].progress == Progress("half", 5, 10)
    lapse(client, pull)
    assert tell(do, pull, "w2", "running")
    assert tell(do, pull, "w1", "done") is None
    assert tell(do, pull, "w2", "done", Progress("success", 10, 10))
    assert tell(do, pull, "w2", "running") is None
    (ended,) = do(store.pulls())
    assert (ended.state, ended.progress.completed_bytes, ended.error) == ("done", 10, None)
    assert not client.exists("gw:pulls:open")


def test_a_pull_whose_worker_is_gone_is_rung_anew_by_the_reaper(do: Do, client: Any) -> None:
    pull = asked(do)
    tell(do, pull, "w1", "running")
    assert reaped(do) == 0
    lapse(client, pull)
    assert reaped(do) == 1 and reaped(do) == 0
    assert client.llen(OLLAMA) == 2 and do(store.pulls())[0].state == "queued"
    tags = {orjson.loads(message)["properties"]["delivery_tag"] for message in client.lrange(OLLAMA, 0, -1)}
    assert len(tags) == 2
    assert tell(do, pull, "w2", "running")


def test_a_pull_that_is_given_back_waits_again(do: Do, client: Any) -> None:
    pull = asked(do)
    tell(do, pull, "w1", "running")
    tell(do, pull, "w1", "queued", Progress("half", 5, 10))
    assert client.llen(OLLAMA) == 2
    assert do(store.pulls())[0].state == "queued" and tell(do, pull, "w2", "running")


def test_only_so_many_are_open_at_once_and_what_has_gone_takes_no_place(do: Do, client: Any) -> None:
    ids = [asked(do, f"model-{number}") for number in range(store.MOST_PULLS)]
    assert do(store.pull("ollama", "one-more")) is None
    assert asked(do, "model-0") == ids[0]
    client.delete(f"gw:pull:{ids[1]}")
    lapse(client, ids[1])
    assert reaped(do) == 0
    assert do(store.pull("ollama", "one-more")) is not None
    assert len(do(store.pulls())) == store.MOST_PULLS


def test_a_pull_is_kept_for_a_day(do: Do, client: Any) -> None:
    pull = asked(do)
    tell(do, pull, "w1", "running")
    tell(do, pull, "w1", "done")
    assert 86_000_000 < client.pttl(f"gw:pull:{pull}") <= 86_400_000


def test_what_was_heard_of_a_provider_stays_beside_what_is_heard_next(do: Do) -> None:
    do(store.listed("a", True, ["one"], None))
    do(store.listed("a", True, None, errors.ProviderUnavailable("away")))
    do(store.listed("b-2", False, None, errors.ProviderKeyRefused("no key")))
    heard = do(store.get_asked())
    assert heard.keys() == {"a", "b-2"} and do(store.get_models()) == {"a": ["one"]}
    a, b = heard["a"], heard["b-2"]
    assert (a.pulls, a.error["class"], a.error["message"]) == (True, "ProviderUnavailable", "away")
    assert a.listed_ms and a.error_ms >= a.listed_ms
    assert (b.pulls, b.listed_ms, b.error["code"]) == (False, None, "provider_key_refused")
