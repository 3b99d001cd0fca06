"""How well personal data is found: `python -m guardrails.evaluate_pii FILE…` over JSONL rows (also gzipped).

A row is {"text", "spans": [{"start", "end", "type"}], "source"}. A labelled span counts as found when half of its
characters or more are covered by findings of its type (an ADDRESS also by LOCATION: both are masked). A finding
counts as false when it overlaps no span of a compatible type. Synthetic and AmbientMeta's rows are scored apart.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guardrails.personal import PersonalData
from guardrails.verdicts import Finding

_TYPES = {"IP": "IP_ADDRESS", "MRN": "MEDICAL_RECORD"}  # a label's name where it is not ours
_COVERS = {"ADDRESS": ("ADDRESS", "LOCATION"), "LOCATION": ("LOCATION", "ADDRESS")}
_SCORED = (
    "NAME",
    "ADDRESS",
    "LOCATION",
    "EMAIL",
    "PHONE",
    "CREDIT_CARD",
    "SSN",
    "IBAN",
    "IP_ADDRESS",
    "MEDICAL_RECORD",
)
_FAMILIES = (("presidio", "synth"), ("ambient", "ambient"), ("wnut", "WNUT17"), ("conll", "CoNLL-2003"), ("", "own"))
_ALSO = {"ZIP": ("ADDRESS", "LOCATION"), "MRN": ("MEDICAL_RECORD",)}  # what else may stand where a label is


@dataclass(frozen=True, slots=True)
class Score:
    labelled: int
    found: int
    said: int
    false: int

    def __add__(self, other: Score) -> Score:
        return Score(
            self.labelled + other.labelled, self.found + other.found, self.said + other.said, self.false + other.false
        )

    @property
    def recall(self) -> float:
        return self.found / self.labelled if self.labelled else 0.0

    @property
    def precision(self) -> float:
        return 1 - self.false / self.said if self.said else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.recall * self.precision / (self.recall + self.precision or 1)


def evaluate(
    rows: Iterable[Mapping[str, Any]], find: Callable[[str], Sequence[Finding]]
) -> dict[tuple[str, str], Score]:
    """Scores by (family of the row's source, type)."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        family = next(name for part, name in _FAMILIES if part in row.get("source", ""))
        for kind, what in outcomes(row, find(row["text"])):
            counts[family, kind][what] += 1
    return {
        place: Score(count["labelled"], count["found"], count["said"], count["false"])
        for place, count in sorted(counts.items())
    }


def outcomes(row: Mapping[str, Any], findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    """Types, each with what happened to one: "labelled", "found", "said" or "false"; a label has our name of it."""
    labels = [(_TYPES.get(span["type"], span["type"]), span["start"], span["end"]) for span in row["spans"]]
    for kind, start, end in labels:
        covering = _COVERS.get(kind, (kind,)) if kind != "LOCATION" else ("LOCATION",)
        covered = sum(max(0, min(end, one.end) - max(start, one.start)) for one in findings if one.kind in covering)
        yield kind, "labelled"
        if 2 * covered >= end - start:
            yield kind, "found"
    for one in findings:
        yield one.kind, "said"
        if not any(
            start < one.end
            and one.start < end
            and (kind in _COVERS.get(one.kind, (one.kind,)) or one.kind in _ALSO.get(kind, ()))
            for kind, start, end in labels
        ):
            yield one.kind, "false"


def table(scores: Mapping[tuple[str, str], Score]) -> str:
    lines = ["| rows | type | labelled | precision | recall | F1 |", "|---|---|---|---|---|---|"]
    for (family, kind), score in scores.items():
        if kind in _SCORED and (score.labelled or score.said):
            figures = f"{score.labelled} | {score.precision:.3f} | {score.recall:.3f} | {score.f1:.3f}"
            lines.append(f"| {family} | {kind} | {figures} |")
    return "\n".join(lines)


def read(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        yield from (json.loads(line) for line in content.splitlines() if line.strip())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Scores the detectors of personal data on labelled JSONL rows.")
    parser.add_argument("files", nargs="+", type=Path)
    rows = list(read(parser.parse_args(arguments).files))
    find, took = PersonalData().find, []

    def timed(text: str) -> list[Finding]:
        began = time.perf_counter()
        findings = find(text)
        took.append((time.perf_counter() - began) * 1000)
        return findings

    print(table(evaluate(rows, timed)))
    took.sort()
    print(f"\n{len(took)} texts, p50 {took[len(took) // 2]:.2f} ms, p99 {took[len(took) * 99 // 100]:.2f} ms")


if __name__ == "__main__":
    main()
