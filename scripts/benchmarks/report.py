"""The figures of a run as a table: medians of the rounds, a column a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import Result, Spread
from benchmarks.rounds import Plan, Results
from benchmarks.stack import BARE, DIRECT, GUARD, OURS

BARE_S = 0.021  # CPU s that 1,000 requests took the bare proxy on the machine for which the musts were set


@dataclass(frozen=True)
class Row:
    """One figure of every target that has it.

    here: the must for this machine, where it is a time: as much longer as the bare proxy takes.
    """

    name: str
    values: dict[str, float]
    digits: int = 1
    must: str = ""
    here: str = ""
    compare: bool = False  # whether a peer's ratio to ours says something


def slowness(results: Results) -> float | None:
    """How many times longer this machine takes than the one for which the musts were set, by the bare proxy."""
    taken = _each(results.get("closed 64", {}), _cpu_per_1000_answers).get(BARE)
    return taken / BARE_S if taken else None


def rows(plan: Plan, results: Results) -> list[Row]:
    found: list[Row] = []
    times = slowness(results)

    def timed(name: str, values: dict[str, float], must: float, digits: int = 2, *, compare: bool = False) -> Row:
        here = _number(must * times, digits) if times else ""
        return Row(name, values, digits, f"{must:g}", here, compare)

    for clients in plan.clients:
        step = results[f"closed {clients}"]
        must = "peer x 10" if clients == 64 else ""
        found.append(Row(f"requests/s, {clients} clients", _each(step, _per_s), 0, must, compare=True))
    for clients in plan.clients:
        step = results[f"closed {clients}"]
        name = f"CPU s per 1,000 requests, {clients} clients"
        found.append(Row(name, _each(step, _cpu_per_1000_answers), 3, "peer / 10", compare=True))
        if clients == 64:
            found += _by_process("requests", step, lambda result: result.answers)
    for per_s in plan.rates:
        step = results[f"open {per_s}"]
        p50, p99 = _added(step, lambda r: _p(r.latency, "p50")), _added(step, lambda r: _p(r.latency, "p99"))
        names = f"added p50 ms, {per_s} requests/s", f"added p99 ms, {per_s} requests/s"
        if per_s == 50:
            found += [timed(names[0], p50, 4), timed(names[1], p99, 12)]
        else:
            found += [Row(names[0], p50, 2), Row(names[1], p99, 2)]
    step = results["first chunk"]
    found.append(timed("added p50 ms to a stream's first chunk", _added(step, lambda r: _p(r.first, "p50")), 5))
    found.append(Row("added p99 ms to a stream's first chunk", _added(step, lambda r: _p(r.first, "p99")), 2))
    for streams in plan.streams:
        name, step = f"{streams} paced streams", results[f"streams {streams}"]
        found += _stream_rows(name, step, must=streams == 300)
        cpu = _each(step, _cpu_per_1000_chunks)
        found.append(timed(f"{name}: CPU s per 1,000 chunks", cpu, 0.1, 3, compare=True))
        if streams == 300:
            found += _by_process("chunks", step, lambda result: result.chunks)
    found += _memory_rows(results)
    found.append(
        Row("errors", {name: float(sum(errors.values())) for name, errors in errors_of(results).items()}, 0, "0")
    )
    found.append(Row("cores kept busy by other work", _others(results), 2))
    return found


def _stream_rows(name: str, step: dict[str, list[Result]], *, must: bool) -> list[Row]:
    return [
        Row(f"{name}: chunk lag p50 ms", _each(step, lambda r: _p(r.lag, "p50")), 2),
        Row(f"{name}: chunk lag p99 ms", _each(step, lambda r: _p(r.lag, "p99")), 2),
        Row(f"{name}: stalled, worst round", _worst(step, lambda r: r.stalled), 0, "0" if must else ""),
        Row(f"{name}: widest gap ms", _worst(step, lambda r: r.widest_gap_ms), 0),
    ]


def _by_process(unit: str, step: dict[str, list[Result]], count: Callable[[Result], int]) -> list[Row]:
    """Our share of the row before, process by process."""
    measured = step.get(OURS, [])
    names = measured[0].cpu_s if measured else {}
    found = []
    for name in names:
        shares = [1000 * result.cpu_s[name] / count(result) for result in measured if count(result)]
        if shares:
            found.append(Row(f"  of which {name}, per 1,000 {unit}", {OURS: median(shares)}, 3))
    return found


def _memory_rows(results: Results) -> list[Row]:
    """The most that a target's processes held after any load."""
    total: dict[str, float] = {}
    ours: dict[str, float] = {}
    for step in results.values():
        for target, rounds in step.items():
            for result in rounds:
                if not result.memory:
                    continue
                held = sum(memory.pss for name, memory in result.memory.items() if name != GUARD) / 1e6
                total[target] = max(total.get(target, 0.0), held)
                if target == OURS:
                    for name, memory in result.memory.items():
                        ours[name] = max(ours.get(name, 0.0), memory.pss / 1e6)
    parts = [Row(f"  {name}, MB", {OURS: held}, 0) for name, held in ours.items()]
    return [Row("memory MB (PSS), the guard's process left out", total, 0, "300", compare=True), *parts]


def _others(results: Results) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for step in results.values():
        for target, rounds in step.items():
            found.setdefault(target, []).extend(result.others_cores for result in rounds)
    return {target: median(cores) for target, cores in found.items()}


def errors_of(results: Results) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for step in results.values():
        for target, rounds in step.items():
            for result in rounds:
                found.setdefault(target, Counter()).update(result.errors)
    return found


def _each(step: dict[str, list[Result]], figure: Callable[[Result], float | None]) -> dict[str, float]:
    found = {}
    for target, rounds in step.items():
        values = [value for result in rounds if (value := figure(result)) is not None]
        if values:
            found[target] = median(values)
    return found


def _worst(step: dict[str, list[Result]], figure: Callable[[Result], float]) -> dict[str, float]:
    return {target: max(map(figure, rounds)) for target, rounds in step.items()}


def _added(step: dict[str, list[Result]], figure: Callable[[Result], float | None]) -> dict[str, float]:
    """The median, over the rounds, of what a target takes longer than the direct call of the same round."""
    found = {}
    for target, rounds in step.items():
        pairs = [(figure(result), figure(direct)) for result, direct in zip(rounds, step[DIRECT], strict=True)]
        values = [value - base for value, base in pairs if value is not None and base is not None]
        if values and target != DIRECT:
            found[target] = median(values)
    return found


def _p(spread: Spread | None, which: str) -> float | None:
    return None if spread is None else float(getattr(spread, which))


def _per_s(result: Result) -> float | None:
    return result.answers / result.seconds if result.seconds else None


def _cpu_per_1000_answers(result: Result) -> float | None:
    return 1000 * sum(result.cpu_s.values()) / result.answers if result.cpu_s and result.answers else None


def _cpu_per_1000_chunks(result: Result) -> float | None:
    return 1000 * sum(result.cpu_s.values()) / result.chunks if result.cpu_s and result.chunks else None


def table(found: Sequence[Row], targets: Sequence[str], peers: Sequence[str]) -> str:
    heads = ["", *targets, *(f"{peer} / {OURS}" for peer in peers), "must", "must, here"]
    lines = [heads, ["---", *("---:" for _ in heads[1:])]]
    for row in found:
        values = [_number(row.values.get(target), row.digits) for target in targets]
        lines.append([row.name, *values, *(_ratio(row, peer) for peer in peers), row.must, row.here])
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join("| " + " | ".join(_cells(line, widths)) + " |" for line in lines)


def _cells(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    if line[0] == "---":
        return ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _ratio(row: Row, peer: str) -> str:
    if not row.compare or not row.values.get(OURS) or peer not in row.values:
        return ""
    ratio = row.values[peer] / row.values[OURS]
    return f"{ratio:.1f}" if ratio >= 1 else f"1/{1 / ratio:.1f}" if ratio else "0"
