"""Logistic regression of all heads at once, where some labels are not known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import minimize

from guardrails.detectors.heads import BITS, features

Floats = npt.NDArray[np.float64]

SIGN = 0.3  # a sign's value beside a text of length one: how much dearer a run's weight is than a sign's
VECTOR = 3.0  # the same for a sentence's vector


@dataclass(frozen=True, slots=True)
class Read:
    """A text as the heads see it."""

    pieces: list[int]
    signs: list[int]


Block = Any  # scipy's csr_matrix, which has no types, or a dense matrix


def blocks(read: Sequence[Read], vocabulary: int, signs: int, prior: npt.NDArray[np.float32]) -> tuple[Block, ...]:
    """A row a text: runs of pieces | the pieces' vectors, which share strength between like words | signs.

    prior: a vector a piece. It is linear in the pieces as well, so the weights learnt for it are folded into theirs.
    """
    values, columns, ends = [], [], [0]
    marks = np.zeros((len(read), signs), dtype=np.float32)
    for index, text in enumerate(read):
        rows, shares = features(text.pieces, vocabulary)
        columns.append(rows)
        values.append(shares)
        ends.append(ends[-1] + len(rows))
        marks[index, text.signs] = SIGN
    width = vocabulary + (1 << BITS)
    runs = sp.csr_matrix((np.concatenate(values), np.concatenate(columns), ends), shape=(len(read), width))
    return runs, np.asarray(runs[:, :vocabulary] @ prior), marks


def logistic(
    x: Sequence[Block], y: Floats, known: Floats, strength: float, rounds: int = 60
) -> tuple[list[Floats], Floats]:
    """Weights by block, and biases, of one head a column of y; `known` weighs each label, 0 where nobody knows it."""
    heads = y.shape[1]
    turned = [block.T.tocsr() if sp.issparse(block) else np.ascontiguousarray(block.T) for block in x]
    ends = list(itertools.accumulate((block.shape[1] * heads for block in x), initial=0))

    def parts(flat: Floats) -> list[Floats]:
        return [flat[start:end].reshape(-1, heads) for start, end in itertools.pairwise(ends)]

    def loss(flat: Floats) -> tuple[float, Floats]:
        scores = flat[ends[-1] :] + sum(
            block @ part.astype(np.float32) for block, part in zip(x, parts(flat), strict=True)
        )
        wrong = known * (1.0 / (1.0 + np.exp(-scores)) - y)
        cost = float((known * (np.logaddexp(0.0, scores) - y * scores)).sum())
        cost += 0.5 * strength * float((flat[: ends[-1]] ** 2).sum())
        narrow = wrong.astype(np.float32)
        slopes = np.concatenate([(back @ narrow).ravel() for back in turned]).astype(np.float64)
        return cost, np.concatenate([slopes + strength * flat[: ends[-1]], wrong.sum(axis=0)])

    start = np.zeros(ends[-1] + heads)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": rounds, "maxcor": 6}).x
    return parts(found), found[ends[-1] :]
