"""What KEDA reads while work comes and goes, with the rights that it has."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import redis

from mesh import store
from tests.chaos.callers import Caller
from tests.chaos.upstream import Wish
from tests.conftest import wait_until
from tests.deploy.manifests import build, lists
from tests.deploy.pods import Cluster

pytestmark = pytest.mark.timeout(600)  # the first test of all puts in place what reads manifests

# KEDA's redis scaler asks for a length by the key's type, in one script.
READ = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'zset' then return redis.call('ZCARD', KEYS[1]) end
if kind == 'hash' then return redis.call('HLEN', KEYS[1]) end
if kind == 'set' then return redis.call('SCARD', KEYS[1]) end
return redis.call('LLEN', KEYS[1])
"""


@dataclass(frozen=True)
class Truth:
    """What Redis itself holds, at one moment."""

    open: int  # jobs that have not ended
    running: int
    ended: int

    @property
    def submitted(self) -> int:
        return self.open + self.ended

    @property
    def claimed(self) -> int:
        return self.running + self.ended


@dataclass(frozen=True)
class Sample:
    before: Truth
    read: dict[str, int]  # by trigger
    after: Truth

    @property
    def total(self) -> int:
        return sum(self.read.values())

    @property
    def least(self) -> int:
        """Jobs that were open from the first moment to the last."""
        return self.before.open - (self.after.ended - self.before.ended)

    @property
    def most(self) -> int:
        """Jobs that were open at any moment, those that moved from waiting to running counted twice."""
        moved = self.after.claimed - self.before.claimed
        return self.before.open + (self.after.submitted - self.before.submitted) + moved


@pytest.fixture(scope="module")
def keda(cluster: Cluster) -> redis.Redis:
    """As KEDA's own user."""
    held = cluster.manifests.secret("redis-keda")
    return store.connect(cluster.url(held["username"], held["password"]))


@pytest.fixture(scope="module")
def reads() -> dict[str, str]:
    """The keys that KEDA reads for openai's worker, by trigger, in their order."""
    return lists(build("base").of("ScaledObject")["worker-openai"])


def truth(client: redis.Redis, reads: dict[str, str]) -> Truth:
    together = client.pipeline(transaction=True)
    together.zcard("gw:jobs:open")
    for key in (name for trigger, name in reads.items() if trigger.startswith("running")):
        together.zcard(key)
    together.xlen("gw:ledger:rows")
    open_, *running, ended = together.execute()
    return Truth(open_, sum(running), ended)


def watch(client: redis.Redis, keda: redis.Redis, reads: dict[str, str], stop: threading.Event) -> list[Sample]:
    samples = []
    while not stop.is_set():
        before = truth(client, reads)
        read = {name: int(keda.eval(READ, 1, key)) for name, key in reads.items()}  # type: ignore[arg-type]
        samples.append(Sample(before, read, truth(client, reads)))
        stop.wait(0.01)
    return samples


def test_the_scaler_reads_every_job_that_has_not_ended_through_a_whole_burst(
    cluster: Cluster, keda: redis.Redis, reads: dict[str, str]
) -> None:
    caller = Caller(cluster.start_ready("web").url(), cluster.key())
    cluster.start_ready("worker-openai", GATEWAY_SLOTS="8")
    stop = threading.Event()
    with ThreadPoolExecutor(41) as pool:
        watching = pool.submit(watch, cluster.client(), keda, reads, stop)
        ways = (caller.ask, caller.ask_later)
        wishes = [Wish(f"burst-{number}", delay_ms=100 + number % 5 * 20) for number in range(200)]
        answers = list(pool.map(lambda wish: ways[len(wish.marker) % 2](wish), wishes))
        wait_until(lambda: not truth(cluster.client(), reads).open, 20, "every job has ended")
        stop.set()
        samples = watching.result()
    assert {answer.status for answer in answers} == {200, 202}
    for sample in samples:
        assert sample.least <= sample.total <= sample.most, sample
    busy = [sample for sample in samples if sample.least > 0]
    assert len(busy) > 50
    assert min(sample.total for sample in busy) > 0
    for trigger in reads:
        assert max(sample.read[trigger] for sample in samples) > 0, trigger
    assert max(sample.total for sample in samples) > 8  # more than one pod's slots: the list alone would not tell
    assert samples[-1].after.open == 0
    assert not any(int(keda.eval(READ, 1, key)) for key in reads.values())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("LRANGE", "gw:openai", 0, -1), id="a message"),
        pytest.param(("HGETALL", "gw:job:1"), id="a job"),
        pytest.param(("DEL", "gw:openai"), id="to delete"),
        pytest.param(("EVAL", "return redis.call('HGETALL', KEYS[1])", 1, "gw:job:1"), id="a job, by a script"),
        pytest.param(("LLEN", "other"), id="another's key"),
        pytest.param(("CONFIG", "GET", "*"), id="the server's configuration"),
    ],
)
def test_the_scalers_user_may_take_lengths_and_nothing_else(keda: redis.Redis, command: tuple[str | int, ...]) -> None:
    with pytest.raises(redis.ResponseError, match=r"NOPERM|No permissions|permission|can't run|ACL"):
        keda.execute_command(*command)


def test_nobody_comes_in_without_a_name(cluster: Cluster) -> None:
    with pytest.raises(redis.RedisError):
        store.connect(f"redis://127.0.0.1:{cluster.redis_port}").ping()
    probe = store.connect(cluster.url("probe", "any"))
    assert probe.ping()
    with pytest.raises(redis.ResponseError):
        probe.get("gw:openai")


def test_redis_keeps_what_it_was_given_and_evicts_nothing(cluster: Cluster) -> None:
    asked = cluster.client().info()
    assert asked["aof_enabled"] == 1
    assert asked["maxmemory_policy"] == "noeviction"
    assert asked["maxmemory"] == 1 << 30
