"""Images that worker-system fetches for a worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mesh import lanes
from mesh.job import Claim
from mesh.store.call import Call, as_is, as_text, script

MOST_FETCHES = 1_000  # that wait for worker-system


def fetch(claim: Claim, fetch_id: str, sealed_url: bytes, life_ms: int) -> Call[str]:
    """Ask worker-system for what lies behind a URL: "ok", "lost", "private" or "full"."""
    return script("fetch", (claim.id, claim.fence, fetch_id, sealed_url, life_ms, MOST_FETCHES), as_text)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A URL that a job's worker waits for, still sealed."""

    tenant: str
    job_id: str
    url: bytes


def get_fetch(fetch_id: str) -> Call[Fetch | None]:
    """None when nobody waits for it any more."""

    def read(reply: Any) -> Fetch | None:
        tenant, job_id, url = reply
        return None if url is None else Fetch(as_text(tenant), as_text(job_id), url)

    return Call(("HMGET", f"{lanes.PREFIX}fetch:{fetch_id}", "tenant", "job", "url"), read)


def put_fetched(fetch_id: str, sealed: bytes) -> Call[bool]:
    """Hand over what was fetched; False when nobody waits for it any more."""
    return script("fetched", (fetch_id, sealed), bool)


def get_fetched(fetch_id: str) -> Call[bytes]:
    """What was fetched, still sealed; empty while it has not come."""
    return Call(("GET", f"{lanes.PREFIX}fetched:{fetch_id}"), lambda reply: reply or b"")


def forget_fetches(fetch_ids: Iterable[str]) -> Call[Any]:
    """Take back what was asked and throw away what has come."""
    keys = [f"{lanes.PREFIX}{kind}:{fetch_id}" for fetch_id in fetch_ids for kind in ("fetch", "fetched")]
    return Call(("UNLINK", *keys), as_is)
