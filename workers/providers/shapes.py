"""The fields that OpenAI's answers have, so that those which only one server knows can be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    """An object's fields; those in `inner` hold an object, or a list of objects, with a shape of its own."""

    names: frozenset[str]
    inner: Mapping[str, Shape] = field(default_factory=dict)


def _shape(names: str, **inner: Shape) -> Shape:
    return Shape(frozenset([*names.split(), *inner]), inner)


_CALLED = _shape("name arguments")
_CUSTOM = _shape("name input")
_TOP = _shape("token bytes logprob")
_TOKEN = _shape("token bytes logprob", top_logprobs=_TOP)
_LOGPROBS = _shape("", content=_TOKEN, refusal=_TOKEN)
_ANNOTATION = _shape("type", url_citation=_shape("end_index start_index title url"))
_AUDIO = _shape("id data expires_at transcript")
USAGE = _shape(
    "prompt_tokens completion_tokens total_tokens",
    prompt_tokens_details=_shape("audio_tokens cache_write_tokens cached_tokens image_tokens text_tokens"),
    completion_tokens_details=_shape(
        "accepted_prediction_tokens audio_tokens reasoning_tokens rejected_prediction_tokens text_tokens"
    ),
)
_MESSAGE = _shape(
    "role content refusal reasoning_content",
    annotations=_ANNOTATION,
    audio=_AUDIO,
    function_call=_CALLED,
    tool_calls=_shape("id type", function=_CALLED, custom=_CUSTOM),
)
DELTA = _shape(
    "role content refusal reasoning_content",
    audio=_AUDIO,
    function_call=_CALLED,
    tool_calls=_shape("index id type", function=_CALLED),
)
PIECE = _shape("index finish_reason", delta=DELTA, logprobs=_LOGPROBS)  # a choice of a chunk
CHAT = _shape(
    "id created model object provider moderation service_tier system_fingerprint metadata",
    choices=_shape("index finish_reason", message=_MESSAGE, logprobs=_LOGPROBS),
    usage=USAGE,
)
CHUNK = _shape(
    "id created model object provider moderation obfuscation service_tier system_fingerprint",
    choices=PIECE,
    usage=USAGE,
)
# The tokens of `logprobs` are keys there.
TEXT = _shape("index finish_reason text", logprobs=_shape("text_offset token_logprobs tokens top_logprobs"))
COMPLETION = _shape("id created model object provider system_fingerprint", choices=TEXT, usage=USAGE)
EMBEDDINGS = _shape(
    "model object provider", data=_shape("embedding index object"), usage=_shape("prompt_tokens total_tokens")
)


def prune(value: dict[str, Any], shape: Shape) -> None:
    """Take away, at any depth, the fields that the shape does not have."""
    if not value.keys() <= shape.names:
        for name in value.keys() - shape.names:
            del value[name]
    for name, inner in shape.inner.items():
        held = value.get(name)
        if isinstance(held, dict):
            prune(held, inner)
        elif isinstance(held, list):
            for each in held:
                if isinstance(each, dict):
                    prune(each, inner)
