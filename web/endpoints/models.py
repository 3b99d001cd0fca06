"""GET /v1/models: what can be asked for, as the workers have found it at their providers."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh import errors, store
from mesh.job import Target
from routing.choose import Router
from web.door import Door


def blueprint(door: Door) -> Blueprint:
    models = Blueprint("models", __name__)

    def known() -> dict[str, dict[str, Any]]:
        """Every model that the prefixes lead to its own provider, by the name to ask for it."""
        listed = door.pipe.do(store.get_models())
        setup = door.setup
        found: dict[str, dict[str, Any]] = {}
        for provider in setup.live:
            for model in (*setup.config.providers[provider].models, *listed.get(provider, ())):
                name = model if _leads_to(setup.router, model, provider) else f"{provider}/{model}"
                found[name] = shown(name, Target(provider, model), setup.router)
        for name in setup.config.aliases:
            # An alias is shown with the facts of the target that config lists first.
            with contextlib.suppress(errors.NotFound):
                found[name] = shown(name, setup.router.target(name), setup.router)
        return found

    def shown(name: str, target: Target, router: Router) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": int(door.started),
            "owned_by": target.provider,
            "provider": target.provider,
            "gateway": router.catalog.facts(target),
        }

    def _leads_to(router: Router, model: str, provider: str) -> bool:
        try:
            return router.target(model).provider == provider
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
