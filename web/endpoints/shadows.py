"""GET /v1/shadows: jobs whose request also went to another model, each with both answers; for admins of any tenant."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh import errors, store
from web.door import Door
from web.endpoints.jobs import number
from web.jobview import view

PATH = "/v1/shadows"
_MOST_LISTED = 20  # with two whole answers each


def blueprint(door: Door) -> Blueprint:
    shadows = Blueprint("shadows", __name__)

    def shown(job_id: str, tenant: str) -> dict[str, Any] | None:
        status = door.freight.do(store.status(job_id, tenant, result=True))
        if status is None:
            return None
        return view(status, door.seal(tenant, job_id), door.masked(tenant, job_id, status.mask), whole=True)

    @shadows.get(PATH)
    def list_shadows() -> Response:
        if door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", "")).role != "admin":
            raise errors.Forbidden("This needs an admin's key.")
        limit = number(request.args.get("limit", "20"), "limit", 1, _MOST_LISTED)
        rows = [
            {
                "object": "shadow",
                "tenant": pair.tenant,
                "model": pair.model,
                "created": pair.at_ms // 1000,
                "job": shown(pair.job, pair.tenant),
                "shadow": shown(pair.shadow, pair.tenant),
            }
            for pair in door.pipe.do(store.list_shadows(limit))
        ]
        return Response(orjson.dumps({"object": "list", "data": rows}), mimetype="application/json")

    return shadows
