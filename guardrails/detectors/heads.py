"""Learnt heads, one a category: linear in hashed runs of one to three word pieces and in the lexicon's signs.

The weights are made by guardrails/train.py. A score of 0.5 is the threshold at which precision and recall were best
together on rows that the head had not seen; the scale around it is the logistic one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FILE = Path(__file__).parent.parent / "weights" / "heads.npz"
BITS = 16  # of a hashed run of two or three pieces
WINDOW, STRIDE = 64, 32  # pieces
LONG = 96  # pieces, above which windows are scored too

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
_BLOCK = 8_192  # pieces whose contributions are held at once


def hashed(pieces: npt.NDArray[np.uint32], vocabulary: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of the table for each run of two and of three pieces, behind the vocabulary's own."""
    first, second = pieces[:-1] * np.uint32(0x9E3779B1), pieces[1:] * np.uint32(0x85EBCA77)
    two = first ^ second
    two = (two ^ (two >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    three = two[:-1] ^ (pieces[2:] * np.uint32(0xC2B2AE3D)) if len(pieces) > 2 else two[:0]
    three = (three ^ (three >> np.uint32(13))) * np.uint32(0x297A2D39)
    shift = np.uint32(32 - BITS)
    return vocabulary + (two >> shift).astype(np.int64), vocabulary + (three >> shift).astype(np.int64)


def features(pieces: Sequence[int], vocabulary: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Rows of the table and their values: one plus the logarithm of the count, of length one together."""
    numbers = np.asarray(pieces, dtype=np.uint32)
    two, three = hashed(numbers, vocabulary)
    rows, counts = np.unique(np.concatenate([numbers.astype(np.int64), two, three]), return_counts=True)
    values = 1.0 + np.log(counts.astype(np.float32))
    length = float(np.sqrt((values * values).sum())) or 1.0
    return rows, (values / length).astype(np.float32)


@dataclass(frozen=True)
class Weights:
    """What training wrote down."""

    names: tuple[str, ...]
    table: npt.NDArray[np.int8]  # vocabulary + hashed runs, by category
    scale: Floats  # of the table, by category
    signs: Floats  # the lexicon's, by category
    bias: Floats
    zero: Floats  # the raw score that becomes 0.5
    low: Floats  # how far below `zero` and
    high: Floats  # how far above it the sentence model may still change the verdict
    window: Floats  # what a window's raw score must have beyond a whole text's
    vocabulary: int
    # What is read of a sentence: its vector and the lexicon's signs, both straight and through one hidden layer.
    hidden: Halves
    hidden_bias: Floats
    deep: Halves  # from the hidden layer, by category
    straight: Halves  # from the vector and the signs, by category
    sentence_bias: Floats
    mix: Floats  # of the raw score, the sentence's and a constant, by category

    @classmethod
    def load(cls, file: Path = FILE) -> Weights:
        with np.load(file, allow_pickle=False) as saved:
            arrays = dict(saved)
        names = tuple(str(name) for name in arrays.pop("names"))
        return cls(names=names, vocabulary=int(arrays.pop("vocabulary")), **arrays)


@dataclass(frozen=True, slots=True)
class Raw:
    """Raw scores by category, and the pieces of the window that each came from; (0, 0) for the whole text."""

    scores: Floats
    windows: tuple[tuple[int, int], ...]


class Heads:
    """Scores texts; may be used from any thread."""

    name = "heads"

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.names = weights.names
        self._hidden, self._deep, self._straight = (
            each.astype(np.float32) for each in (weights.hidden, weights.deep, weights.straight)
        )

    def raw(self, pieces: Sequence[int], signs: Sequence[int]) -> Raw:
        """The scores before they are laid on the scale of 0 to 1; not above `zero` means not flagged."""
        weights = self.weights
        rows, values = features(pieces, weights.vocabulary)
        said = values @ weights.table[rows].astype(np.float32) * weights.scale
        base = weights.signs[list(signs)].sum(axis=0) + weights.bias
        scores = said + base
        windows: list[tuple[int, int]] = [(0, 0)] * len(self.names)
        if len(pieces) > LONG:
            # The signs of a long text stand anywhere in it: a window is scored by its own pieces alone.
            best, at = self.best_windows(pieces)
            best += weights.bias - weights.window
            for index in np.nonzero(best > scores)[0]:
                scores[index] = best[index]
                windows[index] = (int(at[index]), min(int(at[index]) + WINDOW, len(pieces)))
        return Raw(scores, tuple(windows))

    def best_windows(self, pieces: Sequence[int]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """The best window by category and where it begins, by sums over what each piece and run contributes."""
        weights = self.weights
        best = np.full(len(self.names), -np.inf, dtype=np.float32)
        where = np.zeros(len(self.names), dtype=np.int64)
        for block in range(0, len(pieces), _BLOCK):
            numbers = np.asarray(pieces[block : block + _BLOCK + WINDOW], dtype=np.uint32)
            if block and len(numbers) <= WINDOW:
                break
            share = weights.table[numbers].astype(np.float32)
            two, three = hashed(numbers, weights.vocabulary)
            share[: len(two)] += weights.table[two]
            share[: len(three)] += weights.table[three]
            sums = np.vstack([np.zeros((1, share.shape[1]), np.float32), np.cumsum(share, axis=0)])
            starts = np.arange(0, max(len(numbers) - STRIDE, 1), STRIDE)
            ends = np.minimum(starts + WINDOW, len(numbers))
            runs = np.maximum(3 * (ends - starts) - 3, 1).astype(np.float32)
            scores = (sums[ends] - sums[starts]) / np.sqrt(runs)[:, None] * weights.scale
            tops = scores.argmax(axis=0)
            values = scores[tops, np.arange(scores.shape[1])]
            better = values > best
            best = np.where(better, values, best)
            where = np.where(better, starts[tops] + block, where)
        return best, where

    def scaled(self, raw: Floats) -> Floats:
        """On the scale of 0 to 1, where 0.5 is the threshold."""
        scores: Floats = 1.0 / (1.0 + np.exp(np.clip(self.weights.zero - raw, -30.0, 30.0)))
        return scores

    def doubt(self, raw: Floats) -> float:
        """How much the sentence model is needed: 1 at a category's threshold, 0 and less where it changes nothing."""
        weights = self.weights
        beyond = raw - weights.zero
        return float((1.0 - np.where(beyond < 0, -beyond / weights.low, beyond / weights.high)).max())

    def sentence(self, vectors: Floats, signs: Floats) -> Floats:
        """Raw scores of sentences by their vectors; signs: a row a sentence, 1 where it bears one."""
        weights = self.weights
        seen = np.concatenate([vectors, signs], axis=1)
        hidden = np.maximum(seen @ self._hidden + weights.hidden_bias, 0.0)
        scores: Floats = hidden @ self._deep + seen @ self._straight + weights.sentence_bias
        return scores

    def mixed(self, raw: Floats, vector: Floats, signs: Sequence[int]) -> Floats:
        """Raw scores once a sentence's vector is known too; laid on the same scale."""
        borne = np.zeros((1, len(self.weights.signs)), np.float32)
        borne[0, list(signs)] = 1.0
        mix = self.weights.mix
        mixed: Floats = mix[0] * raw + mix[1] * self.sentence(vector[None, :], borne)[0] + mix[2]
        return mixed
