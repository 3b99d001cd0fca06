"""The messages of a conversation, told apart by `role`, and the parts of their content, told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import Field, Tag
from typing_extensions import TypedDict

from web.requests.refusals import tagged


class CacheBreakpoint(TypedDict, total=False):
    mode: Required[Literal["explicit"]]
    ttl: Literal["30m", "12h"]


class TextPart(TypedDict, total=False):
    type: Required[Literal["text"]]
    text: Required[str]
    prompt_cache_breakpoint: CacheBreakpoint


class ImageUrl(TypedDict, total=False):
    url: Required[Annotated[str, Field(pattern=r"^([hH][tT]{2}[pP][sS]?://|[dD][aA][tT][aA]:)")]]
    detail: Literal["auto", "low", "high", "original"]


class ImagePart(TypedDict, total=False):
    type: Required[Literal["image_url"]]
    image_url: Required[ImageUrl]
    prompt_cache_breakpoint: CacheBreakpoint


class InputAudio(TypedDict, total=False):
    data: Required[Annotated[str, Field(description="Base64.")]]
    format: Required[Literal["wav", "mp3"]]


class AudioPart(TypedDict, total=False):
    type: Required[Literal["input_audio"]]
    input_audio: Required[InputAudio]
    prompt_cache_breakpoint: CacheBreakpoint


class FileContent(TypedDict, total=False):
    file_data: Annotated[str, Field(description="Base64, as a data URL.")]
    file_id: str
    filename: str


class FilePart(TypedDict, total=False):
    type: Required[Literal["file"]]
    file: Required[FileContent]
    prompt_cache_breakpoint: CacheBreakpoint


class RefusalPart(TypedDict, total=False):
    type: Required[Literal["refusal"]]
    refusal: Required[str]


Plain = Annotated[TextPart, Tag("?text")]
TextOnly = Annotated[Plain | Annotated[RefusalPart, Tag("?refusal")], tagged("type", "text", "refusal")]
UserPart = Annotated[
    Plain
    | Annotated[ImagePart, Tag("?image_url")]
    | Annotated[AudioPart, Tag("?input_audio")]
    | Annotated[FilePart, Tag("?file")],
    tagged("type", "text", "image_url", "input_audio", "file"),
]

Text = Annotated[str, Tag("?a string")]
Texts = Text | Annotated[list[TextPart], Field(min_length=1, fail_fast=True), Tag("?an array of objects")]


class FunctionCalled(TypedDict, total=False):
    name: Required[str]
    arguments: Required[Annotated[str, Field(description="JSON, as the model wrote it: not always valid.")]]


class FunctionToolCall(TypedDict, total=False):
    id: Required[str]
    type: Required[Literal["function"]]
    function: Required[FunctionCalled]


class CustomCalled(TypedDict, total=False):
    name: Required[str]
    input: Required[str]


class CustomToolCall(TypedDict, total=False):
    id: Required[str]
    type: Required[Literal["custom"]]
    custom: Required[CustomCalled]


ToolCall = Annotated[
    Annotated[FunctionToolCall, Tag("?function")] | Annotated[CustomToolCall, Tag("?custom")],
    tagged("type", "function", "custom"),
]


class EarlierAudio(TypedDict, total=False):
    id: Required[Annotated[str, Field(description="The id of an earlier spoken answer.")]]


class SystemMessage(TypedDict, total=False):
    role: Required[Literal["system"]]
    content: Required[Texts]
    name: str


class DeveloperMessage(TypedDict, total=False):
    role: Required[Literal["developer"]]
    content: Required[Texts]
    name: str


class UserMessage(TypedDict, total=False):
    role: Required[Literal["user"]]
    content: Required[
        Text | Annotated[list[UserPart], Field(min_length=1, fail_fast=True), Tag("?an array of objects")]
    ]
    name: str


class AssistantMessage(TypedDict, total=False):
    """An earlier answer; its content may only be missing where it has tool calls, a refusal or audio."""

    role: Required[Literal["assistant"]]
    content: Text | Annotated[list[TextOnly], Field(min_length=1, fail_fast=True), Tag("?an array of objects")] | None
    name: str
    refusal: str | None
    audio: EarlierAudio | None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, fail_fast=True)]
    function_call: Annotated[FunctionCalled | None, Field(deprecated=True)]


class ToolMessage(TypedDict, total=False):
    """The result of a tool call that the assistant message before it asked for."""

    role: Required[Literal["tool"]]
    content: Required[Texts]
    tool_call_id: Required[str]


class FunctionMessage(TypedDict, total=False):
    """The result of a function call, in the deprecated form."""

    role: Required[Literal["function"]]
    content: Required[str | None]
    name: Required[str]


Message = Annotated[
    Annotated[SystemMessage, Tag("?system")]
    | Annotated[DeveloperMessage, Tag("?developer")]
    | Annotated[UserMessage, Tag("?user")]
    | Annotated[AssistantMessage, Tag("?assistant")]
    | Annotated[ToolMessage, Tag("?tool")]
    | Annotated[FunctionMessage, Tag("?function")],
    tagged("role", "system", "developer", "user", "assistant", "tool", "function"),
]
