"""Fetches what lies behind a URL that a stranger wrote, without being led into our own network."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mesh.errors import RequestError
from workers.fetch import Fetched, Internet, Rules, checked, media_type

MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_SNIFFED_BYTES = 12  # so many tell what it is


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


def opening(
    resolve: Callable[[str], Awaitable[Sequence[str]]],
    allowed: Callable[[str], bool],
    tls: ssl.SSLContext | None,
    port: int,
) -> Callable[[Rules], Internet]:
    """What opens the internet under the rules of its moment."""
    resolver = _PublicOnly(resolve, allowed, port)
    return functools.partial(PublicInternet, resolver, tls or ssl.create_default_context())


class PublicInternet:
    """Fetches under one set of rules, any number at once in one event loop."""

    def __init__(self, resolver: AbstractResolver, tls: ssl.SSLContext, rules: Rules) -> None:
        self._resolver = resolver
        self._tls = tls
        self._rules = rules

    async def fetch(self, text: str) -> Fetched:
        try:
            async with asyncio.timeout(self._rules.timeout_s), self._session() as session:
                return await self._follow(session, text)
        except TimeoutError as error:
            raise RequestError(f"The URL was not fetched within {self._rules.timeout_s:g} s.") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise RequestError("The host's certificate could not be verified.") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise RequestError("The host could not be reached, or closed the connection.") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise RequestError("The host's answer was broken.") from error

    async def post(self, text: str, body: bytes, headers: Mapping[str, str], *, hosts: Sequence[str]) -> int:
        url = checked(text, hosts)
        try:
            async with (
                asyncio.timeout(self._rules.timeout_s),
                self._session() as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return response.status
        except TimeoutError as error:
            raise RequestError(f"The URL did not answer within {self._rules.timeout_s:g} s.") from error
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
                "Accept": ", ".join(self._rules.media_types),
                "Accept-Encoding": "identity",
                "User-Agent": "gateway",
            },
            auto_decompress=False,
            trust_env=False,
            requote_redirect_url=False,
        )

    async def _follow(self, session: aiohttp.ClientSession, text: str) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            url = checked(text, self._rules.hosts)
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
        if (response.content_length or 0) > self._rules.max_bytes:
            raise self._too_large()
        data = bytearray()
        kind = ""
        async for piece in response.content.iter_any():
            data += piece
            if len(data) > self._rules.max_bytes:
                raise self._too_large()
            if not kind and len(data) >= _SNIFFED_BYTES:
                kind = self._kind(data)
        return Fetched(bytes(data), kind or self._kind(data))

    def _kind(self, data: bytearray) -> str:
        kind = media_type(bytes(data[:_SNIFFED_BYTES]))
        if kind not in self._rules.media_types:
            raise RequestError(f"What lies behind the URL is none of {', '.join(self._rules.media_types)}.")
        return kind

    def _too_large(self) -> RequestError:
        return RequestError(f"What lies behind the URL is larger than {self._rules.max_bytes} bytes.")
