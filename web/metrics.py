"""Counters for Prometheus, served on a port of their own and without tenants' names."""

from __future__ import annotations

import time

from prometheus_client import Counter, Histogram

_REQUESTS = Counter("gateway_requests_total", "Answered HTTP requests.", ["endpoint", "status"])
_SECONDS = Histogram(
    "gateway_request_seconds",
    "From a request's arrival to the head of its answer.",
    ["endpoint"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)


class Requests:
    """Counts this process's answers."""

    now = staticmethod(time.monotonic)

    def count(self, endpoint: str | None, status: int, began: float) -> None:
        name = endpoint or "none"
        _REQUESTS.labels(name, str(status)).inc()
        _SECONDS.labels(name).observe(time.monotonic() - began)
