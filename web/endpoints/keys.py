"""/v1/admin/keys and /v1/admin/tenants: who may use the gateway, and how much of it."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request
from pydantic import BaseModel, ValidationError

from mesh import errors
from web import body, keys
from web.answers import CreatedKey, Key, Tenant
from web.door import Door
from web.keys import NewKey, Record, TenantSettings
from web.requests.keys import Rotation
from web.requests.refusals import refuse

KEYS = "/v1/admin/keys"
TENANTS = "/v1/admin/tenants"


def blueprint(door: Door) -> Blueprint:
    routes = Blueprint("keys", __name__)

    def admin() -> None:
        door.gatekeeper.admin(request.environ.get("HTTP_AUTHORIZATION", ""))

    def given() -> dict[str, Any]:
        """The body, an object; nothing is an empty one."""
        raw = body.read(request.environ, door.config.requests.max_body_bytes)
        try:
            value = orjson.loads(raw or b"{}")
        except orjson.JSONDecodeError as error:
            raise errors.RequestError(f"The body is not JSON: {error}.", code="invalid_json") from None
        if not isinstance(value, dict):
            raise errors.RequestError("The body must be a JSON object.", code="invalid_type")
        return value

    @routes.post(KEYS)
    def create_key() -> Response:
        admin()
        try:
            new = NewKey.model_validate(given())
        except ValidationError as error:
            raise refuse(error) from None
        key, record = keys.create(door.pipe.do, new)
        return _answer(CreatedKey(key=key, **_shown(record)), 201)

    @routes.get(KEYS)
    def list_keys() -> Response:
        admin()
        tenant = request.args.get("tenant", "")
        shown = [Key(**_shown(record)) for record in keys.every(door.pipe.do) if tenant in ("", record.tenant)]
        return _json({"object": "list", "data": [key.model_dump(mode="json") for key in shown]})

    @routes.get(f"{KEYS}/<key_id>")
    def show_key(key_id: str) -> Response:
        admin()
        return _answer(Key(**_shown(keys.find(door.pipe.do, key_id))))

    @routes.post(f"{KEYS}/<key_id>")
    def change_key(key_id: str) -> Response:
        admin()
        try:
            return _answer(Key(**_shown(keys.change(door.pipe.do, key_id, given()))))
        except ValidationError as error:
            raise refuse(error) from None

    @routes.post(f"{KEYS}/<key_id>/rotate")
    def rotate_key(key_id: str) -> Response:
        admin()
        try:
            rotation = Rotation.model_validate(given())
        except ValidationError as error:
            raise refuse(error) from None
        grace_s = door.config.auth.rotation_grace_s if rotation.grace_s is None else rotation.grace_s
        key, record = keys.rotate(door.pipe.do, key_id, grace_s)
        return _answer(CreatedKey(key=key, **_shown(record)))

    @routes.delete(f"{KEYS}/<key_id>")
    def revoke_key(key_id: str) -> Response:
        admin()
        return _answer(Key(**_shown(keys.revoke(door.pipe.do, key_id))))

    @routes.get(TENANTS)
    def list_tenants() -> Response:
        admin()
        found = keys.tenants(door.pipe.do)
        shown = [_tenant(name, settings).model_dump(mode="json") for name, settings in found.items()]
        return _json({"object": "list", "data": shown})

    @routes.get(f"{TENANTS}/<tenant>")
    def show_tenant(tenant: str) -> Response:
        admin()
        return _answer(_tenant(tenant, keys.tenant(door.pipe.do, tenant)))

    @routes.post(f"{TENANTS}/<tenant>")
    def change_tenant(tenant: str) -> Response:
        admin()
        try:
            return _answer(_tenant(tenant, keys.set_tenant(door.pipe.do, tenant, given())))
        except ValidationError as error:
            raise refuse(error) from None

    return routes


def _shown(record: Record) -> dict[str, Any]:
    settings = record.settings.model_dump(exclude={"tenant"})
    return {"object": "key", **record.model_dump(exclude={"settings"}), **settings}


def _tenant(name: str, settings: TenantSettings) -> Tenant:
    return Tenant(object="tenant", tenant=name, limits=settings.limits, budget=settings.budget)


def _answer(shown: BaseModel, status: int = 200) -> Response:
    return _json(shown.model_dump(mode="json"), status)


def _json(shown: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(shown), status, mimetype="application/json")
