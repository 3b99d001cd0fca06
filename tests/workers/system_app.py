"""The Celery application for a worker-system whose internet is one host on loopback (-A tests.workers.system_app)."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

from mesh.settings import Environment, load_config
from workers import images
from workers.app import create_app
from workers.fetch import Fetcher

_environment = Environment()
_config = load_config(_environment.config)


async def _resolve(name: str) -> Sequence[str]:
    return ("127.0.0.1",)


app = create_app(
    _environment,
    _config,
    Fetcher(
        images.rules(_config.fetch),
        resolve=_resolve,
        allowed=lambda address: True,
        tls=ssl.create_default_context(cafile=os.environ["TEST_HOST_CA"]),
        port=int(os.environ["TEST_HOST_PORT"]),
    ),
)
