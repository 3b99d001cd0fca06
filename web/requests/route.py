"""POST /v1/route: the body that an endpoint takes, and which endpoint that is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from web.requests.chat import ChatRequest


class RouteRequest(ChatRequest, total=False):
    endpoint: Annotated[
        Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"],
        Field(description="Whose body this is; a conversation's where it is absent."),
    ]
