"""Heads fitted all at once, where some labels are not known: logistic regression, and one with a hidden layer."""

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
Narrow = npt.NDArray[np.float32]

SIGN = 0.3  # a sign's value beside a text of length one: how much dearer a run's weight is than a sign's


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


@dataclass(frozen=True, slots=True)
class Net:
    """A hidden layer beside a straight way from what is read to the scores; for what is read as it is."""

    hidden: Narrow
    hidden_bias: Narrow
    deep: Narrow
    straight: Narrow
    bias: Narrow


NETS = 3
HIDDEN = 64  # of each
ROUNDS = 16  # over all rows
BATCH = 256
RATE = 2e-3
DECAY = 1e-4
UNREAD, UNHEARD = 0.15, 0.3  # of what is read and of the hidden layer, left out by chance in each step


def layered(x: Narrow, y: Floats, known: Floats, seed: int) -> Net:
    """A net of one head a column of y; the same seed gives the same.

    It is the mean of several, which begin in different places and so go wrong in different places, as one: their hidden
    layers stand side by side.
    """
    middle, spread = x.mean(axis=0), x.std(axis=0) + np.float32(1e-3)
    read = (x - middle) / spread
    wanted, counts = y.astype(np.float32), known.astype(np.float32)
    nets = [_descended(read, wanted, counts, np.random.default_rng((seed, one))) for one in range(NETS)]
    hidden = np.concatenate([net.hidden for net in nets], axis=1) / spread[:, None]
    hidden_bias = np.concatenate([net.hidden_bias for net in nets]) - middle @ hidden
    deep = (np.concatenate([net.deep for net in nets]) / NETS).astype(np.float32)
    straight = np.stack([net.straight for net in nets]).mean(axis=0) / spread[:, None]
    bias = np.stack([net.bias for net in nets]).mean(axis=0) - middle @ straight
    return Net(hidden, hidden_bias, deep, straight, bias)


def _descended(read: Narrow, wanted: Narrow, counts: Narrow, dice: np.random.Generator) -> Net:
    """By Adam with a rate that falls to nothing."""
    count, width = read.shape
    heads = wanted.shape[1]
    weights = [
        dice.normal(0.0, width**-0.5, (width, HIDDEN)).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        dice.normal(0.0, HIDDEN**-0.5, (HIDDEN, heads)).astype(np.float32),
        np.zeros((width, heads), np.float32),
        np.full(heads, -3.0, np.float32),  # most rows bear no label
    ]
    slopes = [np.zeros_like(each) for each in weights]
    squares = [np.zeros_like(each) for each in weights]
    steps = ROUNDS * -(-count // BATCH)
    step = 0
    for _ in range(ROUNDS):
        order = dice.permutation(count)
        for start in range(0, count, BATCH):
            rows = order[start : start + BATCH]
            step += 1
            some = _thinned(read[rows], UNREAD, dice)
            inner = some @ weights[0] + weights[1]
            mask = _thinned(np.ones_like(inner), UNHEARD, dice) * (inner > 0)
            outer = inner * mask
            scores = outer @ weights[2] + some @ weights[3] + weights[4]
            wrong = counts[rows] * (1.0 / (1.0 + np.exp(-np.clip(scores, -30, 30))) - wanted[rows]) / len(rows)
            back = (wrong @ weights[2].T) * mask
            found = (some.T @ back, back.sum(axis=0), outer.T @ wrong, some.T @ wrong, wrong.sum(axis=0))
            rate = RATE * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            for weight, slope, square, new in zip(weights, slopes, squares, found, strict=True):
                slope += 0.1 * (new - slope)
                square += 0.001 * (new * new - square)
                move = slope / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
                weight -= np.float32(rate) * (move + np.float32(DECAY) * weight)
    return Net(*weights)


def _thinned(values: Narrow, share: float, dice: np.random.Generator) -> Narrow:
    kept: Narrow = values * (dice.random(values.shape, dtype=np.float32) >= share) / np.float32(1 - share)
    return kept
