"""GET /v1/models: what can be asked for, as the workers have found it at their providers."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh import errors, store
from mesh.job import Target
from web.door import Door


def blueprint(door: Door) -> Blueprint:
    models = Blueprint("models", __name__)

    def known() -> dict[str, dict[str, Any]]:
        """Every model that the prefixes lead to its own provider, by the name to ask for it."""
        listed = door.pipe.do(store.get_models())
        found: dict[str, dict[str, Any]] = {}
        for provider in door.live:
            for model in (*door.config.providers[provider].models, *listed.get(provider, ())):
                name = model if _leads_to(model, provider) else f"{provider}/{model}"
                found[name] = {
                    "id": name,
                    "object": "model",
                    "created": int(door.started),
                    "owned_by": provider,
                    "provider": provider,
                    "gateway": door.router.catalog.facts(Target(provider, model)),
                }
        return found

    def _leads_to(model: str, provider: str) -> bool:
        try:
            return door.router.target(model, None).provider == provider
        except errors.GatewayError:
            return False

    def check() -> None:
        door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))

    @models.get("/v1/models")
    def list_models() -> Response:
        check()
        return Response(orjson.dumps({"object": "list", "data": list(known().values())}), mimetype="application/json")

    @models.get("/v1/models/<path:model>")
    def get_model(model: str) -> Response:
        check()
        found = known().get(model)
        if found is None:
            raise errors.NotFound(f"The model '{model}' does not exist.", param="model", code="model_not_found")
        return Response(orjson.dumps(found), mimetype="application/json")

    return models
