"""Has a web process take up a file that changes, and counts it."""

from __future__ import annotations

from typing import Any

import gevent

from mesh.reload import LOOK_S, Reloaded
from web import metrics


def watch(file: Reloaded[Any]) -> None:
    """Look for ever. A refused edit is in the log, in the metrics and in /settings."""
    while True:
        file.look()
        metrics.config_seen(file.path.name, file.loads, file.refusals)
        gevent.sleep(LOOK_S)


def told(file: Reloaded[Any]) -> dict[str, Any]:
    """The file's state, for who runs the gateway."""
    return {
        "path": str(file.path),
        "since": int(file.since_unix_s),
        "loads": file.loads,
        "refusals": file.refusals,
        "refused": file.refused,
    }
