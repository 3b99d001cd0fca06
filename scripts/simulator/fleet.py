"""One provider's lanes and the pods that serve them, event by event, with the autoscalers beside them."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from simulator.autoscaler import SYNC_S, Hpa, Keda
from simulator.scaling import Scaling

_FOR_EVER_S = 7 * 86_400.0
BATCH_TURN = 20  # of so many jobs one comes from the batch lane, where there is any


@dataclass(frozen=True)
class Arrival:
    at_s: float
    service_s: float  # how long the provider takes
    batch: bool = False


@dataclass(frozen=True)
class Outage:
    """The provider refuses everything. It is known to be away, so an attempt ends at once and its job is parked."""

    begin_s: float
    end_s: float
    fails_after_s: float = 0.1
    parked_s: float = 30.0


@dataclass(frozen=True)
class Batch:
    """A batch file, fed into its lane by a coordinator that looks every so often and keeps `window` lines waiting."""

    at_s: float
    services_s: Sequence[float]
    window: int
    every_s: float = 1.0


@dataclass(frozen=True)
class Pods:
    """What a worker's pod is."""

    slots: int = 64
    start_s: float = 12.0  # from the Deployment's new number to the first claim, on a node that is there
    cold_s: float = 12.0  # the same for the first pod after zero: a node, an image, a model
    grace_s: float = 120.0
    usd_per_hour: float = 0.02


@dataclass(slots=True)
class Job:
    arrival: Arrival
    rang_s: float
    waited_s: float = 0.0  # in a lane; being parked is not counted
    ended_s: float = -1.0
    attempts: int = 0


@dataclass(slots=True, eq=False)
class _Pod:
    created_s: float
    ready_s: float
    turn: int = 0
    running: dict[int, Job] = field(default_factory=dict)
    leaving: bool = False


@dataclass(frozen=True)
class Sample:
    at_s: float
    waiting: int
    waiting_batch: int
    running: int
    parked: int
    replicas: int
    ready: int
    pod_s: float  # of all pods so far: what is paid for


@dataclass(frozen=True)
class Run:
    """What happened."""

    jobs: list[Job]
    samples: list[Sample]
    pod_s: float  # seconds of all pods, from their making to their end
    job_s: float  # the integral of the jobs in the mesh over time
    lasted_s: float
    released: int  # jobs given back by a pod whose grace had ended


class Lanes:
    """The two lists, and the rule by which claim.lua takes from them."""

    def __init__(self) -> None:
        self.interactive: deque[Job] = deque()
        self.batch: deque[Job] = deque()

    def ring(self, job: Job) -> None:
        (self.batch if job.arrival.batch else self.interactive).append(job)

    def claim(self, free: int, turn: int) -> tuple[list[Job], int]:
        """What a worker with so many free slots takes, and its next turn."""
        taken = _drain(self.batch, min(free, (turn + free) // BATCH_TURN))
        taken += _drain(self.interactive, free - len(taken))
        taken += _drain(self.batch, free - len(taken))
        return taken, (turn + len(taken)) % BATCH_TURN

    def __len__(self) -> int:
        return len(self.interactive) + len(self.batch)


def _drain(lane: deque[Job], most: int) -> list[Job]:
    return [lane.popleft() for _ in range(min(most, len(lane)))]


class Fleet:
    def __init__(
        self, scaling: Scaling, pods: Pods, outage: Outage | None = None, *, count_parked: bool = False
    ) -> None:
        self._scaling = scaling
        self._kind = pods
        self._outage = outage
        self._count_parked = count_parked
        self._lanes = Lanes()
        self._pods: list[_Pod] = []
        self._leaving: list[_Pod] = []
        self._events: list[tuple[float, int, str, object]] = []
        self._order = itertools.count()
        self._keda, self._hpa = Keda(scaling), Hpa(scaling)
        self._next = 0  # whose turn it is to be woken
        self._now_s = 0.0
        self._open = 0
        self._parked = 0
        self._job_s = 0.0
        self._pod_s = 0.0
        self._released = 0

    def run(
        self, arrivals: Iterable[Arrival], until_s: float, *, batch: Batch | None = None, sample_s: float = 5.0
    ) -> Run:
        """Play until nothing is open, and at least until `until_s`."""
        jobs: list[Job] = []
        samples: list[Sample] = []
        fed = 0
        if batch is not None:
            self._at(batch.at_s, "feed", batch)
        coming = iter(arrivals)
        self._expect(coming)
        self._scale_to(max(self._scaling.least, 0), settled=True)
        for name, every_s in (("poll", self._scaling.polling_s), ("sync", SYNC_S), ("sample", sample_s)):
            self._at(0.0, name, every_s)
        while self._events:
            at_s, _, name, what = heapq.heappop(self._events)
            if at_s > until_s and not self._open and name in {"poll", "sync", "sample"}:
                continue
            if at_s > until_s + _FOR_EVER_S:
                raise ValueError(
                    f"{self._open} job{'s wait' * (self._open > 1) or ' waits'} for ever: no pod takes them"
                )
            self._job_s += self._open * (at_s - self._now_s)
            self._pod_s += (len(self._pods) + len(self._leaving)) * (at_s - self._now_s)
            self._now_s = at_s
            if name == "arrival":
                assert isinstance(what, Arrival)
                jobs.append(self._submitted(what))
                self._expect(coming)
            elif name == "feed":
                assert isinstance(what, Batch)
                more = what.services_s[fed : fed + max(0, what.window - len(self._lanes.batch))]
                fed += len(more)
                jobs += [self._submitted(Arrival(at_s, service_s, batch=True)) for service_s in more]
                if fed < len(what.services_s):
                    self._at(at_s + what.every_s, "feed", what)
            elif name == "sample":
                samples.append(self._sample())
                self._again(name, what)
            elif name == "poll":
                self._scale_to(self._keda.poll(at_s, self._value(), len(self._pods)))
                self._again(name, what)
            elif name == "sync":
                self._scale_to(self._hpa.sync(at_s, self._value(), len(self._pods)))
                self._again(name, what)
            elif name == "ready":
                assert isinstance(what, _Pod)
                self._serve(what)
            elif name == "over":
                assert isinstance(what, _Pod)
                self._cut(what)
            else:
                self._settle(name, what)
        return Run(jobs, samples, self._pod_s, self._job_s, self._now_s, self._released)

    def _submitted(self, arrival: Arrival) -> Job:
        job = Job(arrival, self._now_s)
        self._open += 1
        self._ring(job)
        return job

    def _at(self, at_s: float, name: str, what: object) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), name, what))

    def _again(self, name: str, every_s: object) -> None:
        assert isinstance(every_s, float)
        self._at(self._now_s + every_s, name, every_s)

    def _expect(self, coming: Iterator[Arrival]) -> None:
        arrival = next(coming, None)
        if arrival is not None:
            self._at(arrival.at_s, "arrival", arrival)

    def _value(self) -> float:
        """What KEDA's triggers read: the lists of the lanes and their zsets of leases. A parked job is in neither."""
        running = sum(len(pod.running) for pod in self._pods + self._leaving)
        return len(self._lanes) + running + (self._parked if self._count_parked else 0)

    def _sample(self) -> Sample:
        ready = sum(pod.ready_s <= self._now_s for pod in self._pods)
        running = sum(len(pod.running) for pod in self._pods + self._leaving)
        lanes = self._lanes
        return Sample(
            self._now_s,
            len(lanes.interactive),
            len(lanes.batch),
            running,
            self._parked,
            len(self._pods),
            ready,
            self._pod_s,
        )

    def _ring(self, job: Job) -> None:
        job.rang_s = self._now_s
        self._lanes.ring(job)
        count = len(self._pods)
        for step in range(count):
            pod = self._pods[(self._next + step) % count]
            if pod.ready_s <= self._now_s and len(pod.running) < self._kind.slots:
                self._next = (self._next + step + 1) % count
                self._serve(pod)
                return

    def _serve(self, pod: _Pod) -> None:
        if pod.leaving or pod.ready_s > self._now_s:
            return
        taken, pod.turn = self._lanes.claim(self._kind.slots - len(pod.running), pod.turn)
        for job in taken:
            job.waited_s += self._now_s - job.rang_s
            job.attempts += 1
            pod.running[id(job)] = job
            outage = self._outage
            if outage is not None and outage.begin_s <= self._now_s < outage.end_s:
                self._at(self._now_s + outage.fails_after_s, "refused", (pod, job, job.attempts))
            else:
                self._at(self._now_s + job.arrival.service_s, "done", (pod, job, job.attempts))

    def _settle(self, name: str, what: object) -> None:
        if name == "due":
            assert isinstance(what, Job)
            self._parked -= 1
            self._ring(what)
            return
        assert isinstance(what, tuple)
        pod, job, attempt = what
        if id(job) not in pod.running or job.attempts != attempt:
            return  # it was given back
        del pod.running[id(job)]
        if name == "done":
            job.ended_s = self._now_s
            self._open -= 1
        else:
            assert self._outage is not None
            self._parked += 1
            self._at(self._now_s + self._outage.parked_s, "due", job)
        if pod.leaving and not pod.running and pod in self._leaving:
            self._leaving.remove(pod)
        self._serve(pod)

    def _scale_to(self, replicas: int, *, settled: bool = False) -> None:
        first = not self._pods
        while len(self._pods) < replicas:
            start_s = 0.0 if settled else self._kind.cold_s if first else self._kind.start_s
            pod = _Pod(self._now_s, self._now_s + start_s)
            self._pods.append(pod)
            self._at(pod.ready_s, "ready", pod)
        while len(self._pods) > replicas:
            # A ReplicaSet takes what is not ready first, then the youngest.
            pod = max(self._pods, key=lambda each: (each.ready_s > self._now_s, each.created_s))
            self._pods.remove(pod)
            self._leaving.append(pod)
            pod.leaving = True
            if pod.running:
                self._at(self._now_s + self._kind.grace_s, "over", pod)
            else:
                self._leaving.remove(pod)

    def _cut(self, pod: _Pod) -> None:
        """The grace is over: what still runs is given back."""
        if pod not in self._leaving:
            return
        left = list(pod.running.values())
        pod.running.clear()
        self._leaving.remove(pod)
        self._released += len(left)
        for job in left:
            self._ring(job)
