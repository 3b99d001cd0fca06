"""Tokens of an identity provider: whose they are, and everything that is none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from mesh import wire
from mesh.allowances import AuthSettings, Oidc
from mesh.errors import Unauthenticated
from mesh.settings import parse_config
from tests.conftest import RedisServer
from tests.workers.host import answer, open_host
from web.auth import Gatekeeper
from web.oidc import Issuer
from web.pipe import Pipe

KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "two"})
ISSUER, AUDIENCE = "https://login.example.com", "gateway"


def key_set(*keys: RSAKey) -> bytes:
    return orjson.dumps({"keys": [key.as_dict(private=False) for key in keys]})


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 60, "tenant": "acme", **changes}
    return {name: value for name, value in given.items() if value is not None}


def token(key: Any = KEY, algorithm: str = "RS256", kid: str = "one", **changes: Any) -> str:
    return jwt.encode({"alg": algorithm, "kid": kid}, claims(**changes), key)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Issuer]:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(KEY))

    def make(**settings: Any) -> Issuer:
        return Issuer(Oidc.model_validate({"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": file, **settings}))

    return make


def test_a_token_tells_who_whose_and_what(made: Callable[..., Issuer]) -> None:
    plain = made()
    who, tenant, admin = plain.identity(token())
    assert (tenant, admin) == ("acme", False) and who.startswith("oidc")
    assert plain.identity(token(aud=["other", AUDIENCE]))[0] == who
    assert plain.identity(token(sub="bob"))[0] != who
    mapped = made(
        tenant_claim="org.name", tenants={"ACME Ltd": "acme"}, role_claim="realm.roles", admin_roles=["gateway-admin"]
    )
    given: dict[str, Any] = {"org": {"name": "ACME Ltd"}, "tenant": None}
    assert mapped.identity(token(**given))[1:] == ("acme", False)
    assert mapped.identity(token(**given, realm={"roles": ["x", "gateway-admin"]}))[1:] == ("acme", True)


def joined(*parts: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def unsigned() -> str:
    return joined(orjson.dumps({"alg": "none"}), orjson.dumps(claims()), b"")


def by_the_public_key() -> str:
    """What a careless library takes: HMAC under the public key's text."""
    head, body = orjson.dumps({"alg": "HS256", "kid": "one"}), orjson.dumps(claims())
    signature = hmac.digest(KEY.as_pem(private=False), joined(head, body).encode(), hashlib.sha256)
    return joined(head, body, signature)


BAD = [
    pytest.param(lambda: "", id="nothing"),
    pytest.param(lambda: "a.b.c", id="three letters"),
    pytest.param(lambda: "x" * 20_000, id="a long one"),
    pytest.param(lambda: token(exp=int(time.time()) - 60), id="expired"),
    pytest.param(lambda: token(exp=None), id="without an end"),
    pytest.param(lambda: token(nbf=int(time.time()) + 600), id="not yet"),
    pytest.param(lambda: token(iss="https://login.example.org"), id="another's"),
    pytest.param(lambda: token(aud="other"), id="for another"),
    pytest.param(lambda: token(sub=None), id="nobody's"),
    pytest.param(lambda: token(tenant=None), id="without a tenant"),
    pytest.param(lambda: token(tenant="two words"), id="a tenant that cannot be"),
    pytest.param(lambda: token(tenant=["acme"]), id="a tenant that is none"),
    pytest.param(lambda: token(OTHER), id="another's key under our name"),
    pytest.param(lambda: token(OTHER, kid="two"), id="a key that is not known"),
    pytest.param(lambda: token()[:-4] + "AAAA", id="a changed signature"),
    pytest.param(unsigned, id="unsigned"),
    pytest.param(by_the_public_key, id="signed with the public key"),
]


@pytest.mark.parametrize("make", BAD)
def test_what_is_no_token_is_refused(made: Callable[..., Issuer], make: Callable[[], str]) -> None:
    with pytest.raises(Unauthenticated):
        made().identity(make())


def test_keys_are_fetched_and_a_new_one_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"/keys": answer(key_set(KEY))}
    with open_host(tmp_path, answers) as host:
        url = f"https://localhost:{host.port}/keys"
        config = Oidc.model_validate({"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": url})
        with pytest.raises(Unauthenticated):
            Issuer(config).identity(token())  # nobody vouches for this host
        issuer = Issuer(config, host.trust)
        assert [issuer.identity(token())[1] for _ in range(3)] == ["acme"] * 3
        assert len(host.heard) == 1
        answers["/keys"] = answer(key_set(KEY, OTHER))
        with pytest.raises(Unauthenticated):
            issuer.identity(token(OTHER, kid="two"))
        assert len(host.heard) == 1, "a stranger's token asks nobody twice within half a minute"
        monkeypatch.setattr("web.oidc._AGAIN_S", 0.0)
        assert issuer.identity(token(OTHER, kid="two"))[1] == "acme"
        answers["/keys"] = answer(b"", "302 Found", Location="/elsewhere")
        assert issuer.identity(token())[1] == "acme", "what was good stays"


def test_a_token_is_a_caller_beside_keys(redis_server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(KEY))
    redis_server.client().set("gw:own:acme", orjson.dumps({"limits": {"concurrent": 2}}))
    pipe = Pipe(wire.Address.parse(redis_server.url), "test-oidc")
    pipe.start()
    try:
        plain = parse_config("provider_models: {}\nproviders: {}")
        oidc = Oidc.model_validate({"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": file})
        config = plain.model_copy(update={"auth": AuthSettings(oidc=oidc)})
        caller = Gatekeeper(pipe, lambda: config).caller(f"Bearer {token()}")
        assert (caller.tenant, caller.role, [limit.name for limit in caller.allowance.limits]) == (
            "acme",
            "user",
            ["tenant.concurrent"],
        )
        with pytest.raises(Unauthenticated):
            Gatekeeper(pipe, lambda: plain).caller(f"Bearer {token()}")
    finally:
        pipe.stop()
