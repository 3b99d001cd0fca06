"""A run in figures: how long jobs waited, how many pods there were, what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.fleet import Pods, Run


@dataclass(frozen=True)
class Figures:
    jobs: int
    waits_s: dict[str, tuple[float, float, float]]  # p50, p95, p99 by class, seconds in a lane
    slowest_s: float  # from arrival to end
    mean_replicas: float
    peak_replicas: int
    busy: float  # the share of the ready pods' slots that ran a job
    usd: float
    released: int
    lasted_s: float


def of(run: Run, pods: Pods) -> Figures:
    classes = {"interactive": False, "batch": True}
    waits = {
        name: sorted(job.waited_s for job in run.jobs if job.arrival.batch is batch) for name, batch in classes.items()
    }
    slots = sum(sample.ready for sample in run.samples) * pods.slots
    return Figures(
        jobs=len(run.jobs),
        waits_s={
            name: (percentile(each, 50), percentile(each, 95), percentile(each, 99))
            for name, each in waits.items()
            if each
        },
        slowest_s=max((job.ended_s - job.arrival.at_s for job in run.jobs), default=0.0),
        mean_replicas=run.pod_s / run.lasted_s if run.lasted_s else 0.0,
        peak_replicas=max((sample.replicas for sample in run.samples), default=0),
        busy=min(1.0, sum(sample.running for sample in run.samples) / slots) if slots else 0.0,
        usd=run.pod_s / 3600 * pods.usd_per_hour,
        released=run.released,
        lasted_s=run.lasted_s,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0
