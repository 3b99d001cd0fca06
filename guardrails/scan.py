"""Texts in, one JSON object each out: what `gateway guard check` and `scan` print."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from guardrails.guard import Guard
from guardrails.masking import Masker
from guardrails.policy import CATEGORIES
from guardrails.verdicts import Stage


def judged(guard: Guard, text: str, stage: Stage, *, tenant: str = "", key: str = "") -> dict[str, Any]:
    """The verdict on a text, as it is printed; `masked` is the text with the personal data in it replaced."""
    verdict = guard.check(text, stage, tenant=tenant, key=key)
    personal = guard.personal(text, stage, tenant=tenant, key=key)
    return {
        "categories": {name: verdict.scores.get(name, 0.0) for name in CATEGORIES},
        "flagged": [name for name in verdict.flagged if name in CATEGORIES],
        "action": verdict.action.value,
        "pii": [{"type": found.kind, "start": found.start, "end": found.end} for found in personal],
        "masked": Masker().mask(text, personal),
    }


def lines(guard: Guard, stream: Iterable[str], stage: Stage) -> Iterator[tuple[dict[str, Any], bool]]:
    """For each line {id, text} its verdict with the id, as soon as it is there; a line that is none gets an error.

    Yields the object to print, and whether the line was good.
    """
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            yield {"id": None, "line": number, "error": f"not JSON: {error}"}, False
            continue
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            identity = row.get("id") if isinstance(row, dict) else None
            yield {"id": identity, "line": number, "error": "expected an object with a text"}, False
            continue
        yield {"id": row.get("id"), **judged(guard, row["text"], stage)}, True
