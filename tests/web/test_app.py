"""What the assembled door is made of."""

from __future__ import annotations

import re

from mesh.settings import Environment
from web.app import create_app
from web.operations import OPERATIONS


def test_every_route_is_described_and_every_described_operation_is_there() -> None:
    environment = Environment(
        redis_url="redis://127.0.0.1:1/0", seal_key="a:" + "11" * 32, door_key="a:" + "22" * 32, providers="ollama"
    )
    app = create_app(environment)
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert routes == {(operation.method, operation.path) for operation in OPERATIONS}
