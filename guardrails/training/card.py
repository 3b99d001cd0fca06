"""What training leaves behind: the weights, their card, and how they did on rows they had not seen."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guardrails.detectors.heads import Weights
from guardrails.guard import INJECTION, Sentences
from guardrails.metrics import figures, recall_at
from guardrails.training.generated import strange
from guardrails.training.rows import Manifest, Row
from guardrails.training.trial import DEFAULT, Trial, guards, probed
from guardrails.verdicts import Stage

_Floats = npt.NDArray[np.float64]
STRANGE_ROWS = 84  # of a kind: 1,500 in all
_TEMPLATE = Path(__file__).parent / "card.md"


def write(
    folder: Path,
    weights: Weights,
    manifest: Manifest,
    rows: Sequence[Row],
    arguments: argparse.Namespace,
    took_s: float,
    *,
    cold: bool,
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
            how="each text read by the sentence model anew" if cold else "with the sentence vectors from a cache",
        )
    )
    (folder / "manifest.json").write_text(
        json.dumps({"sha256": digest, "rows": dict(sorted(counts.items())), "ids_sha256": identities}, indent=2) + "\n"
    )


THRESHOLD = 0.5  # of the score, in all modes
_TITLES = {
    "off": "Without the sentence model (`embedding: off`)",
    "grey-zone": "With it in the grey zone (`embedding: grey-zone`, the default)",
    "always": "With it always (`embedding: always`)",
}


def evaluate(
    folder: Path,
    rows: Sequence[Row],
    truth: _Floats,
    known: _Floats,
    trial: Trial,
    final: Weights,
    sentences: Sentences,
    manifest: Manifest,
    arguments: argparse.Namespace,
) -> None:
    """Cross-validated by cluster: each row was judged by heads that had not seen it or a near-duplicate of it."""
    names = final.names
    lines = [
        "# Evaluation",
        "",
        f"`python -m guardrails.train --data DIR --licence {arguments.licence} --seed {arguments.seed} --evaluate`: "
        f"{len(rows)} rows of {len({row.source for row in rows})} public sets, cross-validated by cluster in 3 folds, "
        "each judged by the whole guard (every view, every rule) as `gateway guard scan` does. Only rows whose licence "
        "allows it were trained on and chose the thresholds; all are scored. Each category is counted over the rows "
        "whose label is known. `F1` is at the threshold (score 0.5), `AP` the area under the precision-recall curve, "
        "`R1` the recall where 1 % of the negatives are flagged, `±` half of the 95 % interval of the recall.",
        "",
    ]
    for mode, title in _TITLES.items():
        lines += _categories(title, names, truth, known, trial.scores[mode])
    lines += _injections(names, rows, truth, known, trial.scores, manifest, arguments.licence)
    lines += _harmless(names, rows, trial)
    lines += _strange(final, sentences, arguments.seed)
    lines += _encoded(final, sentences, rows, manifest, arguments.licence)
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
        each = figures(truth[mask, index], scores[mask, index], THRESHOLD)
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
    scores: Mapping[str, _Floats],
    manifest: Manifest,
    licence: str,
) -> list[str]:
    index = list(names).index(INJECTION)
    sources = np.array([row.source for row in rows])
    trained = np.array([manifest.trains(row.source, licence) for row in rows])
    mask = known[:, index] > 0
    negatives = mask & (truth[:, index] == 0)
    lines = [
        "## Injections",
        "",
        "Recall where 1 % of all rows known to be none are flagged, and at the threshold; without the sentence model "
        "and in the default mode.",
        "",
        "| family | rows | R1 without | recall without | R1 | recall |",
        "|---|---:|---:|---:|---:|---:|",
    ]

    def line(name: str, chosen: npt.NDArray[np.bool_]) -> str:
        both = chosen | negatives
        cells = []
        for mode in ("off", DEFAULT):
            found = scores[mode][:, index]
            cells += [recall_at(truth[both, index], found[both], 0.01), float((found[chosen] >= THRESHOLD).mean())]
        return f"| {name} | {int(chosen.sum())} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"

    positive = mask & (truth[:, index] == 1)
    for title, chosen in (("**families that may train**", positive & trained), ("**all others**", positive & ~trained)):
        if chosen.any():
            lines.append(line(title, chosen))
    lines += [line(name, positive & (sources == name)) for name in sorted(set(sources[positive]))]
    alike = negatives | (positive & trained)
    found = figures(truth[alike, index], scores[DEFAULT][alike, index], THRESHOLD)
    return [
        *lines,
        "",
        f"In the default mode, over the families that may train and all rows known to be none: precision "
        f"{found.precision:.3f}, recall {found.recall:.3f}, F1 {found.f1:.3f} at the threshold.",
        "",
    ]


def _harmless(names: Sequence[str], rows: Sequence[Row], trial: Trial) -> list[str]:
    harmless = np.array([not row.label and not row.maybe for row in rows])
    prompts = np.array([row.kind == "prompt" for row in rows]) & harmless
    sources = np.array([row.source for row in rows])
    lines = [
        "## Harmless rows flagged in any category",
        "",
        f"In the default mode the sentence model is asked for {trial.asked.mean():.1%} of all rows and for "
        f"{trial.asked[prompts].mean():.1%} of the harmless prompts.",
        "",
        "| source | rows | without the sentence model | default | always | asked | categories (default) |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name in sorted(set(sources[harmless])):
        chosen = harmless & (sources == name)
        flagged = {mode: scores[chosen] >= THRESHOLD for mode, scores in trial.scores.items()}
        hits = Counter(names[int(i)] for i in np.nonzero(flagged[DEFAULT])[1])
        cells = [float(flagged[mode].any(axis=1).mean()) for mode in _TITLES] + [float(trial.asked[chosen].mean())]
        shares = " | ".join(f"{cell:.3f}" for cell in cells)
        named = ", ".join(f"{kind} {count}" for kind, count in hits.most_common(3))
        lines.append(f"| {name} | {int(chosen.sum())} | {shares} | {named} |")
    return [*lines, ""]


def _strange(final: Weights, sentences: Sentences, seed: int) -> list[str]:
    """Of harmless text that looks strange, made from other files than what was trained on."""
    rows = list(strange(random.Random(seed + 1), STRANGE_ROWS, half=1))
    guard = guards(final, sentences)[DEFAULT]
    wrong = Counter(row.source for row in rows if guard.check(row.text, Stage.REQUEST).flagged)
    named = ", ".join(f"{kind.rpartition(':')[2]} {count}" for kind, count in wrong.most_common(5)) or "none"
    share = sum(wrong.values()) / len(rows)
    return [
        "## Harmless text that looks strange",
        "",
        "Code, JSON, Markdown, hashes, tokens, logs, encoded harmless text and the like, made from files and "
        f"sentences that no training row was made of: {len(rows)} rows, {share:.1%} flagged: {named}.",
        "",
    ]


def _encoded(final: Weights, sentences: Sentences, rows: Sequence[Row], manifest: Manifest, licence: str) -> list[str]:
    unseen = [row for row in rows if not manifest.trains(row.source, licence)]
    lines = [
        "## Encoded attacks",
        "",
        "Rows of at most 2,000 characters of sources that never train, flagged by the written weights under a category "
        "of their own: as they are, and encoded; in the default mode.",
        "",
        "| rows | encoding | count | as they are | encoded |",
        "|---|---|---:|---:|---:|",
    ]
    for kind, encoding, probe in probed(guards(final, sentences)[DEFAULT], unseen):
        shares = [count / max(1, probe.rows) for count in (probe.plain, probe.encoded)]
        lines.append(f"| {kind} | {encoding} | {probe.rows} | {shares[0]:.3f} | {shares[1]:.3f} |")
    return [*lines, ""]
