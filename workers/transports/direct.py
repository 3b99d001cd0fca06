"""Straight HTTP over connections of our own: an SDK call costs more CPU than the whole mesh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

import orjson

from workers.transports import Past, Request, Transport, Upstream, faults
from workers.transports.connections import Client, Connection, SlowToConnect
from workers.transports.framing import Framing

DRAIN_S = 0.2  # how long the end of a body is waited for after its last event, so that its connection can be used again
_HEADERS = {"Content-Type": "application/json", "Accept": "*/*", "Accept-Encoding": "identity"}


class Direct:
    """No cookies, no redirects (a private request stays where it was sent), no proxy from the environment, no retries,
    no limit of connections (the worker's slots are the limit)."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._client = Client(upstream.url, upstream.connect_s, _HEADERS)

    async def send(self, request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
        response = await self._begin(request, headers)
        try:
            raw = await response.read()
        except OSError as error:
            raise faults.broke_off(self._upstream.name) from error
        finally:
            response.let_go()
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise faults.garbled(self._upstream.name) from error
        if type(answer) is not dict:
            raise faults.garbled(self._upstream.name)
        return cast(dict[str, Any], answer)

    async def stream(
        self, request: Request, headers: Mapping[str, str], past: Past | None = None
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        response = await self._begin(request, headers)
        framing = self._upstream.framing()

        def take(piece: bytes) -> bool:
            events = framing.feed(piece)
            return (not events or past is None or past(events)) and not _over(framing)

        try:
            while piece := await response.piece():
                if events := framing.feed(piece):
                    yield events
                if past is not None and not _over(framing):
                    await response.give(take)
                if _over(framing):
                    break
            else:
                if events := framing.end():
                    yield events
            if framing.broken:
                raise faults.garbled(self._upstream.name)
            if not response.ended:
                await _drain(response)
        except OSError as error:
            raise faults.broke_off(self._upstream.name) from error
        finally:
            response.let_go()

    async def aclose(self) -> None:
        self._client.close()

    async def _begin(self, request: Request, headers: Mapping[str, str]) -> Connection:
        """The response, with its body still to come."""
        method, body = ("GET", b"") if request.body is None else ("POST", orjson.dumps(request.body))
        try:
            response = await self._client.ask(method, request.path, headers, body)
            if response.status < 300:
                if self._upstream.heard is not None:
                    self._upstream.heard(request, response.headers)
                return response
            try:
                raw = await response.read()
            finally:
                response.let_go()
        except SlowToConnect as error:
            raise faults.slow_to_connect(self._upstream.name) from error
        except OSError as error:
            raise faults.unreachable(self._upstream.name) from error
        raise faults.refusal(response.status, response.headers, raw)


def _over(framing: Framing) -> bool:
    return framing.done or framing.broken


async def _drain(response: Connection) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            await response.read()
    except OSError:  # also when it takes too long
        return


def open_transport(upstream: Upstream) -> Transport:
    return Direct(upstream)
