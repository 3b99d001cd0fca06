"""GET /openapi.json, and GET /docs: a page to read and try it that needs nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import orjson
from flask import Blueprint, Response, request

from web.openapi import document

PAGE = Path(__file__).with_name("docs.html")
INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


def blueprint(version: str) -> Blueprint:
    """Both are open: they hold nothing but the shape of the API; what the page sends needs a key like any request."""
    routes = Blueprint("docs", __name__)
    page = PAGE.read_bytes()
    policy = content_security_policy(page)
    described = orjson.dumps(document(version))

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return _cached(described, "application/json")

    @routes.get("/docs")
    def docs() -> Response:
        answer = _cached(page, "text/html")
        answer.headers["Content-Security-Policy"] = policy
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    return routes


def content_security_policy(page: bytes) -> str:
    """Allows the page's own script and style, by their hashes, and requests to the gateway; nothing else."""
    hashes: dict[bytes, list[str]] = {b"script": [], b"style": []}
    for kind, text in INLINE.findall(page):
        hashes[kind].append(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'")
    return (
        f"default-src 'none'; script-src {' '.join(hashes[b'script'])}; style-src {' '.join(hashes[b'style'])}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _cached(body: bytes, kind: str) -> Response:
    """An answer that a browser may keep and asks about again; a new version of the gateway has a new tag."""
    answer = Response(body, content_type=f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
    answer.headers["Cache-Control"] = "no-cache"
    answer.add_etag()
    answer.make_conditional(request)
    return answer
