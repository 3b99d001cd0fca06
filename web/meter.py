"""What an answer took and cost, for its headers and for the `gateway` object of a stream's last chunk."""

from __future__ import annotations

import time
from typing import Any

from web.answer import in_header


class Meter:
    """Runs from the arrival of a request."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._began = time.monotonic()

    def facts(self, end: dict[str, Any]) -> dict[str, Any]:
        """
        end: the head of the job's end event. Absent figures are None.
        """
        whole_ms = (time.monotonic() - self._began) * 1000
        return {
            "job": self._job_id,
            "provider": end.get("provider"),
            "model": end.get("model"),
            "attempts": end.get("attempts"),
            "queue_ms": end.get("queue_ms"),
            "overhead_ms": round(max(0.0, whole_ms - end.get("provider_ms", whole_ms)), 1),
            "cost_usd": end.get("cost_usd"),
            "estimated": end.get("estimated", False),
            "guard": end.get("guard"),
        }

    def headers(self, end: dict[str, Any]) -> dict[str, str]:
        facts = self.facts(end)
        estimated = facts.pop("estimated")
        named = {
            f"x-gateway-{name.replace('_', '-')}": in_header(str(value))
            for name, value in facts.items()
            if value is not None
        }
        if estimated:
            named["x-gateway-estimated"] = "true"
        if end.get("dropped"):
            named["x-gateway-dropped"] = in_header(", ".join(end["dropped"]))
        return named
