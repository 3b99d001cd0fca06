"""The body of POST /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import Field, Tag
from typing_extensions import TypedDict

from web.requests.gateway_fields import GatewayParameters
from web.requests.messages import Message, Texts
from web.requests.sampling import Model, Sampling
from web.requests.tools import Function, FunctionCall, ResponseFormat, Tool, ToolChoice

MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class Voice(TypedDict, total=False):
    id: Required[str]


class Audio(TypedDict, total=False):
    format: Required[Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]]
    voice: Required[Annotated[str, Tag("?a string")] | Annotated[Voice, Tag("?an object")]]


class Prediction(TypedDict, total=False):
    type: Required[Literal["content"]]
    content: Required[Texts]


class ModerationMode(TypedDict, total=False):
    mode: Required[Literal["score", "block"]]


class ModerationPolicy(TypedDict, total=False):
    input: ModerationMode | None
    output: ModerationMode | None


class Moderation(TypedDict, total=False):
    model: Required[str]
    policy: ModerationPolicy | None


class PromptCacheOptions(TypedDict, total=False):
    mode: Literal["implicit", "explicit"]
    ttl: Literal["30m"]


class Place(TypedDict, total=False):
    city: str
    country: str
    region: str
    timezone: str


class UserLocation(TypedDict, total=False):
    type: Required[Literal["approximate"]]
    approximate: Required[Place]


class WebSearchOptions(TypedDict, total=False):
    search_context_size: Literal["low", "medium", "high"]
    user_location: UserLocation | None


class ChatRequest(Sampling, GatewayParameters, total=False):
    model: Required[Model]
    messages: Required[Annotated[list[Message], Field(min_length=1, fail_fast=True)]]
    audio: Annotated[Audio | None, Field(description="The spoken answer, where `modalities` has `audio`.")]
    function_call: Annotated[FunctionCall, Field(deprecated=True)]
    functions: Annotated[list[Function], Field(min_length=1, fail_fast=True, deprecated=True)]
    logprobs: bool | None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20, description="Needs `logprobs: true`.")]
    max_completion_tokens: Annotated[int | None, Field(ge=1)]
    max_tokens: Annotated[int | None, Field(ge=1, deprecated=True)]
    metadata: Annotated[dict[MetadataKey, MetadataValue] | None, Field(max_length=16, fail_fast=True)]
    modalities: Annotated[list[Literal["text", "audio"]] | None, Field(min_length=1, max_length=2, fail_fast=True)]
    moderation: Moderation | None
    parallel_tool_calls: bool
    prediction: Prediction | None
    prompt_cache_key: str | None
    prompt_cache_options: PromptCacheOptions
    prompt_cache_retention: Annotated[Literal["in_memory", "24h"] | None, Field(deprecated=True)]
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    response_format: ResponseFormat
    safety_identifier: Annotated[str | None, Field(max_length=128)]
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None
    store: bool | None
    tool_choice: ToolChoice
    tools: Annotated[list[Tool], Field(fail_fast=True)]
    verbosity: Literal["low", "medium", "high"] | None
    web_search_options: WebSearchOptions
