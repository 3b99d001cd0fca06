"""Figures about scores: precision, recall, F1, area under the precision-recall curve, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one category at its threshold, over the rows whose label is known."""

    positives: int
    negatives: int
    precision: float
    recall: float
    f1: float
    average_precision: float
    recall_at_1: float  # where 1 % of the negatives are flagged
    interval: float  # half of the 95 % interval of the recall


def average_precision(truth: Floats, scores: Floats) -> float:
    order = np.argsort(-scores, kind="stable")
    hits = truth[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / max(1.0, hits.sum()))


def recall_at(truth: Floats, scores: Floats, share: float) -> float:
    """The recall where this share of the negatives is flagged."""
    negatives, positives = scores[truth == 0], scores[truth == 1]
    if not len(negatives) or not len(positives):
        return 0.0
    return float((positives > np.quantile(negatives, 1 - share)).mean())


def figures(truth: Floats, scores: Floats, threshold: float) -> Figures:
    flagged = scores >= threshold
    hits = float((flagged * truth).sum())
    positives = float(truth.sum())
    precision = hits / max(1.0, float(flagged.sum()))
    recall = hits / max(1.0, positives)
    return Figures(
        positives=int(positives),
        negatives=int(len(truth) - positives),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / max(1e-9, precision + recall),
        average_precision=average_precision(truth, scores),
        recall_at_1=recall_at(truth, scores, 0.01),
        interval=1.96 * (recall * (1 - recall) / max(1.0, positives)) ** 0.5,
    )


def best_threshold(truth: Floats, scores: Floats, harmless: npt.NDArray[np.bool_], most: float) -> float:
    """Where F1 is best while at most this share of the harmless rows is flagged."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(1.0, truth.sum()))
    wrong = np.cumsum(harmless[order]) / max(1, int(harmless.sum()))
    f1[wrong > most] = -1
    top = int(f1.argmax())
    below = scores[order[top + 1]] if top + 1 < len(order) else scores[order[top]] - 1
    return float((scores[order[top]] + below) / 2)


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(np.asarray(values), share)) if values else 0.0
