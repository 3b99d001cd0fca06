"""Keys: what is stored of them, who they say is asking, and how long a revoked one is still taken."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest
import redis

from mesh import wire
from mesh.errors import Unauthenticated
from mesh.settings import parse_config
from tests.conftest import RedisServer
from web import auth
from web.auth import Caller, Gatekeeper
from web.pipe import Pipe

CONFIG = parse_config("provider_models: {}\nproviders: {}")


@pytest.fixture
def client(redis_server: RedisServer) -> redis.Redis:
    return redis_server.client()


@pytest.fixture
def gatekeeper(redis_server: RedisServer) -> Any:
    pipe = Pipe(wire.Address.parse(redis_server.url), "test-auth")
    pipe.start()
    yield Gatekeeper(pipe, lambda: CONFIG)
    pipe.stop()


def told(caller: Caller) -> tuple[str, str, str, bool]:
    return caller.key_id, caller.tenant, caller.role, caller.private


def test_a_key_tells_who_asks(client: redis.Redis, gatekeeper: Gatekeeper) -> None:
    user = auth.mint(client, tenant="acme")
    admin = auth.mint(client, tenant="acme", role="admin")
    secret = auth.mint(client, tenant="umbrella", private=True)
    assert told(gatekeeper.caller(f"Bearer {user}")) == (user.split("-")[1], "acme", "user", False)
    assert gatekeeper.caller(f"bearer   {admin} ").role == "admin"
    assert told(gatekeeper.caller(f"Bearer {secret}")) == (secret.split("-")[1], "umbrella", "user", True)


def test_keys_are_unlike_each_other_and_only_their_hashes_are_stored(client: redis.Redis) -> None:
    keys = {auth.mint(client) for _ in range(50)}
    assert len(keys) == 50 and len({key.split("-")[1] for key in keys}) == 50
    stored = b"".join(str(client.hgetall(name)).encode() for name in client.scan_iter("gw:key:*"))
    for key in keys:
        assert key.split("-")[2].encode() not in stored


def test_a_key_is_known_or_not(client: redis.Redis) -> None:
    key = auth.mint(client)
    assert auth.known(client, key)
    for other in (
        key[:-1],
        key + "0",
        key.upper(),
        "",
        "gw",
        "gw--",
        "gw-x-y",
        key.replace("gw-", "sk-"),
        "gw-" + "a" * 40 + "-b",
    ):
        assert not auth.known(client, other), other


BAD = [
    pytest.param("", "missing_api_key", id="nothing"),
    pytest.param("Bearer", "missing_api_key", id="no key"),
    pytest.param("Bearer    ", "missing_api_key", id="blanks"),
    pytest.param("Basic abc", "missing_api_key", id="another scheme"),
    pytest.param("Bearer abc", "invalid_api_key", id="another's key"),
    pytest.param("Bearer gw-abc-", "invalid_api_key", id="no secret"),
    pytest.param("Bearer gw--abc", "invalid_api_key", id="no id"),
    pytest.param("Bearer gw-a b-c", "invalid_api_key", id="a blank inside"),
    pytest.param("Bearer gw-0:1-c", "invalid_api_key", id="an id that would be another key's name"),
    pytest.param("Bearer gw-é-\u2603", "invalid_api_key", id="letters beyond ASCII"),
]


@pytest.mark.parametrize(("authorization", "code"), BAD)
def test_what_is_no_key_is_refused(gatekeeper: Gatekeeper, authorization: str, code: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        gatekeeper.caller(authorization)
    assert caught.value.code == code


def test_no_request_that_begins_a_second_after_a_revocation_is_taken(
    client: redis.Redis, gatekeeper: Gatekeeper
) -> None:
    key = auth.mint(client)
    gatekeeper.caller(f"Bearer {key}")
    client.delete(f"gw:key:{key.split('-')[1]}")

    def taken() -> bool:
        try:
            return gatekeeper.caller(f"Bearer {key}").tenant == "default"
        except Unauthenticated:
            return False

    revoked = began = last = time.monotonic()
    with gevent.Timeout(20):
        while taken():
            last = began
            gevent.sleep(0.02)
            began = time.monotonic()
    assert last - revoked < 1


def test_ids_that_share_a_beginning_are_not_mixed_up(client: redis.Redis, gatekeeper: Gatekeeper) -> None:
    one, other = auth.mint(client, tenant="one"), auth.mint(client, tenant="other")
    swapped = "-".join(["gw", one.split("-")[1], other.split("-")[2]])
    with pytest.raises(Unauthenticated):
        gatekeeper.caller(f"Bearer {swapped}")
