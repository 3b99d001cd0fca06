"""POST /v1/moderations and POST /v1/guard/check: what the guard says of a text, without asking any model."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flask import Blueprint, Response, request

from guardrails.texts import Text
from guardrails.verdicts import Stage, Verdict
from web import body
from web.auth import Caller
from web.door import Door
from web.requests import CHECK, MODERATIONS, read_aside

MODEL = "gateway-guard"  # what answers; whatever model was asked for

# OpenAI's categories, and ours that count as each. PROMPT_INJECTION is none of them.
CATEGORIES: Mapping[str, Sequence[str]] = {
    "harassment": ("OFFENSIVE_LANGUAGE",),
    "harassment/threatening": (),
    "hate": ("HATE_SPEECH",),
    "hate/threatening": (),
    "illicit": ("ILLEGAL_ACTIVITY", "CONTROLLED_SUBSTANCES", "CYBER_CRIME", "WEAPONS", "TERRORISM"),
    "illicit/violent": ("WEAPONS", "TERRORISM"),
    "self-harm": ("SELF_HARM",),
    "self-harm/instructions": (),
    "self-harm/intent": (),
    "sexual": ("SEXUAL_CONTENT",),
    "sexual/minors": ("CHILD_SAFETY",),
    "violence": ("VIOLENCE",),
    "violence/graphic": (),
}


def blueprint(door: Door) -> Blueprint:
    guard = Blueprint("guard", __name__)

    def asked(endpoint: str) -> tuple[Caller, dict[str, Any]]:
        """Who asks, and what."""
        caller = door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))
        limits = door.config.requests
        document = read_aside(endpoint, body.read(request.environ, limits.max_body_bytes), limits)
        return caller, document

    @guard.post(MODERATIONS)
    def moderate() -> Response:
        who, document = asked(MODERATIONS)
        texts = [Text(value, "user", "input") for value in _inputs(document["input"])]
        verdicts = door.guardian.check(texts, Stage.REQUEST, tenant=who.tenant, key=who.key_id)
        answer = {"id": f"modr-{secrets.token_hex(16)}", "model": MODEL, "results": [_moderation(v) for v in verdicts]}
        return Response(orjson.dumps(answer), mimetype="application/json")

    @guard.post(CHECK)
    def check() -> Response:
        who, document = asked(CHECK)
        stage = Stage(document.get("stage", Stage.REQUEST))
        text = Text(document["text"], "tool" if document.get("untrusted") else "user", "text")
        verdict = door.guardian.check([text], stage, tenant=who.tenant, key=who.key_id)[0]
        hidden = door.guardian.hide([text], stage, tenant=who.tenant, key=who.key_id)
        kinds = [seen.kind for seen in hidden.seen]
        found = door.guardian.look([text], stage, tenant=who.tenant, key=who.key_id)[0][0]
        personal = [each for each in found if each.kind in kinds]
        said = [(verdict.action, verdict.category), *((seen.action, seen.kind) for seen in hidden.seen)]
        action, category = max(said, key=lambda each: each[0].weight)
        answer = {
            "object": "guard.check",
            "stage": stage,
            "action": action,
            "category": category or None,
            "private": verdict.private,
            "scores": dict(verdict.scores),
            "flagged": list(dict.fromkeys((*verdict.flagged, *kinds))),
            "findings": [
                {
                    "kind": finding.kind,
                    "start": finding.start,
                    "end": finding.end,
                    "score": finding.score,
                    "detector": finding.detector,
                }
                for finding in sorted({*verdict.findings, *personal}, key=lambda each: (each.start, each.end))
            ],
            "masked": hidden.texts.get("text", text.value),
        }
        return Response(orjson.dumps(answer), mimetype="application/json")

    return guard


def _inputs(given: Any) -> list[str]:
    """The texts of which each gets a result: the parts of one message are one."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return list(given)
    return ["\n".join(part["text"] for part in given if part["type"] == "text")]


def _moderation(verdict: Verdict) -> dict[str, Any]:
    scores, flagged = verdict.scores, verdict.flagged
    return {
        "flagged": bool(flagged),
        "categories": {name: any(each in flagged for each in ours) for name, ours in CATEGORIES.items()},
        "category_scores": {
            name: max([scores.get(each, 0.0) for each in ours], default=0.0) for name, ours in CATEGORIES.items()
        },
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
        "gateway": {
            "flagged": list(flagged),
            "scores": dict(scores),
            "action": verdict.action,
            "category": verdict.category or None,
        },
    }
