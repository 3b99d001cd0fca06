"""What jobs hold of counters, as it lies in Redis."""

from __future__ import annotations

from typing import Any


def place(name: str) -> tuple[str, str]:
    """The hash and its field that are the counter of the hold with this name."""
    counter, _, owner = name.partition(":")
    return f"gw:holds:{owner}", counter


def taken(client: Any, name: str) -> int:
    """What is taken of a counter of any kind, as it was last written."""
    return int((client.hget(*place(name)) or b"0").split()[0])
