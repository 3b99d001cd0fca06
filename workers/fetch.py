"""Fetches what lies behind a URL that a stranger wrote, without being led into our own network."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mesh.errors import RequestError

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")

HTTPS_PORT = 443
MAX_REDIRECTS = 3
LONGEST_URL = 8_000  # characters, about what servers take
_REDIRECTS = (301, 302, 303, 307, 308)
_SNIFFED_BYTES = 12  # so many tell what it is

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


class _PublicOnly(AbstractResolver):
    """Answers aiohttp with addresses that have been judged. It connects to these and no others, so that a name cannot
    mean one thing to the judge and another to the socket."""

    def __init__(self, resolve: Callable[[str], Awaitable[Sequence[str]]], allowed: Callable[[str], bool], port: int):
        self._resolve = resolve
        self._allowed = allowed
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = await self._resolve(host)
        if not addresses or not all(self._allowed(address) for address in addresses):
            # One sentence for both: it must not tell which of our own names exist.
            raise RequestError(f"The host '{host}' has no address on the public internet.")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=self._port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """It holds nothing."""


class Fetcher:
    """Fetches under one set of rules, any number at once in one event loop.

    resolve, allowed, tls, port: the internet. A test hands in one of its own.
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
        self._resolver = _PublicOnly(resolve, allowed, port)
        self._tls = tls or ssl.create_default_context()

    async def fetch(self, text: str) -> Fetched:
        """What lies behind this URL.

        Raises:
            RequestError: it may not be fetched, or cannot be; the message says why and holds no address.
        """
        try:
            async with asyncio.timeout(self.rules.timeout_s), self._session() as session:
                return await self._follow(session, text)
        except TimeoutError as error:
            raise RequestError(f"The URL was not fetched within {self.rules.timeout_s:g} s.") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise RequestError("The host's certificate could not be verified.") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise RequestError("The host could not be reached, or closed the connection.") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise RequestError("The host's answer was broken.") from error

    async def post(self, text: str, body: bytes, headers: Mapping[str, str], *, hosts: Sequence[str]) -> int:
        """The status with which this URL, at one of these hosts, takes the body; a redirect is not followed.

        Raises:
            RequestError: it may not be asked, or does not answer; the message says why and holds no address.
        """
        url = checked(text, hosts)
        try:
            async with (
                asyncio.timeout(self.rules.timeout_s),
                self._session() as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return response.status
        except TimeoutError as error:
            raise RequestError(f"The URL did not answer within {self.rules.timeout_s:g} s.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise RequestError("The host could not be reached, or broke off.") from error

    def _session(self) -> aiohttp.ClientSession:
        # One for each URL: nothing of a stranger's (cookies, connections, resolved names) is kept for the next.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver, ssl=self._tls, use_dns_cache=False, force_close=True, limit=2
            ),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept": ", ".join(self.rules.media_types),
                "Accept-Encoding": "identity",
                "User-Agent": "gateway",
            },
            auto_decompress=False,
            trust_env=False,
            requote_redirect_url=False,
        )

    async def _follow(self, session: aiohttp.ClientSession, text: str) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            url = checked(text, self.rules.hosts)
            async with session.get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response)
                place = response.headers.get("Location", "")
            try:
                text = str(url.join(URL(place)))
            except ValueError as error:
                raise RequestError("The host sent us on to a URL that cannot be read.") from error
        raise RequestError(f"The URL leads on more than {MAX_REDIRECTS} times.")

    async def _read(self, response: aiohttp.ClientResponse) -> Fetched:
        if response.status != 200:
            raise RequestError(f"The host answered with status {response.status}.")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise RequestError("The host sent its answer compressed, which it was told not to do.")
        if (response.content_length or 0) > self.rules.max_bytes:
            raise self._too_large()
        data = bytearray()
        kind = ""
        async for piece in response.content.iter_any():
            data += piece
            if len(data) > self.rules.max_bytes:
                raise self._too_large()
            if not kind and len(data) >= _SNIFFED_BYTES:
                kind = self._kind(data)
        return Fetched(bytes(data), kind or self._kind(data))

    def _kind(self, data: bytearray) -> str:
        kind = media_type(bytes(data[:_SNIFFED_BYTES]))
        if kind not in self.rules.media_types:
            raise RequestError(f"What lies behind the URL is none of {', '.join(self.rules.media_types)}.")
        return kind

    def _too_large(self) -> RequestError:
        return RequestError(f"What lies behind the URL is larger than {self.rules.max_bytes} bytes.")
