"""Many clients at once, before three web processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx

from tests.acceptance.gateway import CHAT, Gateway, asked
from tests.acceptance.upstream import Part

KEYS = "/v1/admin/keys"
TENANTS = "/v1/admin/tenants"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Trio:
    """Three web processes of one gateway."""

    gateway: Gateway
    urls: Sequence[str]

    def admin(self) -> httpx.Client:
        return self.gateway.http(self.gateway.admin_key)

    def key(self, **settings: Any) -> str:
        """A new key, of a tenant of its own where none is named."""
        with self.admin() as http:
            made: dict[str, Any] = asked(http.post(KEYS, json=settings), 201)
        return str(made["key"])

    def paid(self, letter: str) -> tuple[str, Part]:
        """A model with a price, for one test alone."""
        name = f"gpt-4-paid-{letter}"
        return name, self.gateway.upstream.part(name)

    def ask(self, key: str, bodies: Sequence[dict[str, Any]], headers: dict[str, str] | None = None) -> list[Reply]:
        """Send all of these at once, each at the next process, and wait for every answer."""
        return asyncio.run(self._ask(key, bodies, headers or {}))

    async def _ask(self, key: str, bodies: Sequence[dict[str, Any]], headers: dict[str, str]) -> list[Reply]:
        given = {"Authorization": f"Bearer {key}", **headers}
        async with aiohttp.ClientSession(headers=given, connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(number: int, body: dict[str, Any]) -> Reply:
                url = self.urls[number % len(self.urls)] + CHAT
                async with session.post(url, json=body) as response:
                    return Reply(response.status, dict(response.headers), await response.json())

            return await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))


def key_id(key: str) -> str:
    return key.split("-")[1]
