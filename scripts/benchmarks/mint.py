"""`python -m benchmarks.mint` prints a new API key of the gateway whose Redis is named in REDIS_URL."""

from __future__ import annotations

import redis

from mesh.settings import Environment
from web import auth

if __name__ == "__main__":
    client = redis.Redis.from_url(Environment().redis_url)
    print(auth.mint(client, tenant="default", role="admin", name="bench"))
