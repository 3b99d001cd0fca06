"""Counters for Prometheus, served on a port of their own and without tenants' names."""

from __future__ import annotations

import functools
import time

from prometheus_client import Counter, Histogram

_REQUESTS = Counter("gateway_requests_total", "Answered HTTP requests.", ["endpoint", "status"])
_SECONDS = Histogram(
    "gateway_request_seconds",
    "From a request's arrival to the head of its answer.",
    ["endpoint"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)

_LIMITED = Counter("gateway_limited_total", "Requests that a limit or a budget refused.", ["limit"])


def refused(limit: str) -> None:
    """
    limit: its name, such as key.requests_per_minute; whose it is stays out.
    """
    _LIMITED.labels(limit).inc()


class Requests:
    """Counts this process's answers."""

    now = staticmethod(time.monotonic)

    def count(self, endpoint: str, status: int, began: float) -> None:
        _counter(endpoint, status).inc()
        _histogram(endpoint).observe(time.monotonic() - began)


@functools.cache
def _counter(endpoint: str, status: int) -> Counter:
    return _REQUESTS.labels(endpoint, str(status))


@functools.cache
def _histogram(endpoint: str) -> Histogram:
    return _SECONDS.labels(endpoint)
