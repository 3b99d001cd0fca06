"""The openai package as a transport."""

from __future__ import annotations

import json

import httpx2
from openai import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AsyncStream,
    Omit,
    OpenAIError,
)

from workers.providers.sdk.stainless import Package, Stainless, answered, http_client, timeout
from workers.transports import Transport, Upstream, faults
from workers.transports.faults import Refusal

# All that the SDK can raise at a call; httpx2's and json's leak through it.
RAISED = (
    OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    json.JSONDecodeError,
    UnicodeDecodeError,
)


def _client(upstream: Upstream) -> AsyncOpenAI:
    return AsyncOpenAI(
        # The key comes with each call, because it may change; without one no header must go out.
        api_key="none",
        base_url=upstream.url,
        max_retries=0,
        timeout=timeout(upstream),
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
        case APIStatusError():
            return faults.refusal(error.status_code, error.response.headers, error.response.content)
        case APIResponseValidationError():
            return faults.garbled(name)
        case APIError():
            # Raised for `{"error": …}` inside a stream.
            return Refusal(0, error.body)
        case json.JSONDecodeError() | UnicodeDecodeError() | httpx2.StreamError():
            return faults.garbled(name)
        case httpx2.HTTPStatusError():
            return faults.refusal(error.response.status_code, error.response.headers, error.response.content)
        case _:
            # What the SDK says of our own use of it: its settings, its helpers, a URL that is none.
            return faults.unreachable(name)


def open_transport(upstream: Upstream) -> Transport:
    return Stainless(upstream, Package(_client(upstream), AsyncStream[object], Omit(), RAISED, translated))
