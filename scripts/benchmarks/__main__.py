"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import platform
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import orjson

from benchmarks import proc, providers, report, rounds, stack, standin
from benchmarks.children import STOPPING, BenchError
from benchmarks.load import Load
from benchmarks.peers import PEERS
from benchmarks.stack import Bench
from benchmarks.wire import Behaviour

_HELD = 2000
_HELD_LIMIT_MB = 150
_DESCRIPTORS = 16_384


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures the gateway before a mock upstream, beside the direct call and a bare proxy.",
    )
    parser.add_argument(
        "--peer", action="append", choices=sorted(PEERS), default=[], help="measure this one too, in turns"
    )
    parser.add_argument("--quick", action="store_true", help="one short round of the main figures, under a minute")
    parser.add_argument(
        "--memory", action="store_true", help=f"only weigh a web process with {_HELD:,} blocked requests"
    )
    parser.add_argument(
        "--providers", action="store_true", help="only compare what a call costs over our transports and the bare SDKs"
    )
    parser.add_argument("--limits", action="store_true", help="ask with a key that has every limit and budget")
    parser.add_argument(
        "--everysec",
        action="store_true",
        help="with a Redis that syncs its disk each second, as k8s/base has it, and not at every write",
    )
    parser.add_argument("--without-gateway", action="store_true", help="measure the floor and the peers only")
    parser.add_argument("--guarded", action="store_true", help="measure a gateway whose guard is on, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    return parser.parse_args()


@contextlib.contextmanager
def _bench(arguments: argparse.Namespace) -> Iterator[Bench]:
    """A folder for one run, kept only where the run fails: it holds the logs."""
    home = Path(os.environ.get("GATEWAY_BENCH_HOME") or stack.ROOT / ".gateway" / "bench").resolve()
    folder = home / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        appendfsync = "everysec" if arguments.everysec else "always"
        yield Bench(folder, home, os.environ, arguments.limits, appendfsync)
    except BenchError:
        raise
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _compare(bench: Bench, arguments: argparse.Namespace) -> bool:
    plan = rounds.QUICK if arguments.quick else rounds.FULL
    started = time.monotonic()
    with contextlib.ExitStack() as held:
        direct = held.enter_context(stack.upstream(bench))
        targets = [direct, held.enter_context(stack.bare(bench, direct.port))]
        if not arguments.without_gateway:
            targets.append(held.enter_context(stack.gateway(bench, direct.port)))
        if arguments.guarded:
            targets.append(held.enter_context(stack.gateway(bench, direct.port, guarded=True)))
        for peer in arguments.peer:
            targets.append(held.enter_context(PEERS[peer](bench, direct.port, plan.models())))
        results = rounds.run(bench, plan, targets)
    figures = report.rows(plan, results)
    errors = report.errors_of(results)
    seconds = time.monotonic() - started
    how = f"appendfsync {bench.appendfsync}, {stack.SLOTS} slots"
    print(f"\n{_machine()}, {how}; medians of interleaved rounds, {seconds:.0f} s in all\n")
    print(report.table(figures, [target.name for target in targets], arguments.peer))
    if times := report.slowness(results):
        print(
            f"\nmust, here: this machine takes the bare proxy {times:.1f} times what it took where the musts were set"
        )
    for target, kinds in errors.items():
        for kind, count in kinds.most_common():
            print(f"error of {target}: {count} times: {kind}")
    if arguments.json is not None:
        written = {
            "machine": _machine(),
            "plan": plan,
            "figures": {row.name.strip(): row.values for row in figures},
            "rounds": results,
        }
        arguments.json.write_bytes(orjson.dumps(written, option=orjson.OPT_INDENT_2))
    return not errors.get(stack.OURS)


def _weigh(bench: Bench, arguments: argparse.Namespace) -> bool:
    with stack.upstream(bench) as direct, stack.gateway(bench, direct.port, slots=_HELD + 48) as started:
        # gunicorn's master holds next to nothing: the largest of its tree is the web process itself.
        web = max(proc.tree(started.roots["web"]), key=lambda pid: proc.memory([pid]).rss)
        target = dataclasses.replace(started, roots=started.roots | {"web": web})
        idle = rounds.measure(bench, Load(kind="closed", model=rounds.ANSWER.model, seconds=1), target)
        model = Behaviour(delay_ms=20_000).model
        load = Load(kind="held", model=model, clients=_HELD, upstream=direct.port, limit_s=60)
        held = rounds.measure(bench, load, target)
    print(f"{_machine()}; {held.answers:,} of {_HELD:,} requests were answered after they had been blocked together")
    for name, memory in held.memory.items():
        before = idle.memory[name]
        print(
            f"{name}: {memory.pss / 1e6:.0f} MB PSS, {memory.rss / 1e6:.0f} MB RSS"
            f" (before: {before.pss / 1e6:.0f} and {before.rss / 1e6:.0f})"
        )
    for kind, count in held.errors.items():
        print(f"error: {count} times: {kind}")
    if arguments.json is not None:
        arguments.json.write_bytes(orjson.dumps({"machine": _machine(), "idle": idle, "held": held}))
    return not held.errors and held.memory["web"].pss / 1e6 < _HELD_LIMIT_MB


def _compare_providers(bench: Bench, arguments: argparse.Namespace) -> bool:
    plan = providers.QUICK if arguments.quick else providers.FULL
    costs = providers.run(bench, plan)
    figures = providers.rows(costs)
    chunks = f"{standin.CHUNKS} chunks a stream"
    print(f"\n{_machine()}; medians of {plan.rounds} interleaved rounds, 16 calls at once, {chunks}\n")
    print(providers.table(figures))
    for name in providers.missed(figures):
        print(f"direct takes too much: {name}")
    if arguments.json is not None:
        written = {
            "machine": _machine(),
            "plan": plan,
            "figures": {row.name: row.values for row in figures},
            "rounds": costs,
        }
        arguments.json.write_bytes(orjson.dumps(written, option=orjson.OPT_INDENT_2))
    return not providers.missed(figures)


def _machine() -> str:
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> int:
    arguments = _arguments()
    for number in STOPPING:
        signal.signal(number, _stop)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(_DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    try:
        with _bench(arguments) as bench:
            measured = _weigh if arguments.memory else _compare_providers if arguments.providers else _compare
            clean = measured(bench, arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0 if clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
