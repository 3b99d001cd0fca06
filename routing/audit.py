"""What was done about whose request, for those who must account for it: an append-only stream, and never a text."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field
from typing import Any

from mesh import store


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row; when it was written is said by Redis' clock."""

    what: str  # guard.request, guard.response
    tenant: str
    key: str  # the id of the key that asked
    job: str
    category: str
    action: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))  # the same where a row was written twice


def written(record: Record) -> store.Call[Any]:
    return store.audit(asdict(record))
