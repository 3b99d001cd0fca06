"""The sentence model as we put it together says what the packaged file says, and protobuf is read as it is written."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guardrails.detectors import grey
from guardrails.detectors.minilm import MiniLM
from guardrails.detectors.protobuf import chunk, fields, number, real

TEXTS = (
    [grey._BEGIN, 7592, grey._END],
    [grey._BEGIN, *range(2_000, 2_062), grey._END],
    [grey._BEGIN, 2129, 2003, 1037, 2204, 2154, 1012, grey._END],
)


@pytest.fixture(scope="module")
def file() -> bytes:
    spec = importlib.util.find_spec(grey.PACKAGE)
    if spec is None or spec.origin is None:
        assert "CI" not in os.environ, "the extra `embedded` brings the sentence model, and CI installs it"
        pytest.skip("the sentence model is not installed: pip install 'the project[embedded]'")
    return (Path(spec.origin).parent / "model.onnx").read_bytes()


def alike(one: Any, other: Any) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_our_graph_says_what_the_packaged_one_says(file: bytes) -> None:
    runtime = importlib.import_module(grey.RUNTIME)
    packaged, ours = runtime.InferenceSession(file), MiniLM(file, runtime)
    for pieces in TEXTS:
        ids = np.array([pieces])
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (expected,) = packaged.run(None, inputs)
        middle, last = ours.states([pieces])
        assert middle.shape == last.shape == (1, len(pieces), 384)
        assert alike(expected[0].mean(axis=0), last[0].mean(axis=0)) > 0.97


def test_a_text_has_one_vector(file: bytes) -> None:
    model, again = grey.open_sentences(), grey.open_sentences(deadline_s=60.0)
    assert model is not None and again is not None
    for pieces in TEXTS:
        first, second = model.vector(pieces), again.vector(pieces)
        assert first is not None and second is not None and (first == second).all() and first.shape == (grey.WIDTH,)


def test_what_is_written_is_read() -> None:
    message = number(1, 7) + number(2, 300_000) + chunk(3, "mesh") + real(4, 0.5) + chunk(16, chunk(1, b"\x00\xff"))
    one, two, text, half, inner = (value for _, value in fields(memoryview(message)))
    assert (one, two, bytes(text), np.frombuffer(half, np.float32)[0]) == (7, 300_000, b"mesh", 0.5)  # type: ignore[arg-type]
    assert [(field, bytes(value)) for field, value in fields(inner)] == [(1, b"\x00\xff")]  # type: ignore[arg-type]
    assert [field for field, _ in fields(memoryview(message))] == [1, 2, 3, 4, 16]
