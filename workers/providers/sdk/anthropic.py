"""The anthropic package as a transport."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2
from anthropic import (
    AnthropicError,
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncAnthropic,
    AsyncStream,
    Omit,
)

from workers.transports import Request, Transport, Upstream, faults, tls
from workers.transports.faults import Refusal

# All that the SDK can raise at a call; httpx2's and json's leak through it.
RAISED = (
    AnthropicError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    json.JSONDecodeError,
    UnicodeDecodeError,
)
ANSWERED = "gateway_answered"  # a request's extension: the head of its answer has come


class AnthropicSDK:
    """`AsyncAnthropic` by its own `post`, which takes any body and gives back what came: our tables are the types.

    Retries are off (they are the mesh's), and so are redirects and proxies, as in the direct transport.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._name = upstream.name
        self._client = AsyncAnthropic(
            # The key comes with each call, because it may change. Without one here the SDK looks for one in the
            # environment and in its profiles on disk. It would go out as a bearer, so that header is left out below.
            api_key="none",
            base_url=upstream.url,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=upstream.connect_s),
            open_telemetry=False,
            http_client=httpx2.AsyncClient(
                verify=tls.context(),
                follow_redirects=False,
                trust_env=False,
                timeout=httpx2.Timeout(None, connect=upstream.connect_s),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
                event_hooks={"response": [_note_answer]},
            ),
        )

    async def send(self, request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
        options: Any = {"headers": {"Authorization": Omit(), **headers}}
        try:
            if request.body is None:
                answer = await self._client.get(request.path, cast_to=object, options=options)
            else:
                answer = await self._client.post(request.path, cast_to=object, body=request.body, options=options)
        except RAISED as error:
            raise translated(error, self._name) from error
        # The SDK gives the bare text of a body whose content type is not JSON.
        if not isinstance(answer, dict):
            raise faults.garbled(self._name)
        return answer

    async def stream(self, request: Request, headers: Mapping[str, str]) -> AsyncGenerator[list[dict[str, Any]], None]:
        options: Any = {"headers": {"Authorization": Omit(), **headers}}
        try:
            stream = await self._client.post(
                request.path,
                cast_to=object,
                body=request.body,
                options=options,
                stream=True,
                stream_cls=AsyncStream[object],
            )
            async with stream:
                async for event in stream:
                    if not isinstance(event, dict):
                        raise faults.garbled(self._name)
                    yield [event]
        except RAISED as error:
            raise translated(error, self._name) from error

    async def aclose(self) -> None:
        await self._client.close()


async def _note_answer(response: httpx2.Response) -> None:
    response.request.extensions[ANSWERED] = True


def translated(error: Exception, name: str) -> Exception:
    """The refusal, or the error of ours, that one of RAISED is; the most specific first."""
    match error:
        case APITimeoutError() | httpx2.TimeoutException():
            # No other timeout of the SDK's is set.
            return faults.slow_to_connect(name)
        case APIConnectionError() | httpx2.RequestError():
            return faults.broke_off(name) if _answered(error) else faults.unreachable(name)
        case APIStatusError() if error.status_code < 300:
            # Raised for an error event inside a stream, whose answer began well.
            return _said_inside(error.body, name)
        case APIStatusError():
            return faults.refusal(error.status_code, error.response.headers, error.response.content)
        case APIError():
            return faults.garbled(name)
        case json.JSONDecodeError() | UnicodeDecodeError() | httpx2.StreamError():
            return faults.garbled(name)
        case httpx2.HTTPStatusError():
            return faults.refusal(error.response.status_code, error.response.headers, error.response.content)
        case _:
            # What the SDK says of our own use of it: its settings, its credentials, a URL that is none.
            return faults.unreachable(name)


def _said_inside(body: object, name: str) -> Exception:
    """The SDK gives the bare text of an error event that is not JSON."""
    if not isinstance(body, dict):
        return faults.garbled(name)
    return Refusal(0, body.get("error") or body)


def _answered(error: APIConnectionError | httpx2.RequestError) -> bool:
    try:
        return bool(error.request.extensions.get(ANSWERED))
    except RuntimeError:
        return False  # httpx2 raises it for an error that has no request


def open_transport(upstream: Upstream) -> Transport:
    return AnthropicSDK(upstream)
