"""What operators ask: /health, /config, /providers, /settings, /redis-test. Secrets are never shown."""

from __future__ import annotations

import time
from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh import errors, lanes, store
from web import reloading
from web.auth import Caller
from web.door import Door
from web.setup import waiting_for_restart

_ROUTING = {"provider_models", "aliases", "fallbacks", "circuit"}
_BEATEN_S = 12  # a worker renews every 5 s


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), mimetype="application/json")


def _heard(asked: store.Asked) -> dict[str, Any]:
    """Whether the provider answered its workers lately, and what was wrong when it last did not."""
    error = asked.error and {
        "at": (asked.error_ms or 0) // 1000,
        "kind": asked.error["class"],
        "message": asked.error["message"],
        "code": asked.error["code"],
    }
    return {
        "pulls": asked.pulls,
        "listed": asked.listed_ms and asked.listed_ms // 1000,
        "last_error": error,
    }


def blueprint(door: Door) -> Blueprint:
    operate = Blueprint("operate", __name__)
    began = door.config

    def caller(*, admin: bool) -> Caller:
        who = door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))
        if admin and who.role != "admin":
            raise errors.Forbidden("This needs an admin's key.")
        return who

    @operate.get("/health/live")
    def live() -> Response:
        return _json({"status": "ok"})

    @operate.get("/health/ready")
    def ready() -> Response:
        if door.stopping:
            raise errors.Stopping("This process of the gateway is shutting down.", retry_after_s=1)
        door.pipe.do(store.ping())
        return _json({"status": "ok"})

    @operate.get("/health")
    def health() -> Response:
        door.pipe.do(store.ping())
        return _json({"status": "ok", "redis": "ok", "providers": list(door.live), "waiting": door.replies.waiting})

    @operate.get("/providers")
    def providers() -> Response:
        caller(admin=False)
        listed, asked = door.pipe.do(store.get_models()), door.pipe.do(store.get_asked())
        since_ms = int((time.time() - _BEATEN_S) * 1000)
        rows, setup = [], door.setup
        for name, provider in setup.config.providers.items():
            loads = {}
            for lane in lanes.of_provider(name):
                waiting, running = (door.pipe.do(call) for call in store.lane_load(lane))
                loads[lane.priority] = {"waiting": waiting, "running": running}
            rows.append(
                {
                    "name": name,
                    "adapter": provider.adapter,
                    "private": provider.private,
                    "enabled": name in setup.live,
                    "prefixes": setup.config.provider_models.get(name, []),
                    "workers": door.pipe.do(store.live_workers(name, since_ms)),
                    "lanes": loads,
                    "models": listed.get(name, []),
                    **_heard(asked.get(name, store.Asked())),
                }
            )
        return _json({"object": "list", "data": rows})

    @operate.get("/settings")
    def settings() -> Response:
        caller(admin=True)
        setup, told = door.setup, door.setup.config.model_dump(mode="json", include=_ROUTING)
        return _json(
            {
                **told,
                "default_model": setup.config.requests.default_model,
                "file": reloading.told(door.settings),
                "waiting_for_restart": waiting_for_restart(began, setup.config),
                "guardrails": door.guardian.state(),
                "ill": door.outlook.states(),
            }
        )

    @operate.get("/config")
    def config() -> Response:
        caller(admin=True)
        # The file names the variables that hold secrets, and holds none itself.
        return _json(door.config.model_dump(mode="json") | {"live": list(door.live)})

    @operate.get("/redis-test")
    def redis_test() -> Response:
        caller(admin=True)
        began = time.monotonic()
        door.pipe.do(store.ping())
        took_ms = (time.monotonic() - began) * 1000
        used, most = door.pipe.do(store.memory())
        return _json(
            {"status": "ok", "round_trip_ms": round(took_ms, 2), "used_memory_bytes": used, "maxmemory_bytes": most}
        )

    return operate
