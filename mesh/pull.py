"""A pull: a model that a provider fetches for itself because an administrator said so."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

PullState = Literal["queued", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a provider is with fetching a model."""

    status: str = ""  # in its own words
    completed_bytes: int = 0
    total_bytes: int | None = None  # of the files that it has named so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    id: str
    provider: str
    model: str
    state: PullState
    progress: Progress
    error: dict[str, Any] | None  # OpenAI's four keys
    created_ms: int
    started_ms: int | None
    ended_ms: int | None


def pull_id(provider: str, model: str) -> str:
    """A model has one pull, whoever asks for it and however often: its id."""
    return "pull-" + hashlib.sha256(f"{provider} {model}".encode()).hexdigest()[:32]
