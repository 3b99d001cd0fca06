"""How Redis is spoken to: addresses, the first words of a connection, and which refusals mean "not now".

The two auto-pipelined connections, `web/pipe.py` for gevent and `workers/pipe.py` for asyncio, share this.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from hiredis import ReplyError, pack_command

from mesh.sentinel import Sentinels

Arg = bytes | str | int | float

# A primary that was demoted, is loading or is busy, a password that is being changed, or a disk that is full: the same
# command may be sent again in a moment. A worker says its commands behind AUTH, before the reply to that has come.
NOT_NOW = (
    "READONLY", "LOADING", "MASTERDOWN", "BUSY ", "UNBLOCKED", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS", "NOAUTH",
    "WRONGPASS", "MISCONF",
)  # fmt: skip


STALL_S = 5.0  # a reply that takes longer means that the connection is dead, or as good as
RETRY_S = (0.02, 0.1, 0.3, 1.0)  # pauses between two attempts to connect


class Refused(Exception):
    """Redis refused a command, in its own words."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is: redis:// or rediss:// (TLS) with user, password and database, or unix://.

    Or who knows where: sentinel://user:password@host1:26379,host2:26379/0?primary=gateway. User and password are the
    primary's; `&sentinel_password=` (and `&sentinel_user=`) are the Sentinels' own, where they ask for one. No TLS.
    """

    host: str
    port: int
    username: str
    password: str
    database: int
    tls: bool
    path: str  # of a Unix socket, or empty
    sentinels: Sentinels | None = None  # who is asked for host and port at each connection

    @classmethod
    def parse(cls, url: str) -> Address:
        """
        Raises:
            ValueError: not such a URL; the message shows no password.
        """
        parts = split(url)
        if parts.scheme not in {"redis", "rediss", "unix", "sentinel"}:
            raise ValueError("REDIS_URL: expected redis://, rediss://, unix:// or sentinel://")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix":
            return cls("", 0, user, password, 0, False, parts.path)
        digits = parts.path.strip("/") or "0"
        if not digits.isdigit():
            raise ValueError("REDIS_URL: the database is a number")
        if parts.scheme == "sentinel":
            return cls("", 0, user, password, int(digits), False, "", Sentinels.parse(parts))
        return cls(
            parts.hostname or "127.0.0.1", parts.port or 6379, user, password, int(digits), parts.scheme == "rediss", ""
        )

    def now(self, connect: Callable[..., Any] = socket.create_connection) -> Address:
        """The same with host and port, if it is the Sentinels who know them; they are asked each time.

        connect: `socket.create_connection`, or gevent's of that name.

        Raises:
            ConnectionError: no Sentinel names the primary.
        """
        if self.sentinels is None:
            return self
        host, port = self.sentinels.where(connect)
        return replace(self, host=host, port=port)

    def greeting(self, client_name: str) -> list[tuple[Arg, ...]]:
        """What every connection says first."""
        said: list[tuple[Arg, ...]] = []
        if self.password:
            said.append(("AUTH", self.username, self.password) if self.username else ("AUTH", self.password))
        if self.database:
            said.append(("SELECT", self.database))
        said.append(("CLIENT", "SETNAME", client_name))
        return said


def split(url: str) -> SplitResult:
    """The parts of a URL that may name several hosts: `urlsplit` takes brackets only around one."""
    scheme, _, rest = url.partition("://")
    if scheme != "sentinel":
        return urlsplit(url)
    place, _, query = rest.partition("?")
    hosts, slash, path = place.partition("/")
    return SplitResult(scheme, hosts, slash + path, query, "")


def pack(args: tuple[Arg, ...]) -> bytes:
    """A command as Redis reads it."""
    packed: bytes = pack_command(args)  # type: ignore[arg-type]  # its stub knows tuples of one
    return packed


def not_now(reply: Any) -> bool:
    """Whether Redis has refused a command only for the moment."""
    return isinstance(reply, ReplyError) and str(reply).startswith(NOT_NOW)
