"""The door's endpoints, one file a topic; each has `blueprint(door)`."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint

from web.door import Door
from web.endpoints import generate, jobs, models, operate, socket

BLUEPRINTS: dict[str, Callable[[Door], Blueprint]] = {
    "generate": generate.blueprint,
    "jobs": jobs.blueprint,
    "models": models.blueprint,
    "operate": operate.blueprint,
    "socket": socket.blueprint,
}
