"""A year at internet scale, on paper: what a load needs, from the figures that were measured on two cores.

Each figure bears where it is from. Nothing here was run at that size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOURS_A_YEAR = 8_760


@dataclass(frozen=True)
class Measured:
    """CPU seconds and sizes of one job."""

    request_cpu_s: float = 0.62e-3  # README, "Speed": the worse of two runs; web, worker and Redis together
    chunk_cpu_s: float = 0.14e-3  # the same, a streamed chunk
    redis_request_cpu_s: float = 0.088e-3  # mesh/README, "Decisions": submit, claim and finish
    web_share: float = 0.86  # of what is not Redis: the parts of the prototype with the same shape, 0.22 and 0.036
    redis_chunk_share: float = 0.16  # of a chunk's: the same prototype, 0.05 of 0.31
    job_bytes: int = 3_200  # an ended job in Redis, weighed: scripts/simulator/README.md
    web_waits: int = 2_000  # blocked requests a web process was weighed with


@dataclass(frozen=True)
class Load:
    per_s: float = 10_000.0
    service_s: float = 6.5  # what the provider takes, on the average
    streamed: float = 0.5  # the share of requests that stream
    chunks: float = 100.0  # of one stream, as its worker sends them; what piles up leaves together
    retention_s: float = 3_600.0  # how long an ended job can be read


@dataclass(frozen=True)
class Shape:
    """How the pieces are cut."""

    slots: int = 512  # jobs at once in a worker process that awaits, hardly computes
    fill: float = 0.7  # of the slots, and of a core
    redis_fill: float = 0.6  # of its one core that runs commands
    redis_bytes: float = 26e9 * 0.75  # of a cache.r7g.xlarge, below the mark from which submits are refused
    redis_usd_per_hour: float = 0.42
    core_usd_per_hour: float = 0.042  # half a c7g.large
    spare_redis: int = 2  # a primary and its replica


@dataclass(frozen=True)
class Plan:
    at_once: int  # jobs at the providers
    redis_cores: float
    cells: int
    redis_bytes: float
    web_cores: float
    web_pods: int
    worker_cores: float
    worker_pods: int
    usd_a_year: float
    usd_per_million: float


def plan(load: Load, measured: Measured, shape: Shape) -> Plan:
    chunks_per_s = load.per_s * load.streamed * load.chunks
    redis_cores = load.per_s * measured.redis_request_cpu_s
    redis_cores += chunks_per_s * measured.chunk_cpu_s * measured.redis_chunk_share
    rest = load.per_s * (measured.request_cpu_s - measured.redis_request_cpu_s)
    rest += chunks_per_s * measured.chunk_cpu_s * (1 - measured.redis_chunk_share)
    web_cores, worker_cores = rest * measured.web_share, rest * (1 - measured.web_share)
    at_once = math.ceil(load.per_s * load.service_s)
    redis_bytes = load.per_s * load.retention_s * measured.job_bytes
    cells = max(math.ceil(redis_cores / shape.redis_fill), math.ceil(redis_bytes / shape.redis_bytes))
    # A pod is one process, so one core at most: whichever runs out first, its core or its places, says how many.
    web_pods = max(math.ceil(web_cores / shape.fill), math.ceil(at_once / measured.web_waits))
    worker_pods = max(math.ceil(worker_cores / shape.fill), math.ceil(at_once / (shape.slots * shape.fill)))
    hourly = cells * shape.spare_redis * shape.redis_usd_per_hour
    hourly += (web_pods + worker_pods) * shape.core_usd_per_hour
    usd = hourly * HOURS_A_YEAR
    return Plan(
        at_once,
        redis_cores,
        cells,
        redis_bytes,
        web_cores,
        web_pods,
        worker_cores,
        worker_pods,
        usd,
        usd / (load.per_s * 3600 * HOURS_A_YEAR) * 1e6,
    )
