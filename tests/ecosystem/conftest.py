"""One gateway in front of every provider's stand-in, and the clients that people bring to it."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RedisServer
from tests.ecosystem import installed
from tests.ecosystem.gateway import PROVIDERS, Gateway, config
from tests.ecosystem.mind import Mind
from tests.stack import Stack
from tests.standins import StandIn
from tests.standins.bedrock import ENVIRONMENT
from workers.providers import ADAPTERS


@pytest.fixture(scope="session")
def stand_ins() -> Iterator[dict[str, StandIn]]:
    """One for each adapter, by its name, serving."""
    kinds = {name: importlib.import_module(f"tests.standins.{name}").Server for name in ADAPTERS}
    servers: dict[str, StandIn] = {name: type("Thinking", (Mind, kind), {})() for name, kind in kinds.items()}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    for server in servers.values():
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield servers
    for server in servers.values():
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


@pytest.fixture(scope="session")
def gateway(stand_ins: dict[str, StandIn], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "gateway-settings.yaml").write_text(config(stand_ins).model_dump_json())  # JSON is YAML
    redis = RedisServer(folder)
    redis.start()
    stack = Stack(redis, folder, ENVIRONMENT, PROVIDERS, folder)
    try:
        web = stack.start_web()
        stack.start_worker()
        yield Gateway(f"{web.url}/v1", stack.key(role="user"))
    finally:
        stack.stop()
        redis.stop()


@pytest.fixture(scope="session")
def python() -> Path:
    return installed.python()


@pytest.fixture(scope="session")
def node() -> Path:
    return installed.node()
