"""Who asks with a token of an identity provider: OpenID Connect's JWTs, checked with its public keys."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from mesh.allowances import TENANT, Oidc
from mesh.errors import Unauthenticated

log = structlog.get_logger()

# Signatures by a private key only: a token signed with a public key as a shared secret is none.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

_FRESH_S = 600.0  # keys that are older are asked for anew
_AGAIN_S = 30.0  # nor is anybody asked more often, whatever key a token names
_PATIENCE_S = 5.0
_MOST_BYTES = 256_000
_LEEWAY_S = 30  # between two clocks
_LONGEST = 16_000  # characters of a token


class Issuer:
    """
    tls: what is trusted; the system's authorities where nothing is given.
    """

    def __init__(self, config: Oidc, tls: ssl.SSLContext | None = None) -> None:
        self._config = config
        self._tls = tls
        self._keys: KeySet | None = None
        self._asked_s = float("-inf")
        self._claims = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "value": config.audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    def identity(self, token: str) -> tuple[str, str, bool]:
        """The id, the tenant and whether it is an admin, of whoever the token was given to.

        Raises:
            Unauthenticated: it is none of this issuer's, or no longer.
        """
        claims = self._checked(token)
        tenant = _claim(claims, self._config.tenant_claim)
        if self._config.tenants:
            tenant = self._config.tenants.get(str(tenant), "")
        if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
            raise Unauthenticated(f"The token's claim '{self._config.tenant_claim}' names no tenant of this gateway.")
        roles = _claim(claims, self._config.role_claim) if self._config.role_claim else None
        held = {role for role in (roles if isinstance(roles, list) else [roles]) if isinstance(role, str)}
        who = hashlib.sha256(orjson.dumps([claims["iss"], claims["sub"]])).hexdigest()[:12]
        return f"oidc{who}", tenant, not held.isdisjoint(self._config.admin_roles)

    def _checked(self, token: str) -> Mapping[str, Any]:
        if len(token) > _LONGEST:
            raise Unauthenticated("Incorrect API key provided.")
        self._refresh(_FRESH_S)
        try:
            try:
                decoded = self._decoded(token)
            except (JoseError, ValueError):
                if not self._refresh(_AGAIN_S):  # perhaps it is signed with a new key
                    raise
                decoded = self._decoded(token)
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError) as error:
            raise Unauthenticated(f"The token was not accepted: {type(error).__name__}.") from None
        return decoded.claims

    def _decoded(self, token: str) -> jwt.Token:
        if self._keys is None:
            raise Unauthenticated("The identity provider's keys are not known; tokens cannot be checked now.")
        return jwt.decode(token, self._keys, algorithms=ALGORITHMS)

    def _refresh(self, after_s: float) -> bool:
        """Whether the keys were read anew; those that were good stay where that fails."""
        now = time.monotonic()
        if now - self._asked_s < (after_s if self._keys is not None else 1.0):
            return False
        self._asked_s = now
        try:
            self._keys = KeySet.import_key_set(orjson.loads(self._read()))
        except (OSError, http.client.HTTPException, ValueError, KeyError, JoseError) as error:
            log.warning("oidc_keys_unknown", why=f"{type(error).__name__}: {error}")
            return False
        return True

    def _read(self) -> bytes:
        """
        Raises:
            OSError, HTTPException: it cannot be read; a redirect is not followed.
        """
        if self._config.jwks_file is not None:
            return self._config.jwks_file.read_bytes()
        parts = urlsplit(self._config.jwks_url)
        context = self._tls or ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_S, context=context)
        try:
            path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            connection.request("GET", path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(f"status {response.status}")
            data = response.read(_MOST_BYTES + 1)
        finally:
            connection.close()
        if len(data) > _MOST_BYTES:
            raise OSError(f"more than {_MOST_BYTES} bytes")
        return data


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
