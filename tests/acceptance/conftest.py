"""One gateway for all tests of this folder: each plays models of its own, so that none disturbs another."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.crowd import Trio
from tests.acceptance.gateway import LIVE, SERVED, SETTINGS, Gateway
from tests.acceptance.upstream import Upstream
from tests.conftest import RedisServer
from tests.stack import Stack


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    yield from Upstream().run()


@pytest.fixture(scope="session")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "gateway-settings.yaml").write_text(SETTINGS)
    redis = RedisServer(folder)
    redis.start()
    stack = Stack(redis, folder, {"UPSTREAM_URL": f"{upstream.url}/v1"}, LIVE, folder)
    try:
        web = stack.start_web(GATEWAY_ALLOWED_ORIGINS="https://app.example")
        stack.start_worker(queues=",".join(["system", *(f"tasks.{name}" for name in SERVED)]))
        yield Gateway(
            stack=stack,
            web=web,
            upstream=upstream,
            admin_key=stack.key("acme"),
            key=stack.key("acme", "user"),
            other_key=stack.key("umbrella", "user"),
        )
    finally:
        stack.stop()
        redis.stop()


@pytest.fixture(scope="session")
def trio(gateway: Gateway) -> Trio:
    """The same gateway with two more web processes."""
    return Trio(gateway, [gateway.url, *(gateway.stack.start_web().url for _ in range(2))])


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.http() as client:
        yield client
