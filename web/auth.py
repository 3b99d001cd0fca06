"""Who asks: bearer keys of the form `gw-<id>-<secret>`, of which Redis holds only a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any, Literal

import redis

from mesh import errors, lanes, store

Role = Literal["admin", "user"]

_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REMEMBER_S = 1.0  # a key that was seen is not asked for again; a revoked one is refused within this time
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    key_id: str
    tenant: str
    role: Role
    private: bool = False  # all that this key asks is private


def _digest(secret: str) -> str:
    # A key has 192 random bits: a fast hash is enough, nobody can try them all.
    return hashlib.sha256(secret.encode()).hexdigest()


def _place(key_id: str) -> str:
    return f"{lanes.PREFIX}key:{key_id}"


def _split(key: str) -> tuple[str, str] | None:
    head, _, rest = key.partition("-")
    key_id, _, secret = rest.partition("-")
    return (key_id, secret) if head == "gw" and key_id.isalnum() and len(key_id) <= 32 and secret else None


def mint(
    client: redis.Redis, *, tenant: str = "default", role: Role = "user", name: str = "", private: bool = False
) -> str:
    """Make a key and store its hash; the key itself is told only here.

    Raises:
        ValueError: `tenant` is not 1 to 64 letters, digits, `_`, `-` and `.`: it becomes part of other names.
    """
    if not _TENANT.fullmatch(tenant):
        raise ValueError(f"{tenant!r}: a tenant's name is 1 to 64 letters, digits, _, - and .")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(24)
    fields = {
        "hash": _digest(secret), "tenant": tenant, "role": role, "name": name, "private": int(private),
        "created": int(time.time()),
    }  # fmt: skip
    pairs: list[Any] = [part for pair in fields.items() for part in pair]
    store.run(client, store.Call(("HSET", _place(key_id), *pairs), int))
    return f"gw-{key_id}-{secret}"


def lookup(key_id: str) -> store.Call[dict[str, str]]:
    """A key's record; empty when there is none."""

    def read(reply: Any) -> dict[str, str]:
        words = [word.decode() for word in reply]
        return dict(zip(words[::2], words[1::2], strict=True))

    return store.Call(("HGETALL", _place(key_id)), read)


def check(secret: str, record: dict[str, str]) -> bool:
    return hmac.compare_digest(_digest(secret), record.get("hash", ""))


def known(client: redis.Redis, key: str) -> bool:
    parts = _split(key)
    return parts is not None and check(parts[1], store.run(client, lookup(parts[0])))


class Gatekeeper:
    """Tells callers by their keys; remembers each for a second."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._seen: dict[str, tuple[float, Caller]] = {}

    def caller(self, authorization: str) -> Caller:
        """
        authorization: the header's value, `Bearer gw-…`.

        Raises:
            Unauthenticated: no key, or not a valid one.
        """
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise errors.Unauthenticated(
                "You didn't provide an API key. Send it in the header `Authorization: Bearer gw-…`.",
                code="missing_api_key",
            )
        now = time.monotonic()
        seen = self._seen.get(key)
        if seen is not None and seen[0] > now:
            return seen[1]
        parts = _split(key)
        record = self._pipe.do(lookup(parts[0])) if parts else {}
        if parts is None or not check(parts[1], record):
            raise errors.Unauthenticated("Incorrect API key provided.")
        caller = Caller(
            key_id=parts[0],
            tenant=record["tenant"],
            role="admin" if record.get("role") == "admin" else "user",
            private=record.get("private") == "1",
        )
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen[key] = (now + _REMEMBER_S, caller)
        return caller
