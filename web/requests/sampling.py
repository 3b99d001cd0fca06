"""The parameters that chat and text completions share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Tag
from typing_extensions import TypedDict

Model = Annotated[
    str,
    Field(min_length=1, max_length=256, description="A model's public name, or `provider/model`."),
]
Bias = Annotated[int, Field(ge=-100, le=100)]
Stop = (
    Annotated[str, Tag("?a string")]
    | Annotated[list[str], Field(min_length=1, max_length=4, fail_fast=True), Tag("?an array of strings")]
    | None
)


class StreamOptions(TypedDict, total=False):
    include_usage: Annotated[bool, Field(description="The last chunk has the usage and the gateway's own figures.")]
    include_obfuscation: Annotated[bool, Field(description="Pad the chunks to one length, where the provider can.")]


class Sampling(TypedDict, total=False):
    """How the text is drawn. `top_k`, `min_p` and `repetition_penalty` are not OpenAI's; local models know them."""

    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)]
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)]
    logit_bias: Annotated[dict[str, Bias] | None, Field(fail_fast=True, description="Token id to bias.")]
    n: Annotated[int | None, Field(ge=1, le=128, description="How many answers.")]
    seed: Annotated[int | None, Field(ge=-(2**63), le=2**63 - 1)]
    stop: Annotated[Stop, Field(description="Up to four texts that end the answer.")]
    stream: Annotated[bool | None, Field(description="Answer as server-sent events.")]
    stream_options: Annotated[StreamOptions | None, Field(description="Only together with `stream: true`.")]
    temperature: Annotated[float | None, Field(ge=0, le=2)]
    top_p: Annotated[float | None, Field(ge=0, le=1)]
    user: str
    top_k: Annotated[int | None, Field(ge=-1, description="An extension. -1 or 0: no limit.")]
    min_p: Annotated[float | None, Field(ge=0, le=1, description="An extension.")]
    repetition_penalty: Annotated[float | None, Field(gt=0, description="An extension. 1: none.")]
