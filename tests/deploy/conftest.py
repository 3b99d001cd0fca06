"""The laptop's overlay, running as processes before an upstream that obeys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.upstream import Upstream
from tests.deploy.manifests import Manifests, build
from tests.deploy.pods import Cluster, opened


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def laptop() -> Manifests:
    """With the user's own key of a provider, as the quick start makes it."""
    return build("overlays/dev").with_secret("llm-api-keys", OPENAI_API_KEY="k")


@pytest.fixture(scope="module")
def cluster(laptop: Manifests, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Redis as the manifests have it; a test starts what it wants beside it."""
    with opened(laptop, tmp_path_factory.mktemp("pods"), OPENAI_BASE_URL=f"{upstream.url}/v1") as running:
        yield running
