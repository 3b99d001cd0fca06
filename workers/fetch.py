"""What may be fetched from the internet: URLs that strangers wrote must not lead into our own network."""

from __future__ import annotations

import asyncio
import ipaddress
import pkgutil
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

from mesh.errors import RequestError

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")

HTTPS_PORT = 443
LONGEST_URL = 8_000  # characters, about what servers take

# A name with a dot whose last label begins with a letter: no spelling of an IP address is one, octal, hex and short
# forms included, and neither is a service of the cluster by its short name.
_NAME = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")

# Last labels that never were the internet's (RFC 6761, RFC 6762, RFC 7686, RFC 8375 and what ICANN keeps back).
_INNER_LABELS = frozenset(
    {"arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localhost", "mail", "onion", "test"}
)

_V6_UNICAST = ipaddress.IPv6Network(
    "2000::/3"
)  # all that was ever given out; mapped, NAT64, ULA, link-local lie outside
# The special-purpose registries of IANA, as far as they lie in what else would be public.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT, and a cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, under an address that looks public
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be fetched."""

    hosts: tuple[str, ...]  # names; `*.example.com` is every name below example.com, `*` any name
    media_types: tuple[str, ...] = IMAGES
    max_bytes: int = 10_000_000
    timeout_s: float = 10.0  # from the name's resolving to the last byte, redirects included


@dataclass(frozen=True, slots=True)
class Fetched:
    data: bytes
    media_type: str  # by its first bytes: nobody's word is taken for it


def is_public(address: str) -> bool:
    """Whether this IP address, as a resolver writes it, is one of the public internet."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip.scope_id or ip not in _V6_UNICAST):
        return False
    return not any(ip in network for network in _NOT_PUBLIC)


async def resolve(name: str) -> Sequence[str]:
    """The addresses of a name; none where it has none."""
    try:
        # The dot keeps the resolver from trying the search list of its pod, our own cluster's services, first.
        found = await asyncio.get_running_loop().getaddrinfo(f"{name}.", HTTPS_PORT, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return [str(sockaddr[0]) for *_, sockaddr in found]


def checked(text: str, hosts: Sequence[str]) -> URL:
    """The URL, if it may be asked for at all; its name is still to be resolved.

    Raises:
        RequestError: it may not, and why.
    """
    # What a parser would skip or turn round is refused before one sees it.
    if len(text) > LONGEST_URL or not text.isascii() or not text.isprintable() or set(text) & set(" \\"):
        raise RequestError(
            f"The URL must be at most {LONGEST_URL} printable ASCII characters without spaces or backslashes; write "
            "others in their %-encoded form, and a name in its xn-- form."
        )
    try:
        url = URL(text)
        host, port = (url.raw_host or "").lower(), url.port
    except ValueError as error:
        raise RequestError("The URL cannot be read.") from error
    if text[:8].lower() != "https://" or url.scheme != "https" or port != HTTPS_PORT:
        raise RequestError(f"Only https URLs on port {HTTPS_PORT} are fetched.")
    if "@" in re.split("[/?#]", text[8:], maxsplit=1)[0]:  # an empty user too, which the parser forgets
        raise RequestError("A URL with a user or password is not fetched.")
    if not _NAME.fullmatch(host) or host.rpartition(".")[2] in _INNER_LABELS:
        raise RequestError("The URL's host must be the full name of a host on the internet, not an address.")
    if not any(_covers(pattern, host) for pattern in hosts):
        raise RequestError(f"The host '{host}' is not among those that the gateway may fetch from (fetch.hosts).")
    return url.with_fragment(None)


def _covers(pattern: str, host: str) -> bool:
    pattern = pattern.lower()
    return pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def media_type(head: bytes) -> str:
    """What these first bytes begin; empty when it is nothing that is known here."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"%PDF-"):
        return "application/pdf"
    return ""


class Internet(Protocol):
    """Fetches and posts under one set of rules, any number at once in one event loop."""

    async def fetch(self, text: str) -> Fetched:
        """What lies behind this URL.

        Raises:
            RequestError: it may not be fetched, or cannot be; the message says why and holds no address.
        """

    async def post(self, text: str, body: bytes, headers: Mapping[str, str], *, hosts: Sequence[str]) -> int:
        """The status with which this URL, at one of these hosts, takes the body; a redirect is not followed.

        Raises:
            RequestError: it may not be asked, or does not answer; the message says why and holds no address.
        """


class Fetcher:
    """The internet, opened at its first use: the client is 7 MB, and most workers never fetch.

    It does what `Internet` says, under the rules of the moment.

    resolve, allowed, tls, port: the real one. A test hands in one of its own.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        resolve: Callable[[str], Awaitable[Sequence[str]]] = resolve,
        allowed: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
        port: int = HTTPS_PORT,
    ) -> None:
        self.rules = rules
        self._how = (resolve, allowed, tls, port)
        self._open: Callable[[Rules], Internet] | None = None

    async def fetch(self, text: str) -> Fetched:
        return await (await self._opened()).fetch(text)

    async def post(self, text: str, body: bytes, headers: Mapping[str, str], *, hosts: Sequence[str]) -> int:
        return await (await self._opened()).post(text, body, headers, hosts=hosts)

    async def _opened(self) -> Internet:
        if self._open is None:
            # Loading it takes long enough to keep every stream of this worker waiting.
            opening = await asyncio.to_thread(pkgutil.resolve_name, "workers.internet:opening")
            self._open = opening(*self._how)
        return self._open(self.rules)
