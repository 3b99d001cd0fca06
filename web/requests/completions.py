"""The body of POST /v1/completions."""

from __future__ import annotations

from typing import Annotated, Required

from pydantic import Field, Tag

from web.requests.gateway_fields import GatewayParameters
from web.requests.sampling import Model, Sampling

Token = Annotated[int, Field(ge=0)]
Tokens = Annotated[list[Token], Field(min_length=1, fail_fast=True)]
Prompt = (
    Annotated[str, Tag("?a string")]
    | Annotated[list[str], Field(min_length=1, fail_fast=True), Tag("?an array of strings")]
    | Annotated[Tokens, Tag("?an array of integers")]
    | Annotated[list[Tokens], Field(min_length=1, fail_fast=True), Tag("?an array of arrays")]
    | None
)


class CompletionRequest(Sampling, GatewayParameters, total=False):
    model: Required[Model]
    prompt: Required[
        Annotated[Prompt, Field(description="Text or tokens, one or many; null: the start of a new text.")]
    ]
    best_of: Annotated[int | None, Field(ge=0, le=20, description="At least `n`, and not with `stream`.")]
    echo: bool | None
    logprobs: Annotated[int | None, Field(ge=0, le=5)]
    max_tokens: Annotated[int | None, Field(ge=0)]
    suffix: str | None
