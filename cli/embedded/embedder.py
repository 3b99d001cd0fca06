"""The local embedder: all-MiniLM-L6-v2 with int8 weights on onnxruntime."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from cli.embedded import packages

TOKENS = 256  # what the model was trained to read at once
DIMENSIONS = 384


class InputTooLong(ValueError):
    """The text has more tokens than the model reads, and the caller did not want it cut."""


@dataclasses.dataclass(frozen=True)
class Embedding:
    """vector: of length one; tokens: how many were read, with the two that mark begin and end."""

    vector: list[float]
    tokens: int


class Embedder:
    """Turns one text at a time into a vector; may be called from any thread.

    Never a batch: int8 weights scale their activations over the whole batch, so a text's vector would depend on its
    neighbours.
    """

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(packages.embedding_tokenizer()))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(packages.embedding_weights()), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, text: str, *, truncate: bool = True, dimensions: int | None = None) -> Embedding:
        """The mean of the tokens' vectors, of length one; `dimensions` keeps the first of them and scales again.

        Raises:
            InputTooLong: more than 256 tokens and `truncate` is false.
        """
        tokens: Sequence[int] = self._tokenizer.encode(text).ids
        if len(tokens) > TOKENS:
            if not truncate:
                raise InputTooLong("the input length exceeds the context length")
            tokens = [*tokens[: TOKENS - 1], tokens[-1]]
        ids = np.array([tokens], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        states: npt.NDArray[np.float32] = self._session.run(None, inputs)[0]
        vector = states[0].mean(axis=0)[:dimensions]
        return Embedding(vector=(vector / np.linalg.norm(vector)).tolist(), tokens=len(tokens))
