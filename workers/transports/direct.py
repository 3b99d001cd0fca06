"""Straight HTTP by one aiohttp session: an SDK call costs more CPU than the whole mesh, this one 0.07 ms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

import aiohttp
import orjson
from yarl import URL

from workers.transports import Request, Transport, Upstream, faults

DRAIN_S = 0.2  # how long the end of a body is waited for after its last event, so that its connection can be used again


class Direct:
    """aiohttp without its comforts: no cookies, no redirects (a private request stays where it was sent), no proxy from
    the environment, no retries, no limit of connections (the worker's slots are the limit)."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
        response = await self._begin(request, headers)
        try:
            raw = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise faults.broke_off(self._upstream.name) from error
        finally:
            response.close()
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise faults.garbled(self._upstream.name) from error
        if type(answer) is not dict:
            raise faults.garbled(self._upstream.name)
        return cast(dict[str, Any], answer)

    async def stream(self, request: Request, headers: Mapping[str, str]) -> AsyncGenerator[list[dict[str, Any]], None]:
        response = await self._begin(request, headers)
        framing = self._upstream.framing()
        content = response.content
        try:
            while not (framing.done or framing.broken):
                piece = await content.readany()
                events = framing.feed(piece) if piece else framing.end()
                if events:
                    yield events
                if not piece:
                    break
            if framing.broken:
                raise faults.garbled(self._upstream.name)
            if not content.at_eof():
                await _drain(content)
        except (aiohttp.ClientError, OSError) as error:
            raise faults.broke_off(self._upstream.name) from error
        finally:
            # A connection whose body was read to its end has gone back to the pool by itself; any other is closed here.
            response.close()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _begin(self, request: Request, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The response, with its body still to come."""
        session = self._session or self._open()
        url = self._urls.get(request.path)
        if url is None:
            url = self._urls[request.path] = URL(self._upstream.url + request.path)
        try:
            if request.body is None:
                response = await session.get(url, headers=headers, allow_redirects=False)
            else:
                response = await session.post(
                    url, data=orjson.dumps(request.body), headers=headers, allow_redirects=False
                )
            if response.status < 300:
                if self._upstream.heard is not None:
                    self._upstream.heard(request, response.headers)
                return response
            try:
                raw = await response.read()
            finally:
                response.close()
        except aiohttp.ConnectionTimeoutError as error:
            raise faults.slow_to_connect(self._upstream.name) from error
        except (aiohttp.ClientError, OSError) as error:
            raise faults.unreachable(self._upstream.name) from error
        raise faults.refusal(response.status, response.headers, raw)

    def _open(self) -> aiohttp.ClientSession:
        # Made at the first call, because aiohttp binds a session to the loop that runs then.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._upstream.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json", "Accept": "*/*", "Accept-Encoding": "identity"},
            skip_auto_headers=("User-Agent",),
            trust_env=False,
        )
        return self._session


async def _drain(content: aiohttp.StreamReader) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            while await content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError):
        return


def open_transport(upstream: Upstream) -> Transport:
    return Direct(upstream)
