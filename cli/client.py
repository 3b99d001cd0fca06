"""A client of a running gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from cli.environment import Surroundings
from cli.errors import Refused, Unable, Unreachable

Document = dict[str, Any]


def address(url: str, key: str, home: Path | None, surroundings: Surroundings) -> tuple[str, str]:
    """The base URL and the key: those given, or the environment's, or those of the gateway that runs in `home`.

    Raises:
        Unable: neither says so.
    """
    folder = home or surroundings.home
    url = url or surroundings.url or _read(folder / "url")
    key = key or surroundings.key or _read(folder / "key")
    if not url:
        raise Unable(f"no gateway runs in {folder}: start one with `gateway up`, or name one with --url or GATEWAY_URL")
    if not key:
        raise Unable(f"no key: {folder / 'key'} cannot be read; give one with --key or GATEWAY_API_KEY")
    return url.rstrip("/").removesuffix("/v1"), key


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class Client:
    """Use as `async with Client(url, key) as client`."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: object = None) -> tuple[Document, Mapping[str, str]]:
        """The answer's document and headers.

        Raises:
            Refused: the gateway said no, with its reason.
            Unreachable: nothing answers.
        """
        try:
            async with self._session.request(method, f"{self._url}{path}", json=body) as response:
                document = _document(await response.read())
                if response.status >= 400:
                    raise Refused(_reason(document, response.status))
                return document, response.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"no gateway answers at {self._url}: {error}") from error

    async def frames(self, first: Document) -> AsyncIterator[Document]:
        """Open a WebSocket, send one frame, and yield what comes until the socket is closed.

        When the task is cancelled, so is the job.
        """
        job = None
        try:
            async with self._session.ws_connect(f"{self._url}/v1/ws", heartbeat=30) as socket:
                await socket.send_json(first)
                try:
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            frame = message.json()
                            job = frame.get("job_id", job)
                            yield frame
                except asyncio.CancelledError:
                    if job is not None:
                        await socket.send_json({"type": "job.cancel", "job_id": job})
                    raise
        except aiohttp.WSServerHandshakeError as error:
            why = "it does not know the key" if error.status == 401 else f"status {error.status}"
            raise Refused(f"the gateway refused the WebSocket: {why}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(f"no gateway answers at {self._url}: {error}") from error


def _document(body: bytes) -> Document:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _reason(document: Document, status: int) -> str:
    error = document.get("error")
    if isinstance(error, dict):
        place = f", {error['param']}" if error.get("param") else ""
        return f"{error.get('message')} ({status} {error.get('code')}{place})"
    return f"the gateway answered {status}"
