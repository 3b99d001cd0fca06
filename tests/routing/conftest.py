"""One running gateway for the tests of routes, whose configuration they change while it runs."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.gateway import Gateway, opened
from tests.acceptance.upstream import Upstream
from tests.conftest import free_port

SETTINGS = """
provider_models:
  first: [one-]
  second: [two-]
  inner: [inner-]
providers:
  first: {adapter: openai, base_url_env: UPSTREAM_URL}
  second: {adapter: openai, base_url_env: UPSTREAM_URL}
  inner: {adapter: openai, base_url_env: UPSTREAM_URL, private: true}
models:
  one-dear: {input_usd_per_mtok: 10, output_usd_per_mtok: 30, tools: true}
  two-dear: {input_usd_per_mtok: 1, output_usd_per_mtok: 3, tools: false}
aliases:
  both: {targets: [one-dear, two-dear, inner-free], rule: cheapest}
lanes: {retry_base_ms: 40, max_attempts: 3}
circuit: {failures: 3, least: 1000, open_s: 1.5}
"""
LIVE = ("first", "second", "inner")


class Running(Gateway):
    """The gateway and its file."""

    metrics_url = ""

    def edit(self, old: str, new: str) -> None:
        path = self.stack.folder / "gateway-settings.yaml"
        text = path.read_text()
        assert old in text
        self.write(text.replace(old, new))

    def write(self, text: str) -> None:
        """As a ConfigMap's update does it: the whole new content at once."""
        fresh = self.stack.folder / "fresh.yaml"
        fresh.write_text(text)
        fresh.replace(self.stack.folder / "gateway-settings.yaml")

    def add(self, text: str) -> None:
        self.write((self.stack.folder / "gateway-settings.yaml").read_text() + text)


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    yield from Upstream().run()


@pytest.fixture(scope="session")
def running(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    port = free_port()
    # No GATEWAY_PROVIDERS: what the file enables is live, and a new one is as soon as it stands there.
    environment, web = {"GATEWAY_PROVIDERS": ""}, {"GATEWAY_METRICS_PORT": str(port)}
    folder = tmp_path_factory.mktemp("routing")
    with opened(Running, folder, SETTINGS, upstream, LIVE, environment=environment, web=web) as gateway:
        gateway.metrics_url = f"http://127.0.0.1:{port}/metrics"
        yield gateway


@pytest.fixture
def gateway(running: Running) -> Iterator[Running]:
    """The running gateway, with the configuration that it began with."""
    yield running
    running.write(SETTINGS)


@pytest.fixture
def http(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.http() as client:
        yield client


@pytest.fixture
def admin(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.http(gateway.admin_key) as client:
        yield client
