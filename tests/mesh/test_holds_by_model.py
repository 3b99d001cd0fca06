"""The counters in Redis against the same in plain Python, over random lives of jobs and with periods that pass."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import redis

from mesh import store
from mesh.job import UNBOUNDED, Claim, Hold, State, Target
from mesh.settings import CircuitLimits
from tests.conftest import RedisServer
from tests.mesh.test_store import submission

STEPS = 150
SLICES = 120
TARGETS = (Target("ollama", "llama3"), Target("openai", "gpt-4"))
PERIOD_MS, LIFE_MS = 15, 40  # of what is `spent`

Refusal = tuple[str, int, int]  # name of the hold, what is taken, ms to wait


def offered(dice: random.Random, now_ms: int) -> list[Hold]:
    """Some of all the holds that a job may have, an owner's together."""
    period = f"p{now_ms // PERIOD_MS}"
    tokens, cost = dice.choice((0, 3, 9, 40)), dice.choice((0, 0, 5, 20))
    every = [
        Hold("lane.ollama:tenant:t", 1, 12),
        Hold("requests:tenant:t", 1, 6, "window", "-", 120),
        Hold("tokens:tenant:t", tokens, 60, "window", "tokens", 240),
        Hold(f"{period}:tenant:t", cost, 60, "spent", "cost", LIFE_MS),
        Hold("open:key:k", 1, 6),
        Hold("tokens:key:k", tokens, 30, "window", "tokens", 180),
        Hold(f"{period}:key:k", cost, UNBOUNDED, "spent", "cost", LIFE_MS),
        Hold("tokens:model:a:b", tokens, 99, "window", "tokens", 120),
        Hold("requests:model:a:b", 2, 9, "window", "-", 60),
    ]
    return [hold for hold in every if dice.random() < 0.7]


@dataclass
class Held:
    hold: Hold
    taken: list[int]  # of a window: the slice and the amount, as the counter has them

    @property
    def amount(self) -> int:
        assert self.hold.amount is not None
        return self.hold.amount


@dataclass
class Model:
    """What the scripts promise."""

    numbers: dict[str, int] = field(default_factory=dict)  # of what is open or spent
    ends_ms: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))  # of what is spent, by owner
    windows: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))

    def taken(self, hold: Hold, now_ms: int) -> int:
        if hold.kind != "window":
            return self.numbers.get(hold.name, 0)
        oldest = now_ms * SLICES // hold.life_ms - SLICES
        return sum(amount for at, amount in self.windows[hold.name] if at >= oldest)

    def take(self, holds: Sequence[Hold], now_ms: int) -> Refusal | list[Held]:
        for hold in holds:
            assert hold.amount is not None
            taken = self.taken(hold, now_ms)
            if taken + hold.amount > hold.ceiling:
                return hold.name, taken, self._wait_ms(hold, taken + hold.amount - hold.ceiling, now_ms)
        for hold in holds:
            if hold.kind == "spent" and hold.amount and hold.name not in self.numbers:
                self._begin(hold, now_ms)
        held = []
        for hold in holds:
            assert hold.amount is not None
            entry = [now_ms * SLICES // (hold.life_ms or 1), hold.amount]
            if hold.kind == "window":
                self.windows[hold.name].append(entry)
            elif hold.amount:
                self.numbers[hold.name] = self.numbers.get(hold.name, 0) + hold.amount
            held.append(Held(hold, entry))
        return held

    def end(self, held: Sequence[Held], said: tuple[dict[str, int], int], now_ms: int, *, undo: bool = False) -> None:
        """
        said: what was measured by unit, and how many attempts nobody knows.
        """
        measured, lost = said
        for each in held:
            hold, amount = each.hold, each.amount
            by = -amount
            if hold.kind != "open" and not undo:
                by = 0 if hold.unit == "-" else measured.get(hold.unit, 0) + (lost - 1) * amount
            if hold.kind == "window":
                each.taken[1] += by
            elif hold.name in self.numbers:
                # Of a counter that has begun anew since, more may be given back than is taken: then nothing is.
                self.numbers[hold.name] = max(0, self.numbers[hold.name] + by)
            elif by and not amount:
                self._begin(hold, now_ms)
                self.numbers[hold.name] = by

    def _begin(self, hold: Hold, now_ms: int) -> None:
        counter, _, owner = hold.name.partition(":")
        for other, ends in list(self.ends_ms[owner].items()):
            if ends <= now_ms:
                del self.ends_ms[owner][other]
                self.numbers.pop(f"{other}:{owner}", None)
        self.ends_ms[owner][counter] = now_ms + hold.life_ms

    def _wait_ms(self, hold: Hold, more: int, now_ms: int) -> int:
        assert hold.amount is not None
        if hold.amount > hold.ceiling:
            return -1
        if hold.kind != "window":
            return 0
        oldest = now_ms * SLICES // hold.life_ms - SLICES
        for at, amount in sorted(entry for entry in self.windows[hold.name] if entry[0] >= oldest):
            more -= amount
            if more <= 0:
                return max(1, math.ceil((at + SLICES + 1) * hold.life_ms / SLICES) - now_ms)
        raise AssertionError("the window has given all back and it is not enough")


@dataclass
class Job:
    held: list[Held]
    claim: Claim | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def measured(self, target: Target | None = None) -> tuple[dict[str, int], int]:
        """By all attempts, or by one target's; and how many of them nobody knows."""
        here = [each for each in self.attempts if target in (None, Target(each["provider"], each["model"]))]
        sums: dict[str, int] = defaultdict(int)
        for each in here:
            for unit, amount in each.get("measured", {}).items():
                sums[unit] += amount
        return sums, sum(each["outcome"] == "unknown" for each in here)


class World:
    """Jobs that live at random, in Redis and in the model."""

    def __init__(self, client: redis.Redis, dice: random.Random) -> None:
        self.client = client
        self.dice = dice
        self.model = Model()
        self.jobs: dict[str, Job] = {}
        self.seen: dict[str, Hold] = {}  # each counter that was ever asked for
        self.claims = 0
        for words in store.loading():
            client.execute_command(*words)

    def do(self, call: store.Call[Any]) -> tuple[int, Any]:
        """When it was done, by Redis' clock, and the reply."""
        both = self.client.pipeline(transaction=True)
        both.execute_command("TIME")
        both.execute_command(*call.args)
        (seconds, micros), reply = both.execute()
        return int(seconds) * 1000 + int(micros) // 1000, call.read(reply)

    def some(self, *, running: bool) -> str | None:
        ids = [job_id for job_id, job in self.jobs.items() if (job.claim is not None) == running]
        return self.dice.choice(ids) if ids else None

    def holds(self) -> list[Hold]:
        holds = offered(self.dice, store.run(self.client, store.now_ms()))
        self.seen |= {hold.name: hold for hold in holds}
        return holds

    def submit(self) -> None:
        holds = self.holds()
        job = submission(holds=holds)
        now_ms, said = self.do(store.submit(job, lane_limit=9_999, idempotency_ms=1, index_ms=1))
        expected = self.model.take(holds, now_ms)
        if isinstance(expected, tuple):
            assert (said.outcome, (said.other, said.waiting, said.wait_ms)) == ("held", expected)
            return
        assert said.outcome == "queued" and said.created_ms == now_ms
        assert list(said.taken) == [self.model.taken(each, now_ms) for each in holds if each.kind == "window"]
        self.jobs[job.id] = Job(expected)

    def claim(self) -> None:
        self.claims += 1
        providers = [(target.provider, True) for target in TARGETS]
        _, said = self.do(store.claim("w", self.claims, 1, 0, providers, max_attempts=99))
        for claim in said.jobs:
            self.jobs[claim.id].claim = claim

    def attempt(self, job: Job, target: Target) -> bytes:
        told = {"provider": target.provider, "model": target.model, "outcome": self.dice.choice(("failed", "unknown"))}
        measured = {unit: self.dice.choice((0, 4, 11)) for unit in ("tokens", "cost") if self.dice.random() < 0.5}
        job.attempts.append(told | ({"measured": measured} if measured else {}))
        return orjson.dumps(job.attempts[-1])

    def finish(self) -> None:
        if (job_id := self.some(running=True)) is None:
            return
        job = self.jobs.pop(job_id)
        assert job.claim is not None
        measured = {"tokens": self.dice.choice((0, 3, 9, 70)), "cost": self.dice.choice((0, 5, 33))}
        told = self.attempt(job, job.claim.spec.target) if self.dice.random() < 0.3 else b""
        call = store.finish(job_id, job.claim.fence, State.DONE, end=b"end", attempt=told, measured=measured)
        now_ms, said = self.do(call)
        assert (said, self.do(call)[1]) == ("ok", "already")
        sums, lost = job.measured()
        self.model.end(job.held, ({unit: measured[unit] + sums.get(unit, 0) for unit in measured}, lost), now_ms)

    def cancel(self) -> None:
        if (job_id := self.some(running=False)) is None:
            return
        now_ms, said = self.do(store.cancel(job_id, "acme"))
        assert said == "cancelled"
        job = self.jobs.pop(job_id)
        self.model.end(job.held, job.measured(), now_ms)

    def fall_back(self) -> None:
        if (job_id := self.some(running=True)) is None:
            return
        job = self.jobs[job_id]
        assert job.claim is not None
        before = job.claim.spec
        spec = dataclasses.replace(before, targets=TARGETS, at=1 - TARGETS.index(before.target))
        undo = self.dice.random() < 0.4
        told = b"" if undo else self.attempt(job, before.target)
        go = {each.hold.name for each in job.held if self.dice.random() < 0.5}
        place = Hold(f"lane.{job.claim.fence}:tenant:t", 1, UNBOUNDED)
        call = store.release(job.claim, spec, why="x", attempt=told, let_go=sorted(go), undo=undo, take=(place,))
        now_ms, said = self.do(call)
        assert (said, self.do(call)[1]) == ("ok", "already")
        job.claim = None
        if go:
            gone = [each for each in job.held if each.hold.name in go]
            self.model.end(gone, job.measured(before.target), now_ms, undo=undo)
            taken = self.model.take((place,), now_ms)
            assert isinstance(taken, list)
            job.held = [each for each in job.held if each.hold.name not in go] + taken
            self.seen[place.name] = place

    def hold(self) -> None:
        if (job_id := self.some(running=True)) is None:
            return
        job = self.jobs[job_id]
        assert job.claim is not None
        holds = self.holds()
        call = store.hold(job.claim, holds)
        now_ms, said = self.do(call)
        had = {each.hold.name for each in job.held}
        expected = self.model.take([hold for hold in holds if hold.name not in had], now_ms)
        if isinstance(expected, tuple):
            assert said == store.Holding("held", *expected)
            return
        assert said.outcome == self.do(call)[1].outcome == "ok"
        job.held += expected

    def check(self) -> None:
        """What Redis says is taken is what the model says, and no counter is without an end."""
        now_ms, known = self.do(store.health(CircuitLimits(), (), {}, list(self.seen.values())))
        assert known.taken == {name: self.model.taken(hold, now_ms) for name, hold in self.seen.items()}
        for key in {f"gw:holds:{name.partition(':')[2]}" for name in self.seen} & set(_keys(self.client, "gw:holds:*")):
            assert self.client.pttl(key) > 0, key  # type: ignore[operator]


def _keys(client: redis.Redis, pattern: str) -> list[str]:
    return [key.decode() for key in client.scan_iter(pattern)]


@pytest.mark.parametrize("seed", range(6))
def test_counters_say_what_the_model_says_whatever_becomes_of_jobs(redis_server: RedisServer, seed: int) -> None:
    dice = random.Random(seed)
    world = World(redis_server.client(), dice)
    ways = [world.submit] * 5 + [world.claim] * 4 + [world.finish] * 2 + [world.cancel, world.fall_back, world.hold]
    for _ in range(STEPS):
        dice.choice(ways)()
        world.check()
    while world.some(running=True):
        world.finish()
    while world.some(running=False):
        world.cancel()
    world.check()
    open_now = {name: world.model.numbers.get(name, 0) for name, hold in world.seen.items() if hold.kind == "open"}
    assert set(open_now.values()) <= {0}
