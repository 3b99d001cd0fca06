"""One gateway for all tests of this folder: each plays models of its own, so that none disturbs another."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.crowd import Trio
from tests.acceptance.gateway import LIVE, SERVED, SETTINGS, Gateway, opened
from tests.acceptance.upstream import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    yield from Upstream().run()


@pytest.fixture(scope="session")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    queues = ",".join(["system", *(f"tasks.{name}" for name in SERVED)])
    web = {"GATEWAY_ALLOWED_ORIGINS": "https://app.example"}
    folder = tmp_path_factory.mktemp("gateway")
    with opened(Gateway, folder, SETTINGS, upstream, LIVE, queues=queues, web=web) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def trio(gateway: Gateway) -> Trio:
    """The same gateway with two more web processes."""
    return Trio(gateway, [gateway.url, *(gateway.stack.start_web().url for _ in range(2))])


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.http() as client:
        yield client
