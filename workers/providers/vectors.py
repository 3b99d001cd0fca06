"""Bedrock's embeddings: InvokeModel takes each maker's own words, Titan's one text at a time, Cohere's many."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from workers.providers.adapter import Call
from workers.providers.converse import cannot

COHERE = "cohere."
COHERE_TEXTS = 96  # in one call


def bodies(call: Call) -> list[dict[str, Any]]:
    given = call.body["input"]
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise cannot("input", "an input of token numbers")
    if COHERE not in call.model:
        return [_titan(call.body, text) for text in texts]
    return [_cohere(call.body, texts[start : start + COHERE_TEXTS]) for start in range(0, len(texts), COHERE_TEXTS)]


def _titan(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    more = {name: body[name] for name in ("dimensions", "normalize") if body.get(name) is not None}
    return {"inputText": text, **more}


def _cohere(body: Mapping[str, Any], texts: list[str]) -> dict[str, Any]:
    # It asks what the texts are for; most are stored to be searched, and a query says so itself.
    sent: dict[str, Any] = {"texts": texts, "input_type": body.get("input_type") or "search_document"}
    if body.get("dimensions") is not None:
        sent |= {"output_dimension": body["dimensions"], "embedding_types": ["float"]}
    return sent


def answer(call: Call, answers: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """answers: of each call the `response` and its `inputTokens`, which stands in a header."""
    vectors = [vector for each in answers for vector in _vectors(each["response"])]
    texts = call.body["input"]
    if len(vectors) != (1 if isinstance(texts, str) else len(texts)):
        raise ValueError("not as many embeddings as texts")
    packed = call.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    whole: dict[str, Any] = {"object": "list", "model": call.public_model, "data": data}
    counts = [_tokens(each) for each in answers]
    tokens = sum(count for count in counts if count is not None)
    usage = None if None in counts else {"prompt_tokens": tokens, "total_tokens": tokens}
    if usage is not None:
        whole["usage"] = usage
    return whole, usage


def _vectors(response: Mapping[str, Any]) -> list[list[float]]:
    if "embedding" in response:
        return [response["embedding"]]
    embeddings = response["embeddings"]
    # Cohere sorts them by type as soon as a type was asked for.
    found: list[list[float]] = embeddings["float"] if isinstance(embeddings, dict) else embeddings
    return found


def _tokens(each: Mapping[str, Any]) -> int | None:
    counted: int | None = each["response"].get("inputTextTokenCount")
    return each.get("inputTokens") if counted is None else counted


def _packed(vector: Sequence[float]) -> str:
    """OpenAI's base64: 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
