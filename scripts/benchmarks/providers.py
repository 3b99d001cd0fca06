"""What a call and a chunk cost in the worker, by provider: over our transports, and over the bare SDK.

Only the calling process is measured; the stand-in on the other side is as slow as it likes.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import orjson
from pydantic import TypeAdapter

from benchmarks import report, standin
from benchmarks.children import outcome, running, until
from benchmarks.report import Row
from benchmarks.rounds import show
from benchmarks.stack import Bench
from benchmarks.ways import BARE, Cost, Load
from tests.standins.bedrock import ENVIRONMENT as CREDENTIALS
from workers.providers import ADAPTERS

_RATIO = f"direct / {BARE}"
_MOST = {"openai": 1 / 5}  # of the bare SDK, that direct may take
_MOST_ELSEWHERE = 1 / 3


@dataclass(frozen=True)
class Plan:
    rounds: int = 5
    calls: int = 500
    streams: int = 16


QUICK = Plan(rounds=1, calls=200, streams=6)
FULL = Plan()

Costs = Mapping[str, Mapping[str, Sequence[Cost]]]  # by adapter, by way, one a round


def ways(adapter: str) -> tuple[str, ...]:
    return ("sdk", BARE) if ADAPTERS[adapter].DIRECT is None else ("direct", "sdk", BARE)


def run(bench: Bench, plan: Plan) -> Costs:
    """Every provider in every way, in turns; who goes first changes from round to round."""
    found: dict[str, dict[str, list[Cost]]] = {name: {way: [] for way in ways(name)} for name in ADAPTERS}
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(_stand_in(bench, name)) for name in ADAPTERS}
        for turn in range(plan.rounds):
            for name, (whole, stream) in urls.items():
                planned = ways(name)
                first = turn % len(planned)
                for way in (*planned[first:], *planned[:first]):
                    show(f"round {turn + 1} of {plan.rounds}: {name}, {way}")
                    load = Load(name, way, whole, stream, standin.CHUNKS, plan.calls, plan.streams)
                    found[name][way].append(_measure(bench, load))
    return found


@contextlib.contextmanager
def _stand_in(bench: Bench, name: str) -> Iterator[tuple[str, str]]:
    """The URLs of its two servers, as a provider's config would have them."""
    base: str = importlib.import_module(f"tests.standins.{name}").Server.base
    command = [sys.executable, "-m", "benchmarks.standin", name]
    with running(f"standin-{name}", command, folder=bench.folder, environ=bench.child_environ()) as child:
        until(lambda: child.log.read_bytes().endswith(b"\n"), child, 20)
        whole, stream = (f"http://127.0.0.1:{port}{base}" for port in child.log.read_text().split()[:2])
        yield whole, stream


def _measure(bench: Bench, load: Load) -> Cost:
    environ = bench.child_environ(**CREDENTIALS)
    answer = outcome([sys.executable, "-m", "benchmarks.ways"], environ=environ, send=orjson.dumps(load), seconds=120)
    return TypeAdapter(Cost).validate_json(answer)


def rows(costs: Costs) -> list[Row]:
    """Medians of the rounds, and the median of the ratios of the same round."""
    found = []
    for name, by_way in costs.items():
        for figure, unit, digits in (("call_ms", "CPU ms a whole answer", 3), ("chunk_us", "CPU µs a chunk", 2)):
            taken = {way: [getattr(cost, figure) for cost in rounds] for way, rounds in by_way.items()}
            values = {way: median(each) for way, each in taken.items()}
            if "direct" in taken:
                values[_RATIO] = median(mine / bare for mine, bare in zip(taken["direct"], taken[BARE], strict=True))
            must = f"1/{1 / _most(name):g}" if "direct" in taken else ""
            found.append(Row(f"{name}, {unit}", values, digits, must))
    return found


def _most(name: str) -> float:
    return _MOST.get(name, _MOST_ELSEWHERE)


def missed(found: Sequence[Row]) -> list[str]:
    """The rows in which direct takes more of the bare SDK's time than it may."""
    return [row.name for row in found if row.values.get(_RATIO, 0.0) > _most(row.name.partition(",")[0])]


def table(found: Sequence[Row]) -> str:
    return report.table(found, ["direct", "sdk", BARE, _RATIO], [])
