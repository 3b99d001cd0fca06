"""A redis-py client for what is not hot, and what it asks of the server itself."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from mesh import wire
from mesh.store.call import Call, T, as_is, as_text, in_full


def connect(url: str, *, patience_s: float = 5.0) -> redis.Redis:
    """A redis-py client for what is not hot: replies as they come on the wire, and no retries of its own."""
    address = wire.Address.parse(url)
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": patience_s,
        "socket_connect_timeout": patience_s,
        "retry": Retry(NoBackoff(), 0),
    }
    if (sentinels := address.sentinels) is None:
        return redis.Redis.from_url(url, **options)
    primary: redis.Redis = Sentinel(sentinels.hosts, sentinel_kwargs={**options, **sentinels.options()}).master_for(
        sentinels.primary,
        username=address.username or None,
        password=address.password or None,
        db=address.database,
        **options,
    )
    return primary


def run(client: redis.Redis, call: Call[T]) -> T:
    """Say it over a client from `connect`.

    Raises:
        redis.RedisError: refused, or not reached.
    """
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([wire.pack(call.args)])
        try:
            return call.read(connection.read_response())
        except redis.exceptions.NoScriptError:
            connection.send_packed_command([wire.pack(in_full(call.args))])
            return call.read(connection.read_response())
    finally:
        client.connection_pool.release(connection)


def memory() -> Call[tuple[int, int]]:
    """Bytes used and Redis' maxmemory (0: none)."""

    def read(reply: Any) -> tuple[int, int]:
        facts = dict(line.split(":", 1) for line in as_text(reply).splitlines() if ":" in line)
        return int(facts["used_memory"]), int(facts["maxmemory"])

    return Call(("INFO", "memory"), read)


def ping() -> Call[Any]:
    return Call(("PING",), as_is)


def now_ms() -> Call[int]:
    """Redis' own clock."""
    return Call(("TIME",), lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)
