"""/v1/models/pull and /v1/models/pulls: models that a provider fetches because an administrator says so."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh import errors, store
from mesh.pull import Pull
from web import body
from web.door import Door
from web.requests.pulls import parse_pull

PULLS = "/v1/models/pulls"


def blueprint(door: Door) -> Blueprint:
    pulls = Blueprint("pulls", __name__)

    def check() -> None:
        who = door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))
        if who.role != "admin":
            raise errors.Forbidden("This needs an admin's key.")

    @pulls.post("/v1/models/pull")
    def pull_model() -> Response:
        check()
        limits = door.config.requests
        wanted = parse_pull(body.read(request.environ, limits.max_body_bytes), limits.max_json_depth)
        name = wanted.provider
        if name not in door.live:
            shown = name if len(name) <= 64 else f"{name[:64]}…"
            raise errors.RequestError(f"There is no provider '{shown}'.", param="provider", code="provider_not_found")
        asked = door.pipe.do(store.get_asked()).get(name, store.Asked())
        if asked.pulls is False:
            raise errors.RequestError(f"'{name}' fetches no models.", param="provider", code="unsupported_provider")
        found = door.pipe.do(store.pull(name, wanted.model))
        if found is None:
            raise errors.Limited(
                f"{store.MOST_PULLS} models are being fetched; wait until one of them is there.", retry_after_s=60
            )
        return _json(_view(found), 202, {"Location": PULLS})

    @pulls.get(PULLS)
    def list_pulls() -> Response:
        check()
        return _json({"object": "list", "data": [_view(pull) for pull in door.pipe.do(store.pulls())]})

    return pulls


def _json(shown: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(shown), status, headers, mimetype="application/json")


def _view(pull: Pull) -> dict[str, Any]:
    return {
        "id": pull.id,
        "object": "model.pull",
        "provider": pull.provider,
        "model": pull.model,
        "state": pull.state,
        "status": pull.progress.status,
        "completed_bytes": pull.progress.completed_bytes,
        "total_bytes": pull.progress.total_bytes,
        "error": pull.error,
        "created": pull.created_ms // 1000,
        "started": pull.started_ms and pull.started_ms // 1000,
        "ended": pull.ended_ms and pull.ended_ms // 1000,
    }
