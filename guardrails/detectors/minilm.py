"""all-MiniLM-L6-v2 from the weights of its package, as a graph of our own.

The package's graph turns its int8 weights back into floats before it multiplies; this one multiplies whole numbers, in
half the time and half the memory. The weights keep seven of their eight bits: a processor without an instruction for
sums of such products adds two of them in 16 bits, which eight would overflow, and machines would differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from guardrails.detectors.protobuf import chunk, fields, number, real

LAYERS, WIDTH, HEADS = 6, 384, 12
SMALLEST = 1e-12  # of a variance
OUTPUTS = (3, 6)  # layers whose states are of use: one still near the words, and the last
_OURS = "com.microsoft"  # the runtime's own operators, several of ONNX's in one
_TYPES: Mapping[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    3: np.dtype(np.int8),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
}
_NUMBERS = {kind: key for key, kind in _TYPES.items()}

Tensor = npt.NDArray[Any]
States = npt.NDArray[np.float32]


def tensors(model: bytes) -> Iterator[tuple[str, Tensor]]:
    """The weights of an ONNX file, in its order."""
    for field, graph in fields(memoryview(model)):
        if field == 7 and isinstance(graph, memoryview):
            for part, value in fields(graph):
                if part == 5 and isinstance(value, memoryview):
                    yield _tensor(value)


def _tensor(message: memoryview) -> tuple[str, Tensor]:
    shape, kind, name, data = [], 0, "", memoryview(b"")
    for field, value in fields(message):
        match field, value:
            case 1, int():
                shape.append(value)
            case 2, int():
                kind = value
            case 8, memoryview():
                name = str(value, "utf-8")
            case 9, memoryview():
                data = value
    return name, np.frombuffer(data, _TYPES[kind]).reshape(shape)


class _Graph:
    """ONNX nodes and the weights that they read."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []

    def weight(self, name: str, values: Tensor) -> str:
        shape = b"".join(number(1, size) for size in values.shape)
        kind = number(2, _NUMBERS[values.dtype])
        self._weights.append(chunk(5, shape + kind + chunk(8, name) + chunk(9, values.tobytes())))
        return name

    def node(
        self, does: str, reads: Sequence[str], gives: Sequence[str], domain: str = _OURS, **set_to: int | float
    ) -> str:
        """The name of what it gives first."""
        wires = b"".join([chunk(1, name) for name in reads] + [chunk(2, name) for name in gives])
        options = b"".join(chunk(5, chunk(1, name) + _option(value)) for name, value in set_to.items())
        self._nodes.append(chunk(1, wires + chunk(4, does) + options + chunk(7, domain)))
        return gives[0]

    def model(self, reads: str, gives: Sequence[str]) -> bytes:
        """The file: one input, floats by row, piece and `WIDTH`, and the outputs."""
        floats = number(1, 1)
        shape = chunk(1, chunk(2, "rows")) + chunk(1, chunk(2, "pieces")) + chunk(1, number(1, WIDTH))
        takes = chunk(11, chunk(1, reads) + chunk(2, chunk(1, floats + chunk(2, shape))))
        outputs = b"".join(chunk(12, chunk(1, name) + chunk(2, chunk(1, floats))) for name in gives)
        graph = b"".join([*self._nodes, chunk(2, "minilm"), *self._weights, takes, outputs])
        operators = chunk(8, chunk(1, "") + number(2, 17)) + chunk(8, chunk(1, _OURS) + number(2, 1))
        return number(1, 8) + chunk(7, graph) + operators


def _option(value: float) -> bytes:
    return real(2, value) + number(20, 1) if isinstance(value, float) else number(3, value) + number(20, 2)


def _built(weights: Mapping[str, Tensor]) -> bytes:
    """The graph, from the vectors of pieces to the states of `OUTPUTS`."""
    graph = _Graph()
    matrices = [name.removesuffix("_q") for name in weights if name.startswith("val_") and name.endswith("_q")]

    def norm(place: str) -> list[str]:
        return [graph.weight(name, weights[name]) for name in (f"{place}LayerNorm.weight", f"{place}LayerNorm.bias")]

    def product(of: str, gives: str, *names: str, bias: str = "") -> str:
        """By several matrices beside each other."""
        whole = np.concatenate([np.rint(weights[f"{name}_q"] / 2).astype(np.int8) for name in names], axis=1)
        scale = np.concatenate([weights[f"{name}_scale"].ravel() * np.float32(2) for name in names])
        reads = [of, graph.weight(f"{gives}_q", whole), graph.weight(f"{gives}_scale", scale), ""]
        return graph.node("DynamicQuantizeMatMul", [*reads, bias] if bias else reads, [gives])

    def added(state: str, change: str, gives: str, place: str) -> str:
        bias = graph.weight(f"{place}dense.bias", weights[f"{place}dense.bias"])
        return graph.node("SkipLayerNormalization", [state, change, *norm(place), bias], [gives], epsilon=SMALLEST)

    graph.weight("thirds", np.array([WIDTH] * 3))
    state = graph.node(
        "LayerNormalization", ["pieces", *norm("inner.embeddings.")], ["state_0"], "", axis=2, epsilon=SMALLEST
    )
    for layer in range(LAYERS):
        place = f"inner.encoder.layer.{layer}."
        query, key, value, out, up, down = matrices[6 * layer : 6 * layer + 6]
        biases = [weights[f"{place}attention.self.{name}.bias"] for name in ("query", "key", "value")]
        asked = graph.weight(f"asked_bias_{layer}", np.concatenate(biases))
        looked = product(state, f"asked_{layer}", query, key, value, bias=asked)
        three = [f"{name}_{layer}" for name in ("query", "key", "value")]
        graph.node("Split", [looked, "thirds"], three, "", axis=2)
        seen = graph.node("MultiHeadAttention", three, [f"seen_{layer}"], num_heads=HEADS)
        middle = added(state, product(seen, f"out_{layer}", out), f"middle_{layer}", f"{place}attention.output.")
        wide = graph.weight(f"{place}intermediate.dense.bias", weights[f"{place}intermediate.dense.bias"])
        risen = graph.node("BiasGelu", [product(middle, f"up_{layer}", up), wide], [f"risen_{layer}"])
        state = added(middle, product(risen, f"down_{layer}", down), f"state_{layer + 1}", f"{place}output.")
    return graph.model("pieces", [f"state_{layer}" for layer in OUTPUTS])


class MiniLM:
    """States of texts; may be used from any thread. runtime: the module onnxruntime."""

    def __init__(self, file: bytes, runtime: Any) -> None:
        weights = dict(tensors(file))
        inner = "inner.embeddings."
        self._words = weights[f"{inner}word_embeddings.weight_q"].copy()
        self._scale = weights[f"{inner}word_embeddings.weight_scale"].copy()
        place = weights[f"{inner}position_embeddings.weight_q"] * weights[f"{inner}position_embeddings.weight_scale"]
        self._places = place + weights[f"{inner}token_type_embeddings.weight"][0]
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(_built(weights), options, providers=["CPUExecutionProvider"])

    def states(self, rows: Sequence[Sequence[int]], options: Any = None) -> list[States]:
        """Of each layer of `OUTPUTS`, by row and piece; all rows are of one length. options: the runtime's, for now.

        How finely numbers are rounded goes by the largest in all rows: a text has the same states only when alone.
        """
        pieces = np.array(rows)
        read = self._words[pieces] * self._scale[pieces] + self._places[: pieces.shape[1]]
        states: list[States] = self._session.run(None, {"pieces": read}, options)
        return states
