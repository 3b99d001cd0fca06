"""When requests arrive and how long the provider takes for each, by a seed."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator

from simulator.fleet import Arrival

Rate = Callable[[float], float]  # requests a second at a moment
Service = Callable[[random.Random], float]


def poisson(rate: Rate, most: float, until_s: float, service: Service, seed: int) -> Iterator[Arrival]:
    """Independent callers: a Poisson stream whose rate changes and never exceeds `most`."""
    dice = random.Random(seed)
    at_s = 0.0
    while True:
        at_s += dice.expovariate(most)
        if at_s >= until_s:
            return
        if dice.random() * most < rate(at_s):
            yield Arrival(at_s, service(dice))


def burst(at_s: float, count: int, within_s: float, service: Service, seed: int) -> Iterator[Arrival]:
    """So many requests, evenly spread over a short time."""
    dice = random.Random(seed)
    for number in range(count):
        yield Arrival(at_s + within_s * number / count, service(dice))


def lines(count: int, service: Service, seed: int) -> list[float]:
    """How long the provider takes for each line of a batch file, in seconds."""
    dice = random.Random(seed)
    return [service(dice) for _ in range(count)]


def together(*traces: Iterator[Arrival]) -> Iterator[Arrival]:
    return heapq.merge(*traces, key=lambda arrival: arrival.at_s)


def lognormal(median_s: float, p95_s: float) -> Service:
    """Answers of language models: most are short, some are very long."""
    sigma = math.log(p95_s / median_s) / 1.645
    return lambda dice: dice.lognormvariate(math.log(median_s), sigma)


def constant(rate: float) -> Rate:
    return lambda at_s: rate


def day(least: float, most: float) -> Rate:
    """A working day's curve: least at four in the morning, most at four in the afternoon."""
    return lambda at_s: least + (most - least) * (1 - math.cos(2 * math.pi * (at_s / 86_400 - 4 / 24))) / 2
