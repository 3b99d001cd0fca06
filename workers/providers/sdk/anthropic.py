"""The anthropic package as a transport."""

from __future__ import annotations

import json

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

from workers.providers.sdk.stainless import Package, Stainless, answered, http_client, timeout
from workers.transports import Transport, Upstream, faults
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


def _client(upstream: Upstream) -> AsyncAnthropic:
    return AsyncAnthropic(
        # The key comes with each call, because it may change. Without one here the SDK looks for one in the
        # environment and in its profiles on disk. It would go out as a bearer, so that header is left out.
        api_key="none",
        base_url=upstream.url,
        max_retries=0,
        timeout=timeout(upstream),
        open_telemetry=False,
        http_client=http_client(upstream),
    )


def translated(error: Exception, name: str) -> Exception:
    """The refusal, or the error of ours, that one of RAISED is; the most specific first."""
    match error:
        case APITimeoutError() | httpx2.TimeoutException():
            # No other timeout of the SDK's is set.
            return faults.slow_to_connect(name)
        case APIConnectionError() | httpx2.RequestError():
            return faults.broke_off(name) if answered(error) else faults.unreachable(name)
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


def open_transport(upstream: Upstream) -> Transport:
    return Stainless(upstream, Package(_client(upstream), AsyncStream[object], Omit(), RAISED, translated))
