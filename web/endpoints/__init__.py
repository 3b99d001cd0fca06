"""The door's endpoints, one file a topic; each has `blueprint(door)`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from flask import Blueprint

from web.door import Door
from web.endpoints import docs, generate, guard, jobs, keys, models, operate, pulls, route, shadows, socket, usage

BLUEPRINTS: dict[str, Callable[[Door], Blueprint]] = {
    "docs": lambda door: docs.blueprint(version("gateway")),
    "generate": generate.blueprint,
    "guard": guard.blueprint,
    "jobs": jobs.blueprint,
    "keys": keys.blueprint,
    "models": models.blueprint,
    "operate": operate.blueprint,
    "pulls": pulls.blueprint,
    "route": route.blueprint,
    "shadows": shadows.blueprint,
    "socket": socket.blueprint,
    "usage": usage.blueprint,
}
