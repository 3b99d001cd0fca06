"""POST /v1/chat/completions, /v1/completions and /v1/embeddings: a request in, its answer out."""

from __future__ import annotations

from flask import Blueprint, Response, request

from web import body
from web.door import Door
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS, headers_in, parse
from web.respond import answer


def blueprint(door: Door) -> Blueprint:
    generate = Blueprint("generate", __name__)
    limits = door.config.requests

    def ask(endpoint: str) -> Response:
        caller = door.gatekeeper.caller(request.environ.get("HTTP_AUTHORIZATION", ""))
        parsed = parse(endpoint, body.read(limits.max_body_bytes), limits, headers_in(request.environ))
        return answer(door, caller, parsed, request.environ)

    @generate.post(CHAT)
    def chat_completions() -> Response:
        return ask(CHAT)

    @generate.post(COMPLETIONS)
    def completions() -> Response:
        return ask(COMPLETIONS)

    @generate.post(EMBEDDINGS)
    def embeddings() -> Response:
        return ask(EMBEDDINGS)

    return generate
