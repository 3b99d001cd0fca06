"""Who the primary is, as the Sentinels say: they watch it, and name another when it is gone."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from hiredis import HiredisError, Reader, ReplyError, pack_command
from redis.backoff import NoBackoff
from redis.retry import Retry

PATIENCE_S = 1.0  # a Sentinel that takes longer is passed over
_KNOWN = {"primary", "sentinel_user", "sentinel_password"}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """
    primary: the name under which they watch it.
    username, password: theirs, not the primary's; both empty where they ask for none.
    """

    hosts: tuple[tuple[str, int], ...]
    primary: str
    username: str = ""
    password: str = ""

    @classmethod
    def parse(cls, parts: SplitResult) -> Sentinels:
        """
        Raises:
            ValueError: the hosts or the query are not understood; the message shows no password.
        """
        given = dict(parse_qsl(parts.query))
        if unknown := sorted(given.keys() - _KNOWN):
            raise ValueError(f"REDIS_URL: sentinel:// takes no {unknown[0]}; only {', '.join(sorted(_KNOWN))}")
        if not given.get("primary"):
            raise ValueError("REDIS_URL: sentinel:// needs the primary's name: sentinel://host:26379/0?primary=gateway")
        each = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
        hosts = tuple((host.hostname or "", host.port or 26379) for host in each)
        if not all(name for name, _ in hosts):
            raise ValueError("REDIS_URL: sentinel:// needs hosts: sentinel://host1:26379,host2:26379/0?primary=gateway")
        return cls(hosts, given["primary"], given.get("sentinel_user", ""), given.get("sentinel_password", ""))

    def options(self) -> dict[str, Any]:
        """How redis-py, and kombu with it, is to speak to them."""
        return {
            "username": self.username or None,
            "password": self.password or None,
            "socket_timeout": PATIENCE_S,
            "socket_connect_timeout": PATIENCE_S,
            "retry": Retry(NoBackoff(), 0),  # by itself it would ask a dead one four times
        }

    def where(self, connect: Callable[..., Any] = socket.create_connection) -> tuple[str, int]:
        """The primary's host and port, from the first Sentinel that knows them.

        They are asked in random order, so that one which has not heard of a failover is not believed for ever.

        connect: `socket.create_connection`, or gevent's of that name.

        Raises:
            ConnectionError: none of them answers, or none knows.
        """
        reasons = []
        for host in random.sample(self.hosts, len(self.hosts)):
            try:
                return self._ask(connect, host)
            except (OSError, HiredisError) as error:
                reasons.append(f"{host[0]}:{host[1]}: {error}")
        raise ConnectionError(f"no Sentinel names the primary {self.primary}: {'; '.join(reasons)}")

    def _ask(self, connect: Callable[..., Any], host: tuple[str, int]) -> tuple[str, int]:
        words: list[tuple[str, ...]] = [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.primary)]
        if self.password:
            words.insert(0, ("AUTH", *filter(None, [self.username]), self.password))
        parser = Reader(encoding="utf-8")
        with connect(host, PATIENCE_S) as asked:
            asked.sendall(b"".join(pack_command(each) for each in words))  # type: ignore[arg-type]  # as in wire.pack
            for _ in words:
                while (reply := parser.gets()) is False:
                    data = asked.recv(4096)
                    if not data:
                        raise ConnectionError("it closed the connection")
                    parser.feed(data)
                if isinstance(reply, ReplyError):
                    raise ConnectionError(str(reply))
        if not reply:
            raise ConnectionError("it watches no primary of that name")
        return reply[0], int(reply[1])
