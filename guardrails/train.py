"""Train the heads: `python -m guardrails.train --data DIR --licence permissive --seed 0`.

DIR holds JSONL files of labelled rows and a META.json that says what each source's licence allows. What is written are
weights, a model card and the evaluation; never a text. The same rows and seed give the same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from guardrails.training.fit import SIGN, VECTOR, Floats, Read, blocks, logistic
from guardrails.training.generated import Phrases, strange, written
from guardrails.training.rows import LICENCES, Manifest, Row, WrongRow, allowed, read_folder
from guardrails.wordpiece import WordPiece

LEARNT = tuple(name for name in CATEGORIES if name != "CHILD_SAFETY")
FOLDS = 3
STRENGTH = 0.1  # of the pull of all weights towards 0
PRIOR = 0.7  # how much the pieces' own vectors count beside the pieces
OWN = 0.5  # the weight of a row that was made here
# Of harmless prompts, the most that one category may flag at its threshold.
FALSE_ALARMS = 0.0022
MORE_ALARMS = {"PROMPT_INJECTION": 0.01, "VIOLENCE": 0.003}
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


class Vectors:
    """The sentence model's vectors, kept in a file between runs because they take minutes."""

    def __init__(self, model: grey.SentenceModel, file: Path | None) -> None:
        self._model = model
        self._file = file
        self._known: dict[str, _Vectors] = {}
        if file is not None and file.is_file():
            with np.load(file) as saved:
                self._known = dict(zip(saved["keys"].tolist(), saved["vectors"], strict=True))

    def of(self, read: Sequence[Read]) -> _Vectors:
        found = np.zeros((len(read), 384), np.float32)
        for index, text in enumerate(read):
            key = hashlib.blake2b(np.asarray(grey.cut(text.pieces)).tobytes(), digest_size=12).hexdigest()
            if key not in self._known:
                vector = self._model.vector(text.pieces)
                assert vector is not None
                self._known[key] = vector
            found[index] = self._known[key]
        return found

    def keep(self) -> None:
        if self._file is not None:
            np.savez(self._file, keys=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))


def piece_vectors(vectors: Vectors, vocabulary: int, width: int = 128) -> _Vectors:
    """What the sentence model makes of each piece alone, in its principal directions, each of length one."""
    alone = vectors.of([Read([piece], []) for piece in range(vocabulary)]).astype(np.float64)
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
    def __init__(self, seed: int, vectors: Vectors, reader: Reader) -> None:
        self._vectors = vectors
        self._reader = reader
        self._vocabulary = len(reader.pieces)
        self._prior = piece_vectors(vectors, self._vocabulary) * PRIOR
        phrases = Phrases(random.Random(seed))
        self._made = [*phrases.deeds(3, 1), *phrases.orders(900), *phrases.harmless(600), *written()]
        self._made += strange(random.Random(seed), 70)
        self._made_read = [reader.read(row.text) for row in self._made]

    def fitted(self, rows: Sequence[Row], read: Sequence[Read]) -> Weights:
        """Heads from labelled rows and those made here; thresholds and mixture are still open."""
        everything = [*rows, *self._made]
        seen = [*read, *self._made_read]
        labels = Labels.of(everything)
        weight = np.array([1.0] * len(rows) + [OWN] * (len(everything) - len(rows)))[:, None]
        signs = len(self._reader.lexicon.names)
        x = blocks(seen, self._vocabulary, signs, self._prior)
        (table, meaning, marks), bias = logistic(x, labels.truth, labels.known * weight, STRENGTH)
        table = table.copy()
        table[: self._vocabulary] += self._prior.astype(np.float64) @ meaning
        scale = np.abs(table).max(axis=0) / 127.0
        vectors = self._vectors.of(seen) * np.float32(VECTOR)
        (sentence,), sentence_bias = logistic([vectors], labels.truth, labels.known * weight, 0.27, 120)
        empty = np.zeros(len(LEARNT), np.float32)
        return Weights(
            names=LEARNT,
            table=np.round(table / scale).astype(np.int8),
            scale=scale.astype(np.float32),
            signs=(marks * SIGN).astype(np.float32),
            bias=bias.astype(np.float32),
            zero=empty,
            window=empty,
            vocabulary=self._vocabulary,
            sentence=(sentence * VECTOR).astype(np.float32),
            sentence_bias=sentence_bias.astype(np.float32),
            mix=np.vstack([empty + 1, empty, empty]),
        )

    def scores(self, weights: Weights, read: Sequence[Read]) -> tuple[Floats, Floats]:
        """Raw scores of texts, and their sentences' by the same heads."""
        heads = Heads(weights)
        raw = np.array([heads.raw(text.pieces, text.signs).scores for text in read], dtype=np.float64)
        sentence = self._vectors.of(read) @ weights.sentence + weights.sentence_bias
        return raw.reshape(-1, len(LEARNT)), sentence.astype(np.float64)

    def window_margin(self, weights: Weights, harmless: Sequence[Read], zero: Floats) -> _Vectors:
        """What a window must have beyond a whole text, so that long harmless texts stay below the thresholds."""
        heads = Heads(weights)
        tops = [heads.best_windows(text.pieces)[0] + weights.bias for text in harmless if len(text.pieces) > LONG]
        if not tops:
            return np.zeros(len(LEARNT), np.float32)
        return np.maximum(np.quantile(np.array(tops), 1 - WINDOW_ALARMS, axis=0) - zero, 0.0).astype(np.float32)


def _alarms(index: int) -> float:
    return MORE_ALARMS.get(LEARNT[index], FALSE_ALARMS)


def thresholds(raw: Floats, labels: Labels, harmless: npt.NDArray[np.bool_]) -> Floats:
    found = []
    for index in range(len(LEARNT)):
        known = labels.known[:, index] > 0
        found.append(best_threshold(labels.truth[known, index], raw[known, index], harmless[known], _alarms(index)))
    return np.array(found)


def mixture(raw: Floats, sentence: Floats, labels: Labels, harmless: npt.NDArray[np.bool_], zero: Floats) -> Floats:
    """How much of each score is taken, and the constant that leaves the threshold where it is."""
    mix = np.zeros((3, len(LEARNT)))
    for index in range(len(LEARNT)):
        known = labels.known[:, index] > 0
        pair = np.column_stack([raw[known, index], sentence[known, index]])
        truth = labels.truth[known, index : index + 1]
        (share,), _ = logistic([pair.astype(np.float32)], truth, np.ones_like(truth), 1.0)
        mix[:2, index] = np.maximum(share[:, 0], 0.0)
        both = pair @ mix[:2, index]
        mix[2, index] = zero[index] - best_threshold(truth[:, 0], both, harmless[known], _alarms(index))
    return mix


def finished(weights: Weights, zero: Floats, window: _Vectors, mix: Floats) -> Weights:
    return Weights(
        **{
            **vars(weights),
            "zero": zero.astype(np.float32),
            "window": window,
            "mix": mix.astype(np.float32),
        }
    )


def run(arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    model = grey.open_sentences(threads=arguments.threads, wait_s=60.0)
    if model is None:
        raise WrongRow("the sentence model is not here: install the extras `train` and `embedded`")
    manifest = Manifest.read(arguments.data)
    everything = read_folder(arguments.data)
    rows = allowed(everything, manifest, arguments.licence, strict=arguments.strict)
    permitted = {id(row) for row in rows}
    reader = Reader()
    vectors = Vectors(model, arguments.cache)
    trainer = Trainer(arguments.seed, vectors, reader)
    judged = everything if arguments.evaluate else rows
    read = [reader.read(row.text) for row in judged]
    _say(f"{len(rows)} of {len(everything)} rows may train", began)

    labels = Labels.of(judged)
    trains = np.array([id(row) in permitted for row in judged])
    harmless = np.array([row.harmless for row in judged])
    folds = np.array([row.fold(FOLDS) for row in judged])
    raw, sentence = np.zeros(labels.truth.shape), np.zeros(labels.truth.shape)
    for fold in range(FOLDS):
        learn, test = np.nonzero(trains & (folds != fold))[0], np.nonzero(folds == fold)[0]
        weights = trainer.fitted([judged[i] for i in learn], [read[i] for i in learn])
        benign = [read[i] for i in learn if harmless[i]]
        inside, _ = trainer.scores(weights, [read[i] for i in learn])
        few = Labels(labels.truth[learn], labels.known[learn])
        zero = thresholds(inside, few, harmless[learn])
        weights = finished(weights, zero, trainer.window_margin(weights, benign, zero), np.zeros((3, len(LEARNT))))
        raw[test], sentence[test] = trainer.scores(weights, [read[i] for i in test])
        vectors.keep()
        _say(f"fold {fold + 1} of {FOLDS}", began)

    allowed_labels = Labels(labels.truth[trains], labels.known[trains])
    zero = thresholds(raw[trains], allowed_labels, harmless[trains])
    mix = mixture(raw[trains], sentence[trains], allowed_labels, harmless[trains], zero)
    final = trainer.fitted(rows, [read[i] for i in np.nonzero(trains)[0]])
    window = trainer.window_margin(final, [read[i] for i in np.nonzero(trains & harmless)[0]], zero)
    final = finished(final, zero, window, mix)
    vectors.keep()
    _say("final heads", began)

    mixed = raw * mix[0] + sentence * mix[1] + mix[2]
    if arguments.out_of_fold:
        np.savez(arguments.out_of_fold, raw=raw, sentence=sentence, mix=mix, zero=zero)
    card.write(arguments.out, final, manifest, rows, arguments, time.monotonic() - began)
    card.evaluate(arguments.out, LEARNT, judged, labels.truth, labels.known, raw, mixed, zero, manifest, arguments)
    _say(f"written to {arguments.out}", began)


def _say(what: str, began: float) -> None:
    sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {what}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of JSONL(.gz) files with META.json")
    parser.add_argument("--licence", choices=sorted(LICENCES), default="permissive")
    parser.add_argument("--strict", action="store_true", help="a row that may not train is an error, not left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of the sentence model")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights")
    parser.add_argument("--cache", type=Path, help="a file that keeps the sentence model's vectors between runs (.npz)")
    parser.add_argument("--evaluate", action="store_true", help="score the rows that may not train, too")
    parser.add_argument("--out-of-fold", type=Path, help="a file for the scores that each row got when it was unseen")
    try:
        run(parser.parse_args())
    except WrongRow as error:
        sys.exit(f"guardrails.train: {error}")
    except (OSError, json.JSONDecodeError) as error:
        sys.exit(f"guardrails.train: {error}")


if __name__ == "__main__":
    main()
