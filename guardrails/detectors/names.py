"""Names of people, addresses and places, by a tagger that was trained on labelled and on made-up sentences.

A linear-chain conditional random field: a weight for each (feature, label) and each pair of labels. Most of a text is
beyond doubt; the best labels are looked for where it is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt

from guardrails.detectors.tagging import BUCKETS, COMMON, FIRST, LAST, PLACE, REACH, TOWN, Lists, Reader, tokens
from guardrails.verdicts import Finding

LABELS = ("", "NAME", "ADDRESS", "LOCATION", "ORG")  # an organisation is told apart, not reported
WEIGHTS = Path(__file__).parent.parent / "weights"
KINDS = ("NAME", "ADDRESS", "LOCATION")
_DOUBT = 6.0  # how far an ordinary word's score may lead and a neighbour still turn it
_BLOCK = 2_048  # tokens whose features are in memory at once
_SCORE = {"NAME": 0.6, "ADDRESS": 0.65, "LOCATION": 0.55}

_Floats = npt.NDArray[np.float32]


class Weights:
    """The weights of the tagger: one row of small integers for each feature that has any."""

    def __init__(
        self,
        buckets: npt.NDArray[np.uint32],
        rows: npt.NDArray[np.int8],
        scale: float,
        pairs: Sequence[Sequence[float]],
        caution: float,
    ) -> None:
        self._index = np.zeros(BUCKETS, np.int32)
        self._index[buckets] = np.arange(1, len(buckets) + 1, dtype=np.int32)
        self._rows = np.vstack([np.zeros((1, rows.shape[1]), np.int8), rows])
        self._scale = np.float32(scale)
        self._caution = np.array([caution, *[0] * (len(LABELS) - 1)], np.float32)
        self.before = list(zip(*pairs, strict=True))  # for each label, the weight of every label before it

    @classmethod
    def read(cls, path: Path) -> Weights:
        with np.load(path) as stored:
            buckets = np.cumsum(stored["gaps"], dtype=np.uint32)
            return cls(
                buckets, stored["rows"], float(stored["scale"]), stored["pairs"].tolist(), float(stored["caution"])
            )

    def scores(self, features: npt.NDArray[np.int64]) -> _Floats:
        """A row a token, a column a label."""
        summed: _Floats = self._rows[self._index[features]].sum(axis=1, dtype=np.int32).astype(np.float32)
        return summed * self._scale + self._caution


class Names:
    name = "names"

    def __init__(self, reader: Reader, weights: Weights) -> None:
        self._reader, self._weights = reader, weights

    @classmethod
    def read(cls, folder: Path = WEIGHTS) -> Names:
        return cls(Reader(Lists.read(folder / "names_lists.txt.gz")), Weights.read(folder / "names.npz"))

    def find(self, text: str) -> Iterator[Finding]:
        if not any(map(str.isalpha, text)):
            return
        found = tokens(text)
        words = [token for token, _, _ in found]
        for label, first, last in _runs(tag(words, self._reader, self._weights)):
            kind = LABELS[label]
            if kind in KINDS and self._plausible(kind, words[first : last + 1]):
                yield Finding(kind, found[first][1], found[last][2], _SCORE[kind], self.name)

    def _plausible(self, kind: str, words: Sequence[str]) -> bool:
        """No tiny address, no name with digits in it, and in small letters only names that the lists know."""
        if kind == "ADDRESS":
            return sum(map(len, words)) > 3
        if any(map(str.isdigit, words)) or max(map(len, words)) < 2:
            return False
        if not all(word == word.lower() for word in words):
            return True
        flags = list(map(self._reader.flags, words))
        return any(flag & (FIRST | LAST | TOWN | PLACE) and not flag & COMMON for flag in flags)


def tag(words: Sequence[str], reader: Reader, weights: Weights) -> list[int]:
    """The best label of each token."""
    labels = [0] * len(words)
    for start in range(0, len(words), _BLOCK):
        before = min(start, REACH)
        block = words[start - before : start + _BLOCK + REACH]
        scores = weights.scores(reader.features(block))[before : before + _BLOCK]
        for first, last in _doubtful(scores):
            labels[start + first : start + last] = _best(scores[first:last].tolist(), weights.before)
    return labels


def _doubtful(scores: _Floats) -> Iterator[tuple[int, int]]:
    """Stretches outside of which no neighbour could make a token anything but an ordinary word."""
    doubtful = np.flatnonzero(scores[:, 0] - scores[:, 1:].max(axis=1) < _DOUBT)
    if not len(doubtful):
        return
    breaks = np.flatnonzero(np.diff(doubtful) > 1)
    firsts, lasts = doubtful[[0, *(breaks + 1)]], doubtful[[*breaks, -1]]
    yield from zip(firsts.tolist(), (lasts + 1).tolist(), strict=True)


def _best(scores: Sequence[Sequence[float]], before: Sequence[Sequence[float]]) -> list[int]:
    """Viterbi, between two ordinary words."""
    total = [score + pairs[0] for score, pairs in zip(scores[0], before, strict=True)]
    back: list[list[int]] = []
    for row in scores[1:]:
        reached = [list(map(add, total, pairs)) for pairs in before]
        total = [max(ways) + score for ways, score in zip(reached, row, strict=True)]
        back.append([ways.index(max(ways)) for ways in reached])
    total = list(map(add, total, before[0]))
    best = [total.index(max(total))]
    for choices in reversed(back):
        best.append(choices[best[-1]])
    return best[::-1]


def _runs(labels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Label, first and last place of each run of one label other than none."""
    place = 0
    for label, run in itertools.groupby(labels):
        length = sum(1 for _ in run)
        if label:
            yield label, place, place + length - 1
        place += length
