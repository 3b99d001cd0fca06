"""POST /v1/chat/completions, /v1/completions and /v1/embeddings: a request in, its answer out.

These routes make the endpoints known to Flask; in service `web/front.py` answers them before it is asked.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from web.door import Door
from web.front import ask
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS


def blueprint(door: Door) -> Blueprint:
    generate = Blueprint("generate", __name__)

    @generate.post(CHAT)
    def chat_completions() -> Response:
        return ask(door, CHAT, request.environ).flask()

    @generate.post(COMPLETIONS)
    def completions() -> Response:
        return ask(door, COMPLETIONS, request.environ).flask()

    @generate.post(EMBEDDINGS)
    def embeddings() -> Response:
        return ask(door, EMBEDDINGS, request.environ).flask()

    return generate
