"""API keys and tenants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh import lanes
from mesh.store.call import Call, as_fields, as_is, as_text, script
from mesh.wire import Arg


@dataclass(frozen=True, slots=True)
class Key:
    """An API key's record.

    now_s: by Redis' clock. tenant: JSON of what its tenant has of its own, or empty.
    """

    now_s: int
    tenant: bytes
    fields: Mapping[str, str]


def get_caller(key_id: str) -> Call[Key | None]:
    """Who asks with this key; None when there is no such key."""

    def read(reply: Any) -> Key | None:
        return None if reply is None else Key(reply[0], reply[1], as_fields(reply[2]))

    return script("caller", (key_id,), read)


def get_key(key_id: str) -> Call[dict[str, str]]:
    """A key's record; empty when there is none."""
    return Call(("HGETALL", f"{lanes.PREFIX}key:{key_id}"), as_fields)


def set_key(key_id: str, fields: Mapping[str, Arg]) -> Call[Any]:
    pairs = [part for pair in fields.items() for part in pair]
    return Call(("HSET", f"{lanes.PREFIX}key:{key_id}", *pairs), as_is)


def list_key(key_id: str, created_s: int) -> Call[Any]:
    """Add a key to the list of all."""
    return Call(("ZADD", f"{lanes.PREFIX}keys", created_s, key_id), as_is)


def get_keys() -> Call[list[str]]:
    """The ids of all keys, newest first."""
    return Call(("ZREVRANGE", f"{lanes.PREFIX}keys", 0, -1), lambda reply: [as_text(key_id) for key_id in reply])


def set_tenant(tenant: str, own: bytes) -> Call[Any]:
    """Write down what a tenant has of its own."""
    return Call(("SET", f"{lanes.PREFIX}own:{tenant}", own), as_is)


def get_tenant(tenant: str) -> Call[bytes]:
    return Call(("GET", f"{lanes.PREFIX}own:{tenant}"), lambda reply: reply or b"")


def list_tenant(tenant: str) -> Call[Any]:
    return Call(("SADD", f"{lanes.PREFIX}tenants", tenant), as_is)


def get_tenants() -> Call[list[str]]:
    """Every tenant that has a key or something of its own."""
    return Call(("SMEMBERS", f"{lanes.PREFIX}tenants"), lambda reply: sorted(as_text(name) for name in reply))
