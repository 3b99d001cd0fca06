"""What is left of a provider's limits, as it says in the headers of an answer."""

from __future__ import annotations

import datetime
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from routing.health import Room

_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 3600.0  # what a provider says of longer times is not waited for
_UNSAID_S = 10.0  # for so long a figure counts whose end was not told


@dataclass(frozen=True, slots=True)
class RoomNames:
    """A provider's names of these headers."""

    requests: str
    tokens: str
    requests_reset: str
    tokens_reset: str


def room_in(headers: Mapping[str, str], names: RoomNames) -> Room | None:
    """None where nothing is said, or nonsense."""
    requests, tokens = _count(headers.get(names.requests)), _count(headers.get(names.tokens))
    if requests is None and tokens is None:
        return None
    resets = [_seconds(headers.get(name)) for name in (names.requests_reset, names.tokens_reset)]
    known = [each for each in resets if each is not None]
    return Room(requests, tokens, min(max(known), _LONGEST_S) if known else _UNSAID_S)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None


def _seconds(text: str | None) -> float | None:
    """From `6m0s`, `20ms`, a number of seconds, or a moment in RFC 3339."""
    if not text:
        return None
    pieces = _PIECE.findall(text)
    if pieces and "".join(number + unit for number, unit in pieces) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in pieces)
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.datetime.fromisoformat(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
