"""The command line of scripts/simulate."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from simulator import chart, figures, paper, scaling
from simulator.scenarios import SCENARIOS, Scenario


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Replays KEDA's and the HPA's rules against the lanes: how long jobs wait, what pods cost.",
        epilog="\n".join(f"  {name:9} {each.about}" for name, each in SCENARIOS.items())
        + "\n  internet  a year of 10,000 requests/s, on paper",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=[*SCENARIOS, "internet"])
    parser.add_argument("--seed", type=int, default=1, help="another draw of the same story")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another number: target, polling_s, cooldown_s, least, most; slots, start_s, cold_s; "
        "of internet: per_s, service_s, streamed, chunks, retention_s",
    )
    parser.add_argument("--window", type=int, help="lines of the batch file that wait in the lane at once")
    parser.add_argument("--count-parked", action="store_true", help="as if parked jobs were in the lane")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it there")
    parser.add_argument("--json", action="store_true", help="print the figures only, for another program")
    return parser.parse_args()


def _changes(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--set {pair}: expected NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def _play(scenario: Scenario, arguments: argparse.Namespace) -> None:
    changes = _changes(arguments.set)
    of_pods = {field.name for field in dataclasses.fields(scenario.pods)}
    pods = dataclasses.replace(
        scenario.pods,
        **{name: type(getattr(scenario.pods, name))(changes.pop(name)) for name in sorted(of_pods & set(changes))},
    )
    rules = scaling.changed(scenario.scaling(), changes)
    run = scenario.play(rules, pods, arguments.seed, window=arguments.window, count_parked=arguments.count_parked)
    found = figures.of(run, pods)
    if arguments.svg:
        arguments.svg.write_text(chart.svg(run.samples, scenario.about))
    if arguments.json:
        print(json.dumps(dataclasses.asdict(found)))
        return
    print(f"{scenario.about}\n{_said(rules)}\n\n{chart.text(run.samples)}\n")
    for name, (p50, p95, p99) in found.waits_s.items():
        print(f"{name} jobs wait, p50 / p95 / p99     {p50:.1f} / {p95:.1f} / {p99:.1f} s")
    print(f"slowest from arrival to end            {found.slowest_s:,.0f} s")
    print(f"pods, mean / most                      {found.mean_replicas:.2f} / {found.peak_replicas}")
    print(f"slots busy                             {found.busy:.0%}")
    print(f"cost of the pods                       ${found.usd:.2f} for {found.jobs:,} jobs")
    if found.released:
        print(f"jobs given back by a stopped pod       {found.released}")


def _said(rules: scaling.Scaling) -> str:
    return (
        f"target {rules.target:g} jobs a pod, {rules.least} to {rules.most} pods, "
        f"polled every {rules.polling_s:g} s, to zero after {rules.cooldown_s:g} s"
    )


def _on_paper(arguments: argparse.Namespace) -> None:
    changes = _changes(arguments.set)
    unknown = set(changes) - {field.name for field in dataclasses.fields(paper.Load)}
    if unknown:
        raise ValueError(f"--set {sorted(unknown)[0]}: no such number of internet")
    load = paper.Load(**{name: float(value) for name, value in changes.items()})
    plan = paper.plan(load, paper.Measured(), paper.Shape())
    if arguments.json:
        print(json.dumps(dataclasses.asdict(plan)))
        return
    print(
        f"{load.per_s:,.0f} requests/s, {load.service_s:g} s each, {load.streamed:.0%} of them streams of "
        f"{load.chunks:g} chunks, read back for {load.retention_s:,.0f} s\n\n"
        f"jobs at the providers at once          {plan.at_once:,}\n"
        f"Redis: cores of commands               {plan.redis_cores:.1f}\n"
        f"Redis: ended jobs, GB                  {plan.redis_bytes / 1e9:,.0f}\n"
        f"cells, each a primary and a replica    {plan.cells}\n"
        f"web: cores / pods                      {plan.web_cores:.0f} / {plan.web_pods}\n"
        f"workers: cores / pods of 512 slots     {plan.worker_cores:.0f} / {plan.worker_pods}\n"
        f"a year, without the providers          ${plan.usd_a_year:,.0f}\n"
        f"per million requests                   ${plan.usd_per_million:.2f}"
    )


def main() -> int:
    arguments = _arguments()
    try:
        if arguments.scenario == "internet":
            _on_paper(arguments)
        else:
            _play(SCENARIOS[arguments.scenario], arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read it has seen enough. What is left goes nowhere, or Python would try again at its end and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ValueError as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
