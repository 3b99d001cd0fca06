"""What training leaves behind: the weights, their card, and how they did on rows they had not seen."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guardrails.detectors.heads import Weights
from guardrails.guard import ABOVE, BELOW
from guardrails.metrics import figures, recall_at
from guardrails.training.rows import Manifest, Row

_Floats = npt.NDArray[np.float64]
_TEMPLATE = Path(__file__).parent / "card.md"


def write(
    folder: Path,
    weights: Weights,
    manifest: Manifest,
    rows: Sequence[Row],
    arguments: argparse.Namespace,
    took_s: float,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "heads.npz"
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(weights).items()}
    np.savez_compressed(file, **arrays)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    counts = Counter(row.source for row in rows)
    identities = hashlib.sha256("\n".join(sorted(f"{row.source}/{row.id}" for row in rows)).encode()).hexdigest()
    table = "\n".join(
        f"| {name} | {counts[name]} | {manifest.sources[name]['licence']} | {manifest.sources[name]['repo']} |"
        for name in sorted(counts)
    )
    positives = Counter(label for row in rows for label in row.label)
    classes = ", ".join(f"{name} {count}" for name, count in sorted(positives.items()))
    (folder / "MODEL_CARD.md").write_text(
        _TEMPLATE.read_text().format(
            digest=digest,
            size=round(file.stat().st_size / 1024),
            licence=arguments.licence,
            seed=arguments.seed,
            count=len(rows),
            identities=identities,
            table=table,
            classes=classes,
            took=round(took_s),
        )
    )
    (folder / "manifest.json").write_text(
        json.dumps({"sha256": digest, "rows": dict(sorted(counts.items())), "ids_sha256": identities}, indent=2) + "\n"
    )


def evaluate(
    folder: Path,
    names: Sequence[str],
    rows: Sequence[Row],
    truth: _Floats,
    known: _Floats,
    raw: _Floats,
    mixed: _Floats,
    zero: _Floats,
    manifest: Manifest,
    arguments: argparse.Namespace,
) -> None:
    """Cross-validated by cluster: each row was scored by heads that had not seen it or a near-duplicate of it."""
    in_doubt = (raw - zero > -BELOW) & (raw - zero < ABOVE)
    asked = np.where(in_doubt.any(axis=1, keepdims=True), mixed, raw)
    lines = [
        "# Evaluation",
        "",
        f"`python -m guardrails.train --data DIR --licence {arguments.licence} --seed {arguments.seed} --evaluate`: "
        f"{len(rows)} rows of {len({row.source for row in rows})} public sets, cross-validated by cluster in 3 folds. "
        "Only rows whose licence allows it were trained on and chose the thresholds; all are scored. Each category is "
        "counted over the rows whose label is known. `F1` is at the threshold (score 0.5), `AP` is the area under the "
        "precision-recall curve, `R1` the recall where 1 % of the negatives are flagged, `±` half of the 95 % interval "
        "of the recall.",
        "",
    ]
    for title, scores in (("Without the sentence model", raw), ("With it in the grey zone (the default)", asked)):
        lines += _categories(title, names, truth, known, scores - zero)
    lines += _injections(names, rows, truth, known, asked - zero, manifest, arguments.licence)
    lines += _harmless(names, rows, raw - zero, asked - zero, float(in_doubt.any(axis=1).mean()))
    (folder / "EVALUATION.md").write_text("\n".join(lines) + "\n")


def _categories(title: str, names: Sequence[str], truth: _Floats, known: _Floats, scores: _Floats) -> list[str]:
    lines = [
        f"## {title}",
        "",
        "| category | positives | AP | precision | recall | ± | F1 | R1 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    found = []
    for index, name in enumerate(names):
        mask = known[:, index] > 0
        each = figures(truth[mask, index], scores[mask, index], 0.0)
        found.append(each)
        lines.append(
            f"| {name} | {each.positives} | {each.average_precision:.3f} | {each.precision:.3f} | {each.recall:.3f} | "
            f"{each.interval:.3f} | {each.f1:.3f} | {each.recall_at_1:.3f} |"
        )
    area, f1 = (float(np.mean([getattr(each, name) for each in found])) for name in ("average_precision", "f1"))
    return [*lines, f"| **macro** | | **{area:.3f}** | | | | **{f1:.3f}** | |", ""]


def _injections(
    names: Sequence[str],
    rows: Sequence[Row],
    truth: _Floats,
    known: _Floats,
    scores: _Floats,
    manifest: Manifest,
    licence: str,
) -> list[str]:
    index = list(names).index("PROMPT_INJECTION")
    sources = np.array([row.source for row in rows])
    trained = np.array([manifest.trains(row.source, licence) for row in rows])
    mask = known[:, index] > 0
    negatives = mask & (truth[:, index] == 0)
    lines = [
        "## Injections",
        "",
        "Recall where 1 % of all rows known to be none are flagged, and at the threshold.",
        "",
        "| family | rows | R1 | recall |",
        "|---|---:|---:|---:|",
    ]

    def line(name: str, chosen: npt.NDArray[np.bool_]) -> str:
        both = chosen | negatives
        at = recall_at(truth[both, index], scores[both, index], 0.01)
        return f"| {name} | {int(chosen.sum())} | {at:.3f} | {float((scores[chosen, index] >= 0).mean()):.3f} |"

    positive = mask & (truth[:, index] == 1)
    for title, chosen in (("**families that may train**", positive & trained), ("**all others**", positive & ~trained)):
        if chosen.any():
            lines.append(line(title, chosen))
    lines += [line(name, positive & (sources == name)) for name in sorted(set(sources[positive]))]
    return [*lines, ""]


def _harmless(names: Sequence[str], rows: Sequence[Row], raw: _Floats, asked: _Floats, share: float) -> list[str]:
    harmless = np.array([not row.label and not row.maybe for row in rows])
    sources = np.array([row.source for row in rows])
    lines = [
        "## Harmless rows flagged in any category",
        "",
        f"The sentence model is asked for {share:.1%} of all rows.",
        "",
        "| source | rows | without the sentence model | with it | categories |",
        "|---|---:|---:|---:|---|",
    ]
    for name in sorted(set(sources[harmless])):
        chosen = harmless & (sources == name)
        hits = Counter(names[int(i)] for i in np.nonzero(asked[chosen] >= 0)[1])
        shares = [float((scores[chosen] >= 0).any(axis=1).mean()) for scores in (raw, asked)]
        named = ", ".join(f"{kind} {count}" for kind, count in hits.most_common(3))
        lines.append(f"| {name} | {int(chosen.sum())} | {shares[0]:.3f} | {shares[1]:.3f} | {named} |")
    return [*lines, ""]
