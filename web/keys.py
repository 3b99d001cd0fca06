"""API keys and tenants: made, listed, changed, rotated, revoked. Of a key's secret only a hash is stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from mesh import errors, store
from mesh.allowances import NO_BUDGET, NO_LIMITS, TENANT, Budget, Limits
from mesh.frozen import Frozen
from mesh.wire import Arg

T = TypeVar("T")
Role = Literal["admin", "user"]
Do = Callable[[store.Call[Any]], Any]

LONGEST_NAME = 256  # characters
_Text = Annotated[str, Field(max_length=LONGEST_NAME)]
_Pattern = Annotated[str, Field(min_length=1, max_length=256)]


def _tenant(name: str) -> str:
    if not TENANT.fullmatch(name):
        raise ValueError(f"{name!r}: a tenant's name is 1 to 64 letters, digits, _, - and .")
    return name


class KeySettings(Frozen):
    """What a key allows, all of which can be changed but the tenant."""

    name: _Text = ""
    role: Role = "user"
    private: bool = Field(False, description="All that this key asks is private.")
    models: list[_Pattern] | None = Field(
        None, max_length=256, description="Models that it may ask, `gpt-4*` for all that begin so; null: all."
    )
    providers: list[_Text] | None = Field(None, max_length=64, description="Providers that may answer; null: all.")
    priorities: list[Literal["interactive", "batch"]] | None = Field(
        None, min_length=1, description="Classes of lane that its jobs may wait in; null: both."
    )
    limits: Limits = NO_LIMITS
    budget: Budget = NO_BUDGET
    tags: dict[_Pattern, _Text] = Field({}, max_length=16, description="Stand in the ledger beside each of its jobs.")
    expires: int | None = Field(None, ge=0, description="After this moment, in unix seconds, it is refused.")


class NewKey(KeySettings):
    tenant: str = "default"

    @field_validator("tenant")
    @classmethod
    def _fits(cls, name: str) -> str:
        return _tenant(name)


class TenantSettings(Frozen):
    """What a tenant has of its own; what is null is config's `each_tenant`."""

    limits: Limits = NO_LIMITS
    budget: Budget = NO_BUDGET


class Record(Frozen):
    """A key as it is stored, but for its hashes."""

    id: str
    tenant: str
    settings: KeySettings
    created: int
    used: int | None = None
    revoked: int | None = None
    rotated: int | None = None
    old_until: int | None = None  # until then the secret before the last rotation is taken too


def digest(secret: str) -> str:
    # A key has 192 random bits: a fast hash is enough, nobody can try them all.
    return hashlib.sha256(secret.encode()).hexdigest()


def split(key: str) -> tuple[str, str] | None:
    """The id and the secret of a key; None when it is none."""
    head, _, rest = key.partition("-")
    key_id, _, secret = rest.partition("-")
    return (key_id, secret) if head == "gw" and key_id.isalnum() and len(key_id) <= 32 and secret else None


def opens(secret: str, fields: Mapping[str, str], now_s: float) -> bool:
    """Whether this is the key's secret, or the one before within its grace, and the key still holds."""
    if "settings" not in fields or "revoked" in fields or int(fields.get("expires") or now_s + 1) <= now_s:
        return False
    given = digest(secret)
    old = fields.get("old_hash", "") if int(fields.get("old_until") or 0) > now_s else ""
    return hmac.compare_digest(given, fields.get("hash", "")) or hmac.compare_digest(given, old)


def settings_of(fields: Mapping[str, str]) -> KeySettings:
    return KeySettings.model_validate_json(fields["settings"])


def _record(key_id: str, fields: Mapping[str, str]) -> Record:
    times = {
        name: int(fields[name]) for name in ("created", "used", "revoked", "rotated", "old_until") if name in fields
    }
    return Record(id=key_id, tenant=fields["tenant"], settings=settings_of(fields), **times)


def _stored(settings: KeySettings) -> dict[str, Arg]:
    known = settings.model_dump_json(exclude={"tenant"}, exclude_defaults=True)
    return {"settings": known, "expires": "" if settings.expires is None else settings.expires}


def create(do: Do, new: NewKey) -> tuple[str, Record]:
    """A new key, told only here, and its record."""
    key_id, secret = secrets.token_hex(6), secrets.token_hex(24)
    now = int(time.time())
    do(store.list_tenant(new.tenant))
    do(store.list_key(key_id, now))
    do(store.set_key(key_id, {"hash": digest(secret), "tenant": new.tenant, "created": now, **_stored(new)}))
    return f"gw-{key_id}-{secret}", find(do, key_id)


def find(do: Do, key_id: str) -> Record:
    """
    Raises:
        NotFound: there is no such key.
    """
    fields = do(store.get_key(key_id)) if key_id.isalnum() and len(key_id) <= 32 else {}
    if "settings" not in fields:
        raise errors.NotFound(f"There is no key '{key_id}'.", param="key_id", code="key_not_found")
    return _record(key_id, fields)


def every(do: Do) -> list[Record]:
    """All keys, revoked and expired ones too, newest first."""
    records = []
    for key_id in do(store.get_keys()):
        fields = do(store.get_key(key_id))
        if "settings" in fields:
            records.append(_record(key_id, fields))
    return records


def change(do: Do, key_id: str, changes: Mapping[str, Any]) -> Record:
    """Change what is named, and nothing else; an object, such as the limits, is changed as a whole.

    Raises:
        NotFound: there is no such key.
        ValidationError: a change is none.
    """
    settings = KeySettings.model_validate(find(do, key_id).settings.model_dump() | dict(changes))
    do(store.set_key(key_id, _stored(settings)))
    return find(do, key_id)


def rotate(do: Do, key_id: str, grace_s: int) -> tuple[str, Record]:
    """A new secret for a key; the old one is taken for `grace_s` more, and the one before it no longer."""
    find(do, key_id)
    secret, now = secrets.token_hex(24), int(time.time())
    old = do(store.get_key(key_id))["hash"]
    do(store.set_key(key_id, {"hash": digest(secret), "old_hash": old, "old_until": now + grace_s, "rotated": now}))
    return f"gw-{key_id}-{secret}", find(do, key_id)


def revoke(do: Do, key_id: str) -> Record:
    """Refuse a key for ever; its record stays, so that the ledger's rows have a name."""
    record = find(do, key_id)
    if record.revoked is None:
        do(store.set_key(key_id, {"revoked": int(time.time())}))
    return find(do, key_id)


def tenant(do: Do, name: str) -> TenantSettings:
    raw = do(store.get_tenant(name)) if TENANT.fullmatch(name) else b""
    return TenantSettings.model_validate_json(raw) if raw else TenantSettings()


def tenants(do: Do) -> dict[str, TenantSettings]:
    return {name: tenant(do, name) for name in do(store.get_tenants())}


def set_tenant(do: Do, name: str, changes: Mapping[str, Any]) -> TenantSettings:
    """
    Raises:
        RequestError: no tenant can have this name.
        ValidationError: a change is none.
    """
    try:
        _tenant(name)
    except ValueError as error:
        raise errors.RequestError(f"{error}.", param="tenant") from None
    settings = TenantSettings.model_validate(tenant(do, name).model_dump() | dict(changes))
    do(store.set_tenant(name, settings.model_dump_json(exclude_defaults=True).encode()))
    do(store.list_tenant(name))
    return settings
