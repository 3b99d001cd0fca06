"""Where a Redis is, by its URL, and which of its refusals are only for the moment."""

from __future__ import annotations

import pytest
from hiredis import ReplyError

from mesh.sentinel import Sentinels
from mesh.wire import Address, not_now

URLS = [
    pytest.param("redis://localhost", Address("localhost", 6379, "", "", 0, False, ""), id="a host"),
    pytest.param("redis://", Address("127.0.0.1", 6379, "", "", 0, False, ""), id="nothing else"),
    pytest.param("redis://:pw@h:1/2", Address("h", 1, "", "pw", 2, False, ""), id="a password and a database"),
    pytest.param(
        "rediss://u:p%40%2Fw@h", Address("h", 6379, "u", "p@/w", 0, True, ""), id="TLS, a user, a quoted password"
    ),
    pytest.param("redis://[::1]:7000/", Address("::1", 7000, "", "", 0, False, ""), id="IPv6"),
    pytest.param(
        "sentinel://u:p%40@a,b:1,[::1]:2/3?primary=gateway",
        Address("", 0, "u", "p@", 3, False, "", Sentinels((("a", 26379), ("b", 1), ("::1", 2)), "gateway")),
        id="Sentinels",
    ),
    pytest.param(
        "sentinel://a/?primary=p&sentinel_user=s&sentinel_password=q%26",
        Address("", 0, "", "", 0, False, "", Sentinels((("a", 26379),), "p", "s", "q&")),
        id="Sentinels with a password of their own",
    ),
    pytest.param("unix:///run/redis.sock", Address("", 0, "", "", 0, False, "/run/redis.sock"), id="a Unix socket"),
]


@pytest.mark.parametrize(("url", "address"), URLS)
def test_a_url_says_where_redis_is(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://u:secret@h",
        "redis://u:secret@h/main",
        "redis://u:secret@h:port",
        "sentinel://u:secret@h",
        "sentinel://u:secret@h/0?primary=",
        "sentinel://u:secret@h,/0?primary=gateway",
        "sentinel://u:secret@h:port/0?primary=gateway",
        "sentinel://u:secret@h/0?primary=gateway&password=secret",
        "sentinel://u:secret@h/main?primary=gateway",
    ],
)
def test_what_is_no_such_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"REDIS_URL|port|Port") as caught:
        Address.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "greeting"),
    [
        ("redis://h", [("CLIENT", "SETNAME", "me")]),
        ("redis://:pw@h", [("AUTH", "pw"), ("CLIENT", "SETNAME", "me")]),
        ("redis://u:pw@h/3", [("AUTH", "u", "pw"), ("SELECT", 3), ("CLIENT", "SETNAME", "me")]),
    ],
)
def test_a_connection_says_first_who_it_is(url: str, greeting: list[tuple[str, ...]]) -> None:
    assert Address.parse(url).greeting("me") == greeting


@pytest.mark.parametrize(
    ("reply", "later"),
    [
        (ReplyError("READONLY You can't write against a read only replica."), True),
        (ReplyError("LOADING Valkey is loading the dataset in memory"), True),
        (ReplyError("NOAUTH Authentication required."), True),
        (ReplyError("BUSY Valkey is busy running a script."), True),
        (ReplyError("BUSYGROUP Consumer Group name already exists"), False),
        (ReplyError("OOM command not allowed"), False),
        (ReplyError("NOPERM this user has no permissions"), False),
        (b"READONLY is a text like any other", False),
        (None, False),
    ],
)
def test_only_a_refusal_for_the_moment_is_tried_again(reply: object, later: bool) -> None:
    assert not_now(reply) is later
