"""The door's endpoints, one file a topic; each has `blueprint(door)`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from flask import Blueprint

from web.door import Door
from web.endpoints import docs, generate, jobs, models, operate, pulls, socket

BLUEPRINTS: dict[str, Callable[[Door], Blueprint]] = {
    "docs": lambda door: docs.blueprint(version("gateway")),
    "generate": generate.blueprint,
    "jobs": jobs.blueprint,
    "models": models.blueprint,
    "operate": operate.blueprint,
    "pulls": pulls.blueprint,
    "socket": socket.blueprint,
}
