"""What a model may call, what it must call, and the form its text must have."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import Field, Tag
from typing_extensions import TypedDict

from web.requests.refusals import tagged

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
JsonSchema = Annotated[dict[str, Any], Field(description="A JSON Schema.")]


class Function(TypedDict, total=False):
    name: Required[Name]
    description: str
    parameters: JsonSchema


class StrictFunction(Function, total=False):
    strict: Annotated[bool, Field(description="The arguments must match `parameters`.")] | None


class FunctionTool(TypedDict, total=False):
    type: Required[Literal["function"]]
    function: Required[StrictFunction]


class Grammar(TypedDict, total=False):
    definition: Required[str]
    syntax: Required[Literal["lark", "regex"]]


class TextFormat(TypedDict, total=False):
    type: Required[Literal["text"]]


class GrammarFormat(TypedDict, total=False):
    type: Required[Literal["grammar"]]
    grammar: Required[Grammar]


class Custom(TypedDict, total=False):
    name: Required[Name]
    description: str
    format: Annotated[
        Annotated[TextFormat, Tag("?text")] | Annotated[GrammarFormat, Tag("?grammar")],
        tagged("type", "text", "grammar"),
    ]


class CustomTool(TypedDict, total=False):
    type: Required[Literal["custom"]]
    custom: Required[Custom]


Tool = Annotated[
    Annotated[FunctionTool, Tag("?function")] | Annotated[CustomTool, Tag("?custom")],
    tagged("type", "function", "custom"),
]


class Named(TypedDict, total=False):
    name: Required[Name]


class FunctionChoice(TypedDict, total=False):
    type: Required[Literal["function"]]
    function: Required[Named]


class CustomChoice(TypedDict, total=False):
    type: Required[Literal["custom"]]
    custom: Required[Named]


class AllowedTools(TypedDict, total=False):
    mode: Required[Literal["auto", "required"]]
    tools: Required[Annotated[list[dict[str, Any]], Field(fail_fast=True)]]


class AllowedToolsChoice(TypedDict, total=False):
    type: Required[Literal["allowed_tools"]]
    allowed_tools: Required[AllowedTools]


ToolChoice = (
    Annotated[Literal["none", "auto", "required"], Tag("?a string")]
    | Annotated[
        Annotated[FunctionChoice, Tag("?function")]
        | Annotated[CustomChoice, Tag("?custom")]
        | Annotated[AllowedToolsChoice, Tag("?allowed_tools")],
        tagged("type", "function", "custom", "allowed_tools"),
        Tag("?an object"),
    ]
)
FunctionCall = Annotated[Literal["none", "auto"], Tag("?a string")] | Annotated[Named, Tag("?an object")]


class JsonObjectFormat(TypedDict, total=False):
    type: Required[Literal["json_object"]]


class NamedSchema(TypedDict, total=False):
    name: Required[Name]
    description: str
    schema: JsonSchema
    strict: bool | None


class JsonSchemaFormat(TypedDict, total=False):
    type: Required[Literal["json_schema"]]
    json_schema: Required[NamedSchema]


ResponseFormat = Annotated[
    Annotated[TextFormat, Tag("?text")]
    | Annotated[JsonObjectFormat, Tag("?json_object")]
    | Annotated[JsonSchemaFormat, Tag("?json_schema")],
    tagged("type", "text", "json_object", "json_schema"),
]
