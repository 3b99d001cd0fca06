"""The body of POST /v1/embeddings."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import Field, Tag

from web.requests.completions import Token
from web.requests.gateway_fields import GatewayParameters
from web.requests.sampling import Model

Text = Annotated[str, Field(min_length=1)]
Tokens = Annotated[list[Token], Field(min_length=1, max_length=2048, fail_fast=True)]
Input = (
    Annotated[Text, Tag("?a string")]
    | Annotated[list[Text], Field(min_length=1, max_length=2048, fail_fast=True), Tag("?an array of strings")]
    | Annotated[Tokens, Tag("?an array of integers")]
    | Annotated[list[Tokens], Field(min_length=1, max_length=2048, fail_fast=True), Tag("?an array of arrays")]
)


class EmbeddingRequest(GatewayParameters, total=False):
    model: Required[Model]
    input: Required[Annotated[Input, Field(description="Text or tokens, one or up to 2048; none of them empty.")]]
    dimensions: Annotated[int, Field(ge=1)]
    encoding_format: Literal["float", "base64"]
    user: str
