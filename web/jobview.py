"""A job as its owner sees it over the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mesh import errors
from mesh.job import Status, Step
from mesh.seal import JobSeal
from web.replies import end_of, result_of
from web.restoring import Masked

if TYPE_CHECKING:
    from web.submit import Accepted


def queued_view(accepted: Accepted) -> bytes:
    """The body of a 202."""
    target = accepted.spec.target
    return orjson.dumps(
        {
            "id": accepted.id,
            "object": "job",
            "endpoint": f"/v1/{accepted.spec.endpoint.replace('.', '/')}",
            "model": accepted.spec.model,
            "provider": target.provider,
            "state": "queued",
            "position": accepted.position,
            "eta_ms": accepted.eta_ms,
            "created": accepted.spec.created_unix_s,
            "guard": accepted.spec.noted or None,
        }
    )


def view(status: Status, seal: JobSeal, masked: Masked, *, whole: bool) -> dict[str, Any]:
    """
    whole: with the result and the timeline, not only what a list shows.
    """
    shown: dict[str, Any] = {
        "id": status.id,
        "object": "job",
        "endpoint": f"/v1/{status.endpoint.replace('.', '/')}",
        "model": status.spec.model,
        "provider": status.provider,
        "state": status.state.value,
        "created": status.created_ms // 1000,
        "deadline": status.deadline_ms // 1000,
        "position": status.position,
        "eta_ms": status.eta_ms,
        "attempts": [_told(attempt) for attempt in status.attempts],
        "usage": status.usage,
        "cost_usd": status.cost_usd,
        "guard": status.spec.noted or None,
        "error": None,
    }
    if status.state.ended:
        head = end_of(status, seal).head
        shown["guard"] = head.get("guard", shown["guard"])
        if "error" in head:
            shown["error"] = errors.load(head["error"]).body()
    if status.shadow or status.shadow_of:
        shown |= {"shadow": status.shadow or None, "shadow_of": status.shadow_of or None}
    if whole:
        shown["timeline"] = [
            {"state": step.state, "at_ms": step.at_ms, "detail": step.detail or None} for step in _steps(status)
        ]
        result = result_of(status, seal) if status.state.ended else b""
        shown["result"] = orjson.loads(masked.whole(result) if masked else result) if result else None
    return shown


def _told(attempt: Mapping[str, Any]) -> dict[str, Any]:
    """An attempt without what only its job's holds are settled by."""
    return {name: value for name, value in attempt.items() if name != "measured"}


def _steps(status: Status) -> list[Step]:
    """The timeline, with how the route came about behind the first step."""
    if not status.route:
        return status.timeline
    return [*status.timeline[:1], Step(status.created_ms, "routed", status.route), *status.timeline[1:]]
