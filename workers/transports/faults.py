"""What goes wrong between us and a provider, in the same words whichever transport met it."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any

import orjson

from mesh.errors import ProviderBrokeOff, ProviderError, ProviderUnavailable, ProviderUnreached


class Refusal(Exception):
    """The provider answered with an error; the adapter knows which of ours it is.

    status: the HTTP status, or 0 for an error inside a stream or inside an answer with status 200.
    error: what stands under `error`, else the whole JSON body, else None: a proxy's page is nothing to show a caller.
    """

    def __init__(self, status: int, error: Any, retry_after_s: float | None = None) -> None:
        super().__init__(f"refused with status {status}")
        self.status = status
        self.error = error
        self.retry_after_s = retry_after_s


def refusal(status: int, headers: Mapping[str, str], raw: bytes) -> Refusal:
    """The refusal that an HTTP answer with an error status is. `headers` looks names up whatever their case."""
    error: Any
    try:
        error = orjson.loads(raw)
    except orjson.JSONDecodeError:
        error = None
    if isinstance(error, dict) and error.get("error"):
        error = error["error"]
    return Refusal(status, error, retry_after_s(headers))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` (OpenAI's) or `Retry-After` (seconds or a date); None for nonsense."""
    milliseconds = headers.get("retry-after-ms")
    text = headers.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif text is None:
            return None
        elif text.strip()[:1].isdigit() or text.strip()[:1] in "-+.":
            seconds = float(text)
        else:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def unreachable(name: str) -> ProviderError:
    return ProviderUnavailable(f"{name} cannot be reached, or closed the connection before it answered")


def slow_to_connect(name: str) -> ProviderError:
    return ProviderUnreached(f"{name} did not accept a connection in time")


def broke_off(name: str) -> ProviderError:
    return ProviderBrokeOff(f"{name} closed the connection in the middle of its answer")


def garbled(name: str) -> ProviderError:
    return ProviderBrokeOff(f"{name} sent something that is not what its API promises")
