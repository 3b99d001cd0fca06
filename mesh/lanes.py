"""A lane is one provider's queue of one class, and these are the names of its keys in Redis.

KEDA scales on `messages` (a list) and `running` (a zset): Celery's own priorities would make further lists that it does
not read, so each class is a lane of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "gw:"  # kombu's global_keyprefix, the ACL's pattern, the beginning of KEDA's listName

Priority = Literal["interactive", "batch"]


@dataclass(frozen=True, slots=True)
class Lane:
    provider: str
    priority: Priority = "interactive"

    @property
    def name(self) -> str:
        """The Celery queue's name."""
        return self.provider if self.priority == "interactive" else f"{self.provider}.batch"

    @property
    def messages(self) -> str:
        """The list of Celery messages: what waits."""
        return PREFIX + self.name

    @property
    def running(self) -> str:
        """The zset of leases: what runs."""
        return f"{PREFIX}running:{self.name}"

    @property
    def waiting(self) -> str:
        """The zset of waiting jobs by ring number."""
        return f"{PREFIX}waiting:{self.name}"


def of_provider(provider: str) -> tuple[Lane, Lane]:
    return Lane(provider, "interactive"), Lane(provider, "batch")


def named(name: str) -> Lane:
    """The lane with this queue name."""
    provider, dot, _ = name.partition(".")
    return Lane(provider, "batch" if dot else "interactive")
