"""The body of POST /v1/jobs: another endpoint's body, to be answered later."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict


class JobRequest(TypedDict, total=False):
    endpoint: Required[Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]]
    body: Required[
        Annotated[dict[str, Any], Field(description="What that endpoint takes, the gateway's fields included.")]
    ]
