"""What is measured, in which order: every load goes to each target in turn, several rounds of it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from pydantic import TypeAdapter

from benchmarks.children import outcome
from benchmarks.load import Load, Result
from benchmarks.stack import DIRECT, Bench, Target
from benchmarks.wire import Behaviour

ANSWER = Behaviour()  # whole, at once; as a stream: 30 chunks at once
PACE = 30  # chunks a second


@dataclass(frozen=True)
class Plan:
    clients: tuple[int, ...] = (16, 64, 256)
    closed_s: float = 3.0
    closed_rounds: int = 3
    rates: tuple[int, ...] = (20, 50)
    open_s: float = 3.5
    open_rounds: int = 5
    first_rounds: int = 3
    streams: tuple[int, ...] = (100, 300)
    stream_s: int = 6
    stream_rounds: tuple[int, ...] = (1, 2)
    warm_s: float = 0.5

    def paced(self) -> Behaviour:
        return Behaviour(chunks=self.stream_s * PACE, per_s=PACE)

    def models(self) -> list[str]:
        return [ANSWER.model, self.paced().model]


FULL = Plan()
QUICK = Plan(
    clients=(64,),
    closed_s=3.0,
    closed_rounds=1,
    rates=(50,),
    open_s=2.5,
    open_rounds=1,
    first_rounds=1,
    streams=(100, 300),
    stream_s=4,
    stream_rounds=(1, 1),
)


@dataclass(frozen=True)
class Step:
    name: str
    rounds: int
    load: Load  # without its target
    direct: bool = True  # whether the upstream itself is measured too


def steps(plan: Plan) -> list[Step]:
    found = []
    for clients in plan.clients:
        load = Load(kind="closed", model=ANSWER.model, clients=clients, seconds=plan.closed_s, warm_s=plan.warm_s)
        found.append(Step(f"closed {clients}", plan.closed_rounds, load, direct=clients == 64))
    for per_s in plan.rates:
        load = Load(kind="open", model=ANSWER.model, per_s=per_s, seconds=plan.open_s, warm_s=plan.warm_s)
        found.append(Step(f"open {per_s}", plan.open_rounds, load))
    load = Load(kind="open", model=ANSWER.model, stream=True, per_s=20, seconds=plan.open_s, warm_s=plan.warm_s)
    found.append(Step("first chunk", plan.first_rounds, load))
    for streams, rounds in zip(plan.streams, plan.stream_rounds, strict=True):
        # Who cannot keep the pace is given more than twice the time, then what is missing counts as errors.
        limit_s = 2 * plan.stream_s + 3
        load = Load(kind="streams", model=plan.paced().model, stream=True, clients=streams, limit_s=limit_s)
        found.append(Step(f"streams {streams}", rounds, load))
    return found


Results = dict[str, dict[str, list[Result]]]  # by step, by target, one a round


def run(bench: Bench, plan: Plan, targets: Sequence[Target]) -> Results:
    """Every step against every target, in turns; who goes first changes from round to round."""
    results: Results = {}
    planned = steps(plan)
    for number, step in enumerate(planned, 1):
        measured = [target for target in targets if step.direct or target.name != DIRECT]
        by_target = results.setdefault(step.name, {target.name: [] for target in measured})
        for turn in range(step.rounds):
            first = turn % len(measured)
            for target in (*measured[first:], *measured[:first]):
                show(f"{number}/{len(planned)} {step.name}, round {turn + 1} of {step.rounds}: {target.name}")
                by_target[target.name].append(measure(bench, step.load, target))
    return results


def measure(bench: Bench, load: Load, target: Target) -> Result:
    """One load against one target, by a process of its own.

    Raises:
        BenchError: the load generator itself failed; a target's failures are counted in the result.
    """
    aimed = dataclasses.replace(load, port=target.port, key=target.key, roots=target.roots)
    answer = outcome(
        [sys.executable, "-m", "benchmarks.load"],
        environ=bench.child_environ(),
        send=orjson.dumps(aimed),
        seconds=load.warm_s + load.seconds + 2 * load.limit_s + 30,
    )
    return TypeAdapter(Result).validate_json(answer)


def show(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)
