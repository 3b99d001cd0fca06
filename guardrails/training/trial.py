"""Rows judged as a gateway judges them, by heads that had not seen them: every view, every rule, the sentence model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guardrails.detectors.heads import Weights
from guardrails.guard import INJECTION, Guard, Parts, Sentences
from guardrails.policy import CATEGORIES, Policy
from guardrails.training.generated import ENCODINGS
from guardrails.training.rows import Row
from guardrails.verdicts import Stage

MODES = ("off", "grey-zone", "always")  # when the sentence model is asked
DEFAULT = "grey-zone"
PROBES = 200  # rows of a kind that are encoded
_LONGEST = 2_000  # characters of a row that is encoded

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Probe:
    """How many rows are flagged under one of their own categories."""

    rows: int
    plain: int
    encoded: int


@dataclass
class Trial:
    scores: dict[str, _Floats]  # by mode; by row and category
    asked: npt.NDArray[np.bool_]  # in the default mode

    @classmethod
    def empty(cls, rows: int, names: int) -> Trial:
        return cls({mode: np.zeros((rows, names)) for mode in MODES}, np.zeros(rows, bool))


class _Counted:
    """Sentences that tell whether one was asked for."""

    def __init__(self, sentences: Sentences) -> None:
        self._sentences = sentences
        self.count = 0

    def vector(self, pieces: Sequence[int]) -> npt.NDArray[np.float32] | None:
        self.count += 1
        return self._sentences.vector(pieces)


def policy(embedding: str) -> Policy:
    """Everything is looked for, with the thresholds of `severity: high`."""
    rules = {"severity": "high", "action": "block"}
    return Policy.model_validate({"categories": dict.fromkeys(CATEGORIES, rules), "embedding": embedding})


def guards(weights: Weights, sentences: Sentences) -> dict[str, Guard]:
    """A guard for each mode, with these weights."""
    parts = Parts.load(weights)
    return {mode: Guard(policy(mode), sentences=sentences, parts=parts) for mode in MODES}


def try_out(trial: Trial, weights: Weights, sentences: Sentences, rows: Sequence[Row], which: Sequence[int]) -> None:
    """Judge those rows with these weights and write down what came of it."""
    counted = _Counted(sentences)
    by_mode = guards(weights, counted)
    names = weights.names
    for index in which:
        row = rows[index]
        stage = Stage.RESPONSE if row.kind == "response" else Stage.REQUEST
        for mode, guard in by_mode.items():
            before = counted.count
            verdict = guard.check(row.text, stage)
            trial.scores[mode][index] = [verdict.scores.get(name, 0.0) for name in names]
            if mode == DEFAULT:
                trial.asked[index] = counted.count > before


def probed(guard: Guard, rows: Sequence[Row]) -> Iterator[tuple[str, str, Probe]]:
    """By kind and encoding, how the same rows fare as they are and encoded."""
    for kind in ("injections", "harmful asks"):
        few = _chosen(rows, kind)
        plain = [_found(guard, row, row.text) for row in few]
        for name, encoded in ENCODINGS.items():
            yield kind, name, Probe(len(few), sum(plain), sum(_found(guard, row, encoded(row.text)) for row in few))


def _chosen(rows: Sequence[Row], kind: str) -> list[Row]:
    """Which rows of a kind are encoded: always the same ones."""
    of_kind = [row for row in rows if _kind(row) == kind]
    return sorted(of_kind, key=lambda row: hashlib.blake2b(row.id.encode()).digest())[:PROBES]


def _kind(row: Row) -> str:
    if len(row.text) > _LONGEST or row.kind != "prompt" or not row.label:
        return ""
    return "injections" if INJECTION in row.label else "harmful asks"


def _found(guard: Guard, row: Row, text: str) -> bool:
    return not row.label.isdisjoint(guard.check(text, Stage.REQUEST).flagged)
