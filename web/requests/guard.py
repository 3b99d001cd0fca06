"""The bodies of POST /v1/moderations and POST /v1/guard/check."""

from __future__ import annotations

from typing import Annotated, Literal, Required

from pydantic import Field, Tag
from typing_extensions import TypedDict

from web.requests.messages import ImagePart, TextPart
from web.requests.refusals import tagged

_Text = Annotated[str, Field(min_length=1)]
_Part = Annotated[
    Annotated[TextPart, Tag("?text")] | Annotated[ImagePart, Tag("?image_url")], tagged("type", "text", "image_url")
]


class ModerationRequest(TypedDict, total=False):
    input: Required[
        Annotated[
            Annotated[_Text, Tag("?a string")]
            | Annotated[list[_Text], Field(min_length=1, max_length=2048, fail_fast=True), Tag("?an array of strings")]
            | Annotated[list[_Part], Field(min_length=1, max_length=2048, fail_fast=True), Tag("?an array of objects")],
            Field(description="One text, several, or the parts of one message, of which images are not looked at."),
        ]
    ]
    model: Annotated[str | None, Field(description="Accepted and not used: the gateway has one guard.")]


class CheckRequest(TypedDict, total=False):
    text: Required[Annotated[str, Field(description="What is to be looked at.")]]
    stage: Annotated[Literal["request", "response"], Field(description="By whose rules; `request` if not said.")]
    untrusted: Annotated[bool, Field(description="As a tool's result or a retrieved passage, not a caller's word.")]
