"""Jobs as a door submits them and a worker claims them, for tests of what comes after."""

from __future__ import annotations

import redis

from mesh import store
from mesh.job import Claim, Spec, Submission, Target, new_id


def claimed(client: redis.Redis, count: int = 1, *, door: str = "door1") -> list[Claim]:
    """So many streamed jobs of one tenant, running."""
    for _ in range(count):
        job = Submission(
            id=new_id(),
            tenant="acme",
            key="k1",
            spec=Spec(endpoint="chat.completions", model="m", targets=(Target("ollama", "m"),), stream=True),
            request=b"sealed",
            timeout_ms=60_000,
            retention_ms=60_000,
            door=door,
        )
        store.run(client, store.submit(job, lane_limit=1000, idempotency_ms=1000, index_ms=1000))
    return store.run(client, store.claim("w1", 1, count, 0, [("ollama", False)], max_attempts=3)).jobs
