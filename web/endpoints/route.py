"""POST /v1/route: where a request would go and why, without sending it."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, request

from mesh.job import Target
from routing import prices
from routing.choose import Candidate
from routing.sight import Sight
from web import body, guarding
from web.door import Door
from web.requests import ROUTE, headers_in, parse
from web.wishes import bounded, priority, wish


def blueprint(door: Door) -> Blueprint:
    route = Blueprint("route", __name__)

    @route.post(ROUTE)
    def explain() -> Response:
        caller = door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))
        setup = door.setup
        limits = setup.config.requests
        parsed = parse(ROUTE, body.read(request.environ, limits.max_body_bytes), limits, headers_in(request.environ))
        private = guarding.is_private(door, caller, parsed.body)
        fields = parsed.fields
        body_ = bounded(parsed, priced=caller.allowance.hard or fields.max_cost is not None)
        lane = priority(caller, fields.priority, later=False)
        asked = wish(caller, setup.config, body_, fields, len(orjson.dumps(body_)), private=private, priority=lane)
        decision = setup.router.weigh(asked, door.outlook)
        sight = setup.router.sight(asked, door.outlook)
        answer = {
            "object": "route",
            "model": asked.model,
            "rule": decision.plan.rule,
            "line": decision.line,
            "targets": [_name(target) for target in decision.targets[: decision.main]],
            "candidates": [_shown(candidate, sight) for candidate in decision.candidates],
            "error": None if decision.refusal is None else decision.refusal.body(),
        }
        return Response(orjson.dumps(answer), mimetype="application/json")

    return route


def _name(target: Target) -> str:
    return f"{target.provider}/{target.model}"


def _shown(candidate: Candidate, sight: Sight) -> dict[str, Any]:
    target, (reason, detail) = candidate.target, candidate.why or (None, None)
    usd = sight.usd(target)
    wait_ms, service_ms = round(1000 * sight.wait_s(target)), round(1000 * sight.service_s(target))
    return {
        "provider": target.provider,
        "model": target.model,
        "role": candidate.role,
        "cause": candidate.cause,
        "kept": candidate.order is not None,
        "order": candidate.order,
        "reason": reason,
        "detail": detail,
        "price_usd": None if usd is None else prices.plain(usd),
        "wait_ms": wait_ms,
        "service_ms": service_ms,
        "eta_ms": wait_ms + service_ms,
    }
