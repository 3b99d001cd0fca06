"""Who asks: bearer keys of the form `gw-<id>-<secret>`, of which Redis holds only a hash."""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import orjson
import redis

from mesh import errors, store
from mesh.allowances import Oidc
from mesh.lanes import Priority
from mesh.settings import Config
from routing.limits import Account
from routing.share import NOTHING_LIMITED, Allowance
from web import keys
from web.keys import KeySettings, NewKey, Role, TenantSettings

T = TypeVar("T")

# A key that was seen is not asked for again for so long: by design a change holds after half a second. The other half
# of the second that is promised is for a busy machine.
_REMEMBER_S = 0.5
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """
    models, providers, priorities: those allowed; None: all. tags: JSON, or empty.
    """

    key_id: str
    tenant: str
    role: Role
    private: bool = False  # all that this key asks is private
    models: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None
    priorities: tuple[Priority, ...] | None = None
    allowance: Allowance = NOTHING_LIMITED  # what its key and tenant may use
    tags: str = ""


def mint(
    client: redis.Redis, *, tenant: str = "default", role: Role = "user", name: str = "", private: bool = False
) -> str:
    """Make a key and store its hash; the key itself is told only here.

    Raises:
        ValueError: `tenant` is not 1 to 64 letters, digits, `_`, `-` and `.`: it becomes part of other names.
    """
    new = NewKey(tenant=tenant, role=role, name=name, private=private)
    return keys.create(lambda call: store.run(client, call), new)[0]


def known(client: redis.Redis, key: str) -> bool:
    parts = keys.split(key)
    if parts is None:
        return False
    fields = store.run(client, store.get_key(parts[0]))
    return keys.opens(parts[1], fields, time.time())


def _caller(config: Config, key_id: str, tenant: str, settings: KeySettings, own: TenantSettings) -> Caller:
    def allowed(names: list[T] | None) -> tuple[T, ...] | None:
        return None if names is None else tuple(names)

    return Caller(
        key_id=key_id,
        tenant=tenant,
        role=settings.role,
        private=settings.private,
        models=allowed(settings.models),
        providers=allowed(settings.providers),
        priorities=allowed(settings.priorities),
        allowance=Allowance.of(
            config,
            (
                Account("key", key_id, settings.limits, settings.budget),
                Account("tenant", tenant, own.limits, own.budget),
            ),
        ),
        tags=orjson.dumps(settings.tags).decode() if settings.tags else "",
    )


class Issuer(Protocol):
    """Whoever gives out tokens that are taken beside keys."""

    def identity(self, token: str) -> tuple[str, str, bool]: ...


OpenIssuer = Callable[[Oidc], Issuer]


class Gatekeeper:
    """Tells callers by their keys; remembers each for half a second."""

    def __init__(self, pipe: Any, config: Callable[[], Config]) -> None:
        self._pipe = pipe
        self._config = config
        self._seen: dict[str, tuple[float, Caller]] = {}
        self._issuer: tuple[Oidc, Issuer] | None = None

    def caller(self, authorization: str) -> Caller:
        """
        authorization: the header's value, `Bearer gw-…`, or a token where an issuer is configured.

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
        oidc = self._config().auth.oidc
        caller = self._by_key(key) if oidc is None or key.startswith("gw-") else self._by_token(oidc, key)
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.clear()
        self._seen[key] = (now + _REMEMBER_S, caller)
        return caller

    def admin(self, authorization: str) -> Caller:
        """
        Raises:
            Unauthenticated: no key, or not a valid one.
            Forbidden: a user's.
        """
        caller = self.caller(authorization)
        if caller.role != "admin":
            raise errors.Forbidden("This needs an admin's key.")
        return caller

    def _by_key(self, key: str) -> Caller:
        parts = keys.split(key)
        found: store.Key | None = self._pipe.do(store.get_caller(parts[0])) if parts else None
        if parts is None or found is None or not keys.opens(parts[1], found.fields, found.now_s):
            raise errors.Unauthenticated("Incorrect API key provided.")
        return self._known(parts[0], found.fields["tenant"], keys.settings_of(found.fields), found.tenant)

    def _by_token(self, oidc: Oidc, token: str) -> Caller:
        if self._issuer is None or self._issuer[0] != oidc:
            # What checks tokens is loaded only where tokens are taken.
            self._issuer = (oidc, cast(OpenIssuer, pkgutil.resolve_name("web.oidc:Issuer"))(oidc))
        who, tenant, admin = self._issuer[1].identity(token)
        own = self._pipe.do(store.get_tenant(tenant))
        settings = KeySettings(role="admin" if admin else "user")
        return self._known(who, tenant, settings, own)

    def _known(self, key_id: str, tenant: str, settings: KeySettings, own: bytes) -> Caller:
        allowed = TenantSettings.model_validate_json(own) if own else _NOTHING
        return _caller(self._config(), key_id, tenant, settings, allowed)


_NOTHING = TenantSettings()
