"""The ollama package as a transport."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
import pydantic
from ollama import (
    AsyncClient,
    ChatResponse,
    EmbedResponse,
    GenerateResponse,
    ListResponse,
    ProgressResponse,
    RequestError,
    ResponseError,
)

from workers.transports import Past, Request, Transport, Upstream, faults, tls
from workers.transports.faults import Refusal

RESPONSES: Mapping[str, type[pydantic.BaseModel]] = {
    "/api/chat": ChatResponse,
    "/api/generate": GenerateResponse,
    "/api/embed": EmbedResponse,
    "/api/tags": ListResponse,
    "/api/pull": ProgressResponse,
}

# All that the SDK can raise at a call. It lets httpx's, json's and pydantic's through; a line that is JSON but no
# object is an AttributeError or a TypeError of its own code.
RAISED = (
    RequestError,
    ResponseError,
    ConnectionError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    json.JSONDecodeError,
    UnicodeDecodeError,
    pydantic.ValidationError,
    AttributeError,
    TypeError,
)
ANSWERED = "gateway_answered"  # a request's extension: the head of its answer has come


class OllamaSDK:
    """`AsyncClient` by its own `_request`, under `chat` and its siblings. They would first put the body through types
    that lose every nested field of a tool's schema, and that read an image from our disk when its text is a path."""

    def __init__(self, upstream: Upstream) -> None:
        self._name = upstream.name
        self._client = AsyncClient(
            host=upstream.url,
            verify=tls.context(),
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=upstream.connect_s),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            # The SDK would send OLLAMA_API_KEY to any server that has no key of its own.
            headers={"Authorization": "none"},
            event_hooks={"request": [_only_our_key], "response": [_note_answer]},
        )

    async def send(self, request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
        try:
            answer = await self._client._request(
                RESPONSES[request.path],
                "GET" if request.body is None else "POST",
                request.path,
                json=request.body,
                headers=headers,
            )
        except RAISED as error:
            raise translated(error, self._name) from error
        return answer.model_dump(mode="json", exclude_unset=True)

    async def stream(
        self, request: Request, headers: Mapping[str, str], past: Past | None = None
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        try:
            parts = await self._client._request(
                RESPONSES[request.path], "POST", request.path, json=request.body, headers=headers, stream=True
            )
            async for part in parts:
                yield [part.model_dump(mode="json", exclude_unset=True)]
        except RAISED as error:
            raise translated(error, self._name) from error

    async def aclose(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]


async def _only_our_key(request: httpx.Request) -> None:
    if request.headers.get("authorization") == "none":
        del request.headers["authorization"]


async def _note_answer(response: httpx.Response) -> None:
    response.request.extensions[ANSWERED] = True


def translated(error: Exception, name: str) -> Exception:
    """The refusal, or the error of ours, that one of RAISED is; the most specific first."""
    # Of an error status the SDK keeps the number and the text only, and fails over a text that is JSON but no object;
    # what it was made from has Retry-After too.
    origin = error.__context__
    if isinstance(origin, httpx.HTTPStatusError):
        return faults.refusal(origin.response.status_code, origin.response.headers, origin.response.content)
    match error:
        case ResponseError():
            return Refusal(max(0, error.status_code), error.error)
        case pydantic.ValidationError():
            return _said_instead(error) or faults.garbled(name)
        case httpx.TimeoutException():
            # No other timeout of the SDK's is set.
            return faults.slow_to_connect(name)
        case httpx.RequestError():
            return faults.broke_off(name) if _answered(error) else faults.unreachable(name)
        case httpx.HTTPStatusError():
            return faults.refusal(error.response.status_code, error.response.headers, error.response.content)
        case json.JSONDecodeError() | UnicodeDecodeError() | httpx.StreamError() | AttributeError() | TypeError():
            return faults.garbled(name)
        case _:
            # ConnectionError, which the SDK makes of httpx.ConnectError, and what it says of our own use of it.
            return faults.unreachable(name)


def _said_instead(error: pydantic.ValidationError) -> Refusal | None:
    """An answer with status 200 that is `{"error": …}` after all, which the SDK takes for one that lacks its fields."""
    answer = error.errors()[0]["input"]
    return Refusal(0, answer["error"]) if isinstance(answer, dict) and answer.get("error") else None


def _answered(error: httpx.RequestError) -> bool:
    try:
        return bool(error.request.extensions.get(ANSWERED))
    except RuntimeError:
        return False  # httpx raises it for an error that has no request


def open_transport(upstream: Upstream) -> Transport:
    return OllamaSDK(upstream)
