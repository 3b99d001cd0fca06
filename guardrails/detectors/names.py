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

from guardrails.detectors.tagging import BUCKETS, COMMON, FIRST, LAST, PLACE, REACH, TOKENS, TOWN, Lists, Reader
from guardrails.verdicts import Finding

LABELS = ("", "NAME", "ADDRESS", "LOCATION", "ORG")  # an organisation is told apart, not reported
WEIGHTS = Path(__file__).parent.parent / "weights"
KINDS = ("NAME", "ADDRESS", "LOCATION")
_ROUNDING = 1e-6
_BLOCK = 2_048  # tokens whose features are in memory at once
_SCORE = {"NAME": 0.6, "ADDRESS": 0.65, "LOCATION": 0.55}

_Floats = npt.NDArray[np.float64]
_FIELDS = np.dtype("<u2")  # four in one number, a label each: added up, they don't touch each other
_ZERO = 256  # what stands for no weight in a field, which holds nothing negative


class Weights:
    """The weights of the tagger: for each feature, how much more each label is likely than none at all."""

    def __init__(
        self,
        buckets: npt.NDArray[np.uint32],
        rows: npt.NDArray[np.int8],
        scale: float,
        pairs: Sequence[Sequence[float]],
        caution: float,
    ) -> None:
        more = rows[:, 1:].astype(np.int16) - rows[:, :1] + _ZERO
        self._packed = np.full((BUCKETS, len(LABELS) - 1), _ZERO, _FIELDS).view("<u8").ravel()
        self._packed[buckets] = more.astype(_FIELDS).view("<u8").ravel()
        self._scale = scale
        self._caution = caution
        self.pairs = np.array(pairs, np.float64)  # a row for the label before
        self.before = self.pairs.T.tolist()  # for each label, the weight of every label before it

    @classmethod
    def read(cls, path: Path) -> Weights:
        with np.load(path) as stored:
            buckets = np.cumsum(stored["gaps"], dtype=np.uint32)
            return cls(
                buckets, stored["rows"], float(stored["scale"]), stored["pairs"].tolist(), float(stored["caution"])
            )

    def scores(self, features: npt.NDArray[np.int64]) -> _Floats:
        """A row a token, a column a label: how much likelier it is than none, which is the first."""
        summed = self._packed.take(features, mode="clip").sum(axis=1).view(_FIELDS).reshape(-1, len(LABELS) - 1)
        more = (summed.astype(np.int64) - _ZERO * features.shape[1]) * self._scale - self._caution
        return np.hstack([np.zeros((len(more), 1)), more])


class Names:
    name = "names"

    def __init__(self, reader: Reader, weights: Weights) -> None:
        self._reader, self._weights = reader, weights

    @classmethod
    def read(cls, folder: Path = WEIGHTS) -> Names:
        return cls(Reader(Lists.read(folder / "names_lists.txt.gz")), Weights.read(folder / "names.npz"))

    def find(self, text: str) -> Iterator[Finding]:
        words = TOKENS.findall(text)
        if not any(map(str.isalpha, words)):
            return
        runs = list(_runs(tag(words, self._reader, self._weights)))
        spans = [found.span() for found in TOKENS.finditer(text)] if runs else []
        for label, first, last in runs:
            kind = LABELS[label]
            if kind in KINDS and self._plausible(kind, words[first : last + 1]):
                yield Finding(kind, spans[first][0], spans[last][1], _SCORE[kind], self.name)

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
        for first, last in _doubtful(scores, weights.pairs):
            labels[start + first : start + last] = _best(scores[first:last].tolist(), weights.before)
    return labels


def _doubtful(scores: _Floats, pairs: _Floats) -> Iterator[tuple[int, int]]:
    """Stretches outside of which the best labels are surely none.

    Labels other than none come in runs. A run is worth at most what its tokens gain, each with the best step from one
    of them to the next, less what the cheapest way in and out costs; a token of the best labels is in a run that is
    worth something.
    """
    steps = pairs - pairs[0, 0]
    step = steps[1:, 1:].max()
    least = step - steps[0, 1:].max() - steps[1:, 0].max()
    gains = scores[:, 1:].max(axis=1) + step
    worth = _up_to(gains) + _up_to(gains[::-1])[::-1] - gains
    doubtful = np.flatnonzero(worth >= least - _ROUNDING)
    if not len(doubtful):
        return
    breaks = np.flatnonzero(np.diff(doubtful) > 1)
    firsts, lasts = doubtful[[0, *(breaks + 1)]], doubtful[[*breaks, -1]]
    yield from zip(firsts.tolist(), (lasts + 1).tolist(), strict=True)


def _up_to(gains: _Floats) -> _Floats:
    """For each place, the most that a run which ends there gains."""
    total = np.concatenate([[0.0], np.cumsum(gains)])
    most: _Floats = total[1:] - np.minimum.accumulate(total)[:-1]
    return most


def _best(scores: Sequence[Sequence[float]], before: Sequence[Sequence[float]]) -> list[int]:
    """Viterbi, between two ordinary words."""
    total = [score + pairs[0] for score, pairs in zip(scores[0], before, strict=True)]
    ways: list[list[list[float]]] = []  # for each later token and each label of it, what it is worth by the one before
    for row in scores[1:]:
        reached = [list(map(add, total, pairs)) for pairs in before]
        ways.append(reached)
        total = list(map(add, map(max, reached), row))
    total = list(map(add, total, before[0]))
    best = [total.index(max(total))]
    for reached in reversed(ways):
        worth = reached[best[-1]]
        best.append(worth.index(max(worth)))
    return best[::-1]


def _runs(labels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Label, first and last place of each run of one label other than none."""
    place = 0
    for label, run in itertools.groupby(labels):
        length = sum(1 for _ in run)
        if label:
            yield label, place, place + length - 1
        place += length
