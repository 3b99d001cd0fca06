"""Train the heads: `python -m guardrails.train --data DIR --licence permissive --seed 0`.

DIR holds JSONL files of labelled rows and a META.json that says what each source's licence allows. What is written are
weights, a model card and the evaluation; never a text. The same rows and seed give the same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from guardrails.detectors import grey
from guardrails.detectors.heads import LONG, Heads, Weights
from guardrails.detectors.lexicon import Lexicon
from guardrails.metrics import best_threshold
from guardrails.normalise import Normaliser
from guardrails.policy import CATEGORIES
from guardrails.training import card
from guardrails.training.fit import SIGN, Floats, Read, blocks, layered, logistic
from guardrails.training.generated import own, wrapped
from guardrails.training.rows import LICENCES, Manifest, Row, WrongRow, allowed, read_folder
from guardrails.training.trial import Trial, try_out
from guardrails.wordpiece import WordPiece

LEARNT = tuple(name for name in CATEGORIES if name != "CHILD_SAFETY")
FOLDS = 3
STRENGTH = 0.1  # of the pull of all weights towards 0
PRIOR = 0.7  # how much the pieces' own vectors count beside the pieces
OWN = 0.5  # the weight of a row that was made here
# Of harmless prompts, the most that one category may flag at its threshold; F1 is best within them.
FALSE_ALARMS = 0.0016
ALARMS = {
    "SELF_HARM": 0.001,
    "VIOLENCE": 0.002,
    "HATE_SPEECH": 0.004,
    "SEXUAL_CONTENT": 0.002,
    "CONTROLLED_SUBSTANCES": 0.0012,
    "WEAPONS": 0.0012,
    "PROMPT_INJECTION": 0.012,
    "OFFENSIVE_LANGUAGE": 0.004,
}
UNASKED = 0.01  # of the rows that the sentence model would help to flag, those about which it is not asked
NEAR = 0.5  # logarithm of the odds
WINDOW_ALARMS = 0.001  # of long harmless rows, the most that may be flagged for one of their windows
_LONGEST = 20_000  # characters that are read of a row

_Vectors = npt.NDArray[np.float32]


class Reader:
    """Texts as the heads see them."""

    def __init__(self) -> None:
        self.pieces = WordPiece()
        self.normaliser = Normaliser(self.pieces.ranks)
        self.lexicon = Lexicon()

    def read(self, text: str) -> Read:
        folded = self.normaliser.plain(text[:_LONGEST]).folded
        return Read(self.pieces.pieces(folded), self.lexicon.signs(folded))

    def signs(self, read: Sequence[Read]) -> _Vectors:
        """A row a text, 1 where it bears a sign."""
        borne = np.zeros((len(read), len(self.lexicon.names)), np.float32)
        for index, text in enumerate(read):
            borne[index, text.signs] = 1.0
        return borne


class Vectors:
    """The sentence model's vectors, each computed once; kept in a file between runs where one is given."""

    def __init__(self, model: grey.SentenceModel, at_once: int, file: Path | None) -> None:
        self._model = model
        self._at_once = at_once
        self._file = file
        self._known: dict[str, _Vectors] = {}
        if file is not None and file.is_file():
            with np.load(file) as saved:
                self._known = dict(zip(saved["keys"].tolist(), saved["vectors"], strict=True))
        self.cold = not self._known

    def of(self, read: Sequence[Sequence[int]]) -> _Vectors:
        """The vectors of texts, each given by its pieces."""
        keys = [_key(pieces) for pieces in read]
        new = {key: pieces for key, pieces in zip(keys, read, strict=True) if key not in self._known}
        with ThreadPoolExecutor(self._at_once) as several:
            for key, vector in zip(new, several.map(self._model.vector, new.values()), strict=True):
                assert vector is not None  # it was given no deadline
                self._known[key] = vector
        return np.stack([self._known[key] for key in keys]) if keys else np.zeros((0, grey.WIDTH), np.float32)

    def vector(self, pieces: Sequence[int]) -> _Vectors:
        """As a guard asks for one."""
        vector: _Vectors = self.of([pieces])[0]
        return vector

    def keep(self) -> None:
        if self._file is not None:
            np.savez(self._file, keys=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))


def _key(pieces: Sequence[int]) -> str:
    return hashlib.blake2b(np.asarray(grey.cut(pieces)).tobytes(), digest_size=12).hexdigest()


def piece_vectors(vectors: Vectors, vocabulary: int, width: int = 128) -> _Vectors:
    """What the sentence model makes of each piece alone, in its principal directions, each of length one."""
    alone = vectors.of([[piece] for piece in range(vocabulary)])[:, grey.MEANING].astype(np.float64)
    alone -= alone.mean(axis=0)
    _, directions = np.linalg.eigh(alone.T @ alone)
    turned = alone @ directions[:, -width:]
    vectors_alone: _Vectors = (turned / np.linalg.norm(turned, axis=1, keepdims=True)).astype(np.float32)
    return vectors_alone


@dataclass(frozen=True)
class Labels:
    truth: Floats  # by row and category, 0 or 1
    known: Floats  # 0 where nobody knows

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Labels:
        truth = np.array([[name in row.label for name in LEARNT] for row in rows], dtype=np.float64)
        known = np.array([[name not in row.maybe for name in LEARNT] for row in rows], dtype=np.float64)
        return cls(truth.reshape(-1, len(LEARNT)), known.reshape(-1, len(LEARNT)))


class Trainer:
    def __init__(self, seed: int, prior: _Vectors, vectors: Vectors, reader: Reader, rows: Sequence[Row]) -> None:
        self._seed = seed
        self._vectors = vectors
        self._reader = reader
        self._vocabulary = len(reader.pieces)
        self._prior = prior * np.float32(PRIOR)
        self._made = own(seed)
        self._made_read = [reader.read(row.text) for row in self._made]
        self._wrapped = {key: (row, reader.read(row.text)) for key, row in wrapped(rows, seed).items()}
        vectors.of([text.pieces for text in self._made_read])
        vectors.of([text.pieces for _, text in self._wrapped.values()])

    def fitted(self, rows: Sequence[Row], read: Sequence[Read]) -> Weights:
        """Heads from labelled rows and those made here; thresholds and mixture are still open."""
        scenes = [self._wrapped[row.id] for row in rows if row.id in self._wrapped]
        everything = [*rows, *self._made, *(row for row, _ in scenes)]
        seen = [*read, *self._made_read, *(text for _, text in scenes)]
        labels = Labels.of(everything)
        counts = labels.known * np.array([1.0] * len(rows) + [OWN] * (len(everything) - len(rows)))[:, None]
        x = blocks(seen, self._vocabulary, len(self._reader.lexicon.names), self._prior)
        (table, meaning, marks), bias = logistic(x, labels.truth, counts, STRENGTH)
        table = table.copy()
        table[: self._vocabulary] += self._prior.astype(np.float64) @ meaning
        scale = np.abs(table).max(axis=0) / 127.0
        net = layered(self._sentences(seen), labels.truth, counts, self._seed)
        empty = np.zeros(len(LEARNT), np.float32)
        return Weights(
            names=LEARNT,
            table=np.round(table / scale).astype(np.int8),
            scale=scale.astype(np.float32),
            signs=(marks * SIGN).astype(np.float32),
            bias=bias.astype(np.float32),
            zero=empty,
            low=empty + 1,
            high=empty + 1,
            window=empty + np.float32(np.inf),  # none, until it is known what windows of harmless texts score
            vocabulary=self._vocabulary,
            hidden=net.hidden.astype(np.float16),
            hidden_bias=net.hidden_bias,
            deep=net.deep.astype(np.float16),
            straight=net.straight.astype(np.float16),
            sentence_bias=net.bias,
            mix=np.vstack([empty + 1, empty, empty]),
        )

    def _sentences(self, read: Sequence[Read]) -> _Vectors:
        return np.hstack([self._vectors.of([text.pieces for text in read]), self._reader.signs(read)])

    def scores(self, weights: Weights, read: Sequence[Read]) -> tuple[Floats, Floats]:
        """Raw scores of texts, and their sentences' by the same heads."""
        heads = Heads(weights)
        raw = np.array([heads.raw(text.pieces, text.signs).scores for text in read], dtype=np.float64)
        sentence = heads.sentence(self._vectors.of([text.pieces for text in read]), self._reader.signs(read))
        return raw.reshape(-1, len(LEARNT)), sentence.astype(np.float64)

    def window_margin(self, weights: Weights, harmless: Sequence[Read], zero: Floats) -> _Vectors:
        """What a window must have beyond a whole text, so that long harmless texts stay below the thresholds."""
        heads = Heads(weights)
        tops = [heads.best_windows(text.pieces)[0] + weights.bias for text in harmless if len(text.pieces) > LONG]
        if not tops:
            return np.zeros(len(LEARNT), np.float32)
        return np.maximum(np.quantile(np.array(tops), 1 - WINDOW_ALARMS, axis=0) - zero, 0.0).astype(np.float32)


@dataclass(frozen=True)
class Settings:
    """What is set once all rows were scored by heads that had not seen them; by category."""

    slope: Floats  # what makes a raw score the logarithm of the odds,
    offset: Floats  # so that those of texts that were read by the sentence model rank among those that were not
    zero: Floats  # the score that becomes 0.5
    mix: Floats  # how much of each score is taken, and the constant that leaves the threshold where it is
    low: Floats
    high: Floats

    @classmethod
    def of(cls, raw: Floats, sentence: Floats, labels: Labels, harmless: npt.NDArray[np.bool_]) -> Settings:
        found = []
        for index, name in enumerate(LEARNT):
            known = labels.known[:, index] > 0
            few, most = harmless[known], ALARMS.get(name, FALSE_ALARMS)
            truth, alone = labels.truth[known, index], raw[known, index]
            slope, offset = _odds(alone, truth)
            alone = alone * slope + offset
            both = (raw[known, index] + sentence[known, index]) / 2
            share, constant = _odds(both, truth)
            both = both * share + constant
            zero = best_threshold(truth, alone, few, most)
            constant += zero - best_threshold(truth, both, few, most)
            both += zero - best_threshold(truth, both, few, most)
            # Asked is where the scores together are at or near the threshold: all but a few of such rows lie between.
            low = zero - np.quantile(alone[both >= zero - NEAR], UNASKED)
            high = np.quantile(alone[both < zero + NEAR], 1 - UNASKED / 40) - zero
            # In the mixture the raw score stands with the slope and the offset already in it.
            mix = (share / 2 / slope, share / 2, constant - share / 2 / slope * offset)
            found.append((slope, offset, zero, *mix, max(low, NEAR), max(high, NEAR)))
        slopes, offsets, zeros, first, second, third, lows, highs = np.array(found).T
        return cls(slopes, offsets, zeros, np.vstack([first, second, third]), lows, highs)


def _odds(scores: Floats, truth: Floats) -> tuple[float, float]:
    """The line that makes scores the logarithm of the odds."""
    (slope,), offset = logistic([scores[:, None].astype(np.float32)], truth[:, None], np.ones((len(truth), 1)), 0.01)
    return float(slope[0, 0]), float(offset[0])


def run(arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    model = grey.open_sentences(at_once=arguments.at_once)
    if model is None:
        raise WrongRow("the sentence model is not here: install the extras `train` and `embedded`")
    manifest = Manifest.read(arguments.data)
    everything = read_folder(arguments.data)
    rows = allowed(everything, manifest, arguments.licence, strict=arguments.strict)
    permitted = {id(row) for row in rows}
    reader = Reader()
    vectors = Vectors(model, arguments.at_once, arguments.cache)
    prior = piece_vectors(vectors, len(reader.pieces))
    _say("the pieces' vectors", began)
    trainer = Trainer(arguments.seed, prior, vectors, reader, rows)
    judged = everything if arguments.evaluate else rows
    read = [reader.read(row.text) for row in judged]
    may = {id(row): text for row, text in zip(judged, read, strict=True)}
    vectors.of([may[id(row)].pieces for row in rows])  # first, so that what else is judged changes nothing
    vectors.of([text.pieces for text in read])
    vectors.keep()
    _say(f"{len(rows)} of {len(everything)} rows may train", began)

    labels = Labels.of(judged)
    trains = np.array([id(row) in permitted for row in judged])
    harmless = np.array([row.harmless for row in judged])
    folds = np.array([row.fold(FOLDS) for row in judged])
    raw, sentence = np.zeros(labels.truth.shape), np.zeros(labels.truth.shape)
    parts: list[Weights] = []
    for fold in range(FOLDS):
        learn, test = np.nonzero(trains & (folds != fold))[0], np.nonzero(folds == fold)[0]
        parts.append(trainer.fitted([judged[i] for i in learn], [read[i] for i in learn]))
        raw[test], sentence[test] = trainer.scores(parts[-1], [read[i] for i in test])
        _say(f"fold {fold + 1} of {FOLDS}", began)

    few = Labels(labels.truth[trains], labels.known[trains])
    settings = Settings.of(raw[trains], sentence[trains], few, harmless[trains])
    benign = [read[i] for i in np.nonzero(trains & harmless)[0]]
    final = _finished(trainer, trainer.fitted(rows, [read[i] for i in np.nonzero(trains)[0]]), settings, benign)
    _say("final heads", began)
    card.write(arguments.out, final, manifest, rows, arguments, time.monotonic() - began, cold=vectors.cold)
    if arguments.out_of_fold:
        np.savez(arguments.out_of_fold, raw=raw, sentence=sentence, **vars(settings))
    if arguments.evaluate:
        trial = Trial.empty(len(judged), len(LEARNT))
        for fold, weights in enumerate(parts):
            unseen = [read[i] for i in np.nonzero(trains & harmless & (folds != fold))[0]]
            heads = _finished(trainer, weights, settings, unseen)
            try_out(trial, heads, vectors, judged, np.nonzero(folds == fold)[0].tolist())
        _say("tried out", began)
        card.evaluate(arguments.out, judged, labels.truth, labels.known, trial, final, vectors, manifest, arguments)
    vectors.keep()
    _say(f"written to {arguments.out}", began)


def _finished(trainer: Trainer, weights: Weights, settings: Settings, harmless: Sequence[Read]) -> Weights:
    slope = settings.slope.astype(np.float32)
    weights = replace(
        weights,
        scale=weights.scale * slope,
        signs=weights.signs * slope,
        bias=weights.bias * slope + settings.offset.astype(np.float32),
        zero=settings.zero.astype(np.float32),
        low=settings.low.astype(np.float32),
        high=settings.high.astype(np.float32),
        mix=settings.mix.astype(np.float32),
    )
    return replace(weights, window=trainer.window_margin(weights, harmless, settings.zero))


def _say(what: str, began: float) -> None:
    sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {what}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of JSONL(.gz) files with META.json")
    parser.add_argument("--licence", choices=sorted(LICENCES), default="permissive")
    parser.add_argument("--strict", action="store_true", help="a row that may not train is an error, not left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="sentences that are read at a time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights")
    parser.add_argument("--cache", type=Path, help="a file that keeps the sentence model's vectors between runs (.npz)")
    parser.add_argument("--evaluate", action="store_true", help="write how the heads do on rows they had not seen, too")
    parser.add_argument("--out-of-fold", type=Path, help="a file for the scores that each row got when it was unseen")
    try:
        run(parser.parse_args())
    except WrongRow as error:
        sys.exit(f"guardrails.train: {error}")
    except (OSError, json.JSONDecodeError) as error:
        sys.exit(f"guardrails.train: {error}")


if __name__ == "__main__":
    main()
