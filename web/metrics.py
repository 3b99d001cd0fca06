"""Counters for Prometheus, served on a port of their own and without tenants' names."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import gevent
from prometheus_client import Counter, Gauge, Histogram

_REQUESTS = Counter("gateway_requests_total", "Answered HTTP requests.", ["endpoint", "status"])
_SECONDS = Histogram(
    "gateway_request_seconds",
    "From a request's arrival to the head of its answer.",
    ["endpoint"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
_WAITING = Gauge("gateway_waiting", "Jobs whose callers wait for them now.", multiprocess_mode="livesum")
_LOOK_S = 1.0
_GUARDED = Counter(
    "gateway_guard_verdicts_total", "What the guard said other than to allow.", ["stage", "category", "action"]
)
_GUARD_FAILURES = Counter("gateway_guard_failures_total", "Requests that could not be judged.", ["why"])
_GUARD_DOUBTS = Counter("gateway_guard_doubts_total", "Texts in doubt, and what the sentence model did.", ["outcome"])
_GUARD_ENDS = Counter("gateway_guard_process_ends_total", "Guard processes that ended and were started again.")
_CONFIG_LOADS = Gauge(
    "gateway_config_loads", "How often a content of this file came into force.", ["file"], multiprocess_mode="max"
)
_CONFIG_REFUSALS = Gauge(
    "gateway_config_refusals", "How many edits of this file were refused.", ["file"], multiprocess_mode="max"
)


def guarded(stage: str, category: str, action: str) -> None:
    _GUARDED.labels(stage, category, action).inc()


def guard_failed(why: str) -> None:
    _GUARD_FAILURES.labels(why).inc()


def guard_doubt(outcome: str) -> None:
    _GUARD_DOUBTS.labels(outcome).inc()


def guard_process_ended() -> None:
    _GUARD_ENDS.inc()


def config_seen(file: str, loads: int, refusals: int) -> None:
    _CONFIG_LOADS.labels(file).set(loads)
    _CONFIG_REFUSALS.labels(file).set(refusals)


_LIMITED = Counter("gateway_limited_total", "Requests that a limit or a budget refused.", ["limit"])


def refused(limit: str) -> None:
    """
    limit: its name, such as key.requests_per_minute; whose it is stays out.
    """
    _LIMITED.labels(limit).inc()


class Requests:
    """Counts this process's answers."""

    now = staticmethod(time.monotonic)

    def show_waiting(self, waiting: Callable[[], int]) -> None:
        """Keep the gauge at what `waiting` tells, for as long as this process lives."""
        while True:
            _WAITING.set(waiting())
            gevent.sleep(_LOOK_S)

    def count(self, endpoint: str, status: int, began: float) -> None:
        _counter(endpoint, status).inc()
        _histogram(endpoint).observe(time.monotonic() - began)


@functools.cache
def _counter(endpoint: str, status: int) -> Counter:
    return _REQUESTS.labels(endpoint, str(status))


@functools.cache
def _histogram(endpoint: str) -> Histogram:
    return _SECONDS.labels(endpoint)
