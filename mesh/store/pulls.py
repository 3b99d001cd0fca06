"""Models that a provider fetches when it is told to."""

from __future__ import annotations

from typing import Any

import orjson

from mesh.errors import GatewayError
from mesh.pull import Progress, Pull, PullState, pull_id
from mesh.store.call import Call, as_text, script

MOST_PULLS = 20  # that wait or run
PULL_LEASE_MS = 30_000


def pull(provider: str, model: str) -> Call[Pull | None]:
    """Have a provider fetch a model; None when as many as may be are open. One that is open is answered as it is."""

    def read(reply: Any) -> Pull | None:
        return None if reply is None else _pull(reply)

    return script("pull", (pull_id(provider, model), provider, model, MOST_PULLS), read)


def pulls() -> Call[list[Pull]]:
    """The last pull of each model, newest first."""
    return script("pulls", (), lambda reply: [_pull(fields) for fields in reply])


def pulling(
    pull: str, boot: str, state: PullState, progress: Progress, error: GatewayError | None = None
) -> Call[tuple[str, str] | None]:
    """A worker's word about a pull: it takes it or goes on (running), gives it back (queued), or it has ended.

    The reply is its provider and model; None: it has ended, or another worker has it.
    """

    def read(reply: Any) -> tuple[str, str] | None:
        return None if reply is None else (as_text(reply[0]), as_text(reply[1]))

    total = "" if progress.total_bytes is None else progress.total_bytes
    failed = b"" if error is None else orjson.dumps(error.body())
    args = (pull, boot, PULL_LEASE_MS, state, progress.status, progress.completed_bytes, total, failed)
    return script("pulling", args, read)


def _pull(reply: Any) -> Pull:
    fields = {as_text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}

    def number(name: str) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    return Pull(
        id=as_text(fields["id"]),
        provider=as_text(fields["provider"]),
        model=as_text(fields["model"]),
        state=as_text(fields["state"]),  # type: ignore[arg-type]  # written by scripts from a PullState
        progress=Progress(as_text(fields.get("status", b"")), number("completed") or 0, number("total")),
        error=orjson.loads(fields["error"]) if fields.get("error") else None,
        created_ms=int(fields["created"]),
        started_ms=number("started"),
        ended_ms=number("ended"),
    )
