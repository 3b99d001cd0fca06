"""How a guard does on labelled rows: by category, by source, by type of personal data, and how long it takes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guardrails.evaluate_pii import outcomes
from guardrails.guard import Guard
from guardrails.metrics import Figures, figures, percentile
from guardrails.policy import CATEGORIES, PERSONAL
from guardrails.verdicts import Stage


@dataclass
class Spans:
    """Of one type of personal data."""

    found: int = 0  # gold spans that were covered
    gold: int = 0
    right: int = 0  # predictions that touch a gold span of their type
    said: int = 0

    def row(self) -> dict[str, Any]:
        recall, precision = self.found / max(1, self.gold), self.right / max(1, self.said)
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        return {"spans": self.gold, "precision": precision, "recall": recall, "f1": f1}


@dataclass
class Report:
    categories: dict[str, Figures] = field(default_factory=dict)
    alarms: dict[str, tuple[int, int, dict[str, int]]] = field(
        default_factory=dict
    )  # by source: rows, flagged, in what
    personal: dict[str, Spans] = field(default_factory=dict)  # "source / type"
    rows: int = 0
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)  # by the texts' length

    def macro(self) -> tuple[float, float]:
        """Mean F1 and mean average precision over the categories that have positives."""
        each = [figure for figure in self.categories.values() if figure.positives]
        if not each:
            return 0.0, 0.0
        return float(np.mean([one.f1 for one in each])), float(np.mean([one.average_precision for one in each]))


_LENGTHS = ((200, "below 200"), (1_000, "200 to 1,000"), (2_200, "1,000 to 2,200"), (10**9, "above 2,200"))


def evaluate(guard: Guard, rows: Iterable[dict[str, Any]]) -> Report:
    """rows: objects with text and label (and maybe, source), or with text and spans."""
    report = Report()
    content: list[dict[str, Any]] = []
    scores: list[list[float]] = []
    took: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        report.rows += 1
        length = next(name for most, name in _LENGTHS if len(row["text"]) < most)
        began = time.perf_counter()
        if "spans" in row:
            _personal(guard, row, report)
            took[length].append((time.perf_counter() - began) * 1e3)
            continue
        stage = Stage.RESPONSE if row.get("kind") == "response" else Stage.REQUEST
        verdict = guard.check(row["text"], stage)
        took[length].append((time.perf_counter() - began) * 1e3)
        content.append({**row, "flagged": [name for name in verdict.flagged if name in CATEGORIES]})
        scores.append([verdict.scores.get(name, 0.0) for name in CATEGORIES])
    _content(guard, content, np.array(scores).reshape(-1, len(CATEGORIES)), report)
    for _, name in _LENGTHS:
        if took[name]:
            shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
            report.latency_ms[name] = {"texts": len(took[name])} | {
                label: percentile(took[name], share) for label, share in shares.items()
            }
    return report


def _content(guard: Guard, rows: Sequence[dict[str, Any]], scores: Any, report: Report) -> None:
    rules = guard.policy.resolved(Stage.REQUEST)
    for index, name in enumerate(CATEGORIES):
        known = np.array([name in row.get("label", ()) or name not in row.get("maybe", ()) for row in rows], dtype=bool)
        if not known.any():
            continue
        truth = np.array([name in row.get("label", ()) for row in rows], dtype=np.float64)
        threshold = rules.categories[name].least_score if name in rules.categories else 0.5
        report.categories[name] = figures(truth[known], scores[known, index], threshold)
    for source in sorted({str(row.get("source", "")) for row in rows}):
        harmless = [
            row
            for row in rows
            if str(row.get("source", "")) == source and not row.get("label") and not row.get("maybe")
        ]
        if harmless:
            kinds = Counter(name for row in harmless for name in row["flagged"])
            report.alarms[source] = (len(harmless), sum(bool(row["flagged"]) for row in harmless), dict(kinds))


def _personal(guard: Guard, row: dict[str, Any], report: Report) -> None:
    found = guard.personal(row["text"], Stage.REQUEST)
    for kind, what in outcomes(row, found):
        if kind in PERSONAL:
            tally = report.personal.setdefault(f"{row.get('source', '')} / {kind}", Spans())
            tally.gold += what == "labelled"
            tally.found += what == "found"
            tally.said += what == "said"
            tally.right += (what == "said") - (what == "false")


def tables(report: Report) -> Iterable[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and cells of each table."""
    if report.categories:
        f1, area = report.macro()
        cells: list[tuple[str, ...]] = [
            (
                name,
                str(one.positives),
                str(one.negatives),
                *(f"{value:.3f}" for value in (one.precision, one.recall, one.interval, one.f1, one.average_precision)),
            )
            for name, one in report.categories.items()
        ]
        cells.append(("macro, of those with positives", "", "", "", "", "", f"{f1:.3f}", f"{area:.3f}"))
        yield "Categories", ("category", "positives", "negatives", "precision", "recall", "±", "F1", "AUPRC"), cells
    if report.alarms:
        alarms: list[tuple[str, ...]] = [
            (source, str(count), str(wrong), f"{wrong / count:.3f}", ", ".join(f"{k} {v}" for k, v in kinds.items()))
            for source, (count, wrong, kinds) in report.alarms.items()
        ]
        yield "Harmless rows flagged in any category", ("source", "rows", "flagged", "share", "as"), alarms
    if report.personal:
        spans: list[tuple[str, ...]] = [
            (
                name,
                str(tally.gold),
                str(tally.said),
                *(f"{tally.row()[key]:.3f}" if tally.gold else "-" for key in ("precision", "recall", "f1")),
            )
            for name, tally in sorted(report.personal.items())
        ]
        yield "Personal data", ("source / type", "spans", "found", "precision", "recall", "F1"), spans
    if report.latency_ms:
        times: list[tuple[str, ...]] = [
            (name, str(int(row["texts"])), *(f"{row[key]:.2f}" for key in ("p50", "p95", "p99")))
            for name, row in report.latency_ms.items()
        ]
        yield "Milliseconds a text, one after the other", ("characters", "texts", "p50", "p95", "p99"), times
