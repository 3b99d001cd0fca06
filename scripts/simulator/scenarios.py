"""What is played: one entry a scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from simulator import traces
from simulator.fleet import Arrival, Batch, Fleet, Outage, Pods, Run
from simulator.scaling import Scaling, of_manifests

CLOUD = Pods(slots=64, start_s=12.0, cold_s=12.0, grace_s=600.0, usd_per_hour=0.01)
# A node with a GPU (70 s), the image of the server (50 s), the model into its memory (30 s).
GPU = Pods(slots=16, start_s=150.0, cold_s=150.0, grace_s=600.0, usd_per_hour=1.01)
CHAT = traces.lognormal(median_s=4.0, p95_s=20.0)  # 6.5 s on the average
REASONING = traces.lognormal(median_s=20.0, p95_s=90.0)  # 30 s on the average


@dataclass(frozen=True)
class Scenario:
    """One story, and for whose lanes."""

    about: str
    provider: str
    pods: Pods
    until_s: float
    arrivals: Callable[[int], Iterable[Arrival]]  # by seed
    batch: Callable[[int], Batch] | None = None
    outage: Outage | None = None
    fixed: dict[str, int] | None = None  # numbers of the ScaledObject that the story is about

    def scaling(self) -> Scaling:
        return replace(of_manifests(self.provider), **(self.fixed or {}))

    def play(
        self, scaling: Scaling, pods: Pods, seed: int, *, window: int | None = None, count_parked: bool = False
    ) -> Run:
        """
        window: lines of the batch file that wait in the lane at once, in place of the scenario's.
        count_parked: as if parked jobs were in the lane, to see what that would do.
        """
        batch = self.batch(seed + 1) if self.batch is not None else None
        if batch is not None and window is not None:
            batch = replace(batch, window=window)
        fleet = Fleet(scaling, pods, self.outage, count_parked=count_parked)
        return fleet.run(self.arrivals(seed), self.until_s, batch=batch, sample_s=max(5.0, self.until_s / 2000))


SCENARIOS: dict[str, Scenario] = {
    "burst": Scenario(
        "1,000 chats within 10 s reach a lane whose pods are at zero",
        "openai",
        CLOUD,
        900.0,
        lambda seed: traces.burst(63.0, 1000, 10.0, CHAT, seed),
        fixed={"least": 0},
    ),
    "cold": Scenario(
        "40 chats within 20 s wake Ollama: node, image and model first",
        "ollama",
        GPU,
        1800.0,
        lambda seed: traces.burst(63.0, 40, 20.0, traces.lognormal(8.0, 30.0), seed),
    ),
    "outage": Scenario(
        "20 chats/s for 50 minutes; the provider refuses everything from minute 10 to minute 20",
        "openai",
        CLOUD,
        3000.0,
        lambda seed: traces.poisson(traces.constant(20.0), 20.0, 3000.0, CHAT, seed),
        outage=Outage(600.0, 1200.0),
    ),
    "batch": Scenario(
        "10 chats/s, and from minute 5 a batch file of 50,000 lines",
        "openai",
        CLOUD,
        3600.0,
        lambda seed: traces.poisson(traces.constant(10.0), 10.0, 3600.0, CHAT, seed),
        batch=lambda seed: Batch(300.0, traces.lines(50_000, CHAT, seed), window=500),
    ),
    "day": Scenario(
        "a working day of long answers: 0.3 requests/s at four in the morning, 6 at four in the afternoon",
        "openai",
        CLOUD,
        86_400.0,
        lambda seed: traces.poisson(traces.day(0.3, 6.0), 6.0, 86_400.0, REASONING, seed),
    ),
}
