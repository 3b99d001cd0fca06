"""What the packages openai and anthropic have in common: one generator made both of their clients."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from workers.transports import Past, Request, Upstream, faults, tls

ANSWERED = "gateway_answered"  # a request's extension: the head of its answer has come


@dataclass(frozen=True, slots=True)
class Package:
    """One of the packages.

    translated: the refusal, or the error of ours, that one of `raised` is, under the provider's name.
    """

    client: Any  # its asynchronous client, without retries
    stream: type  # its AsyncStream[object]
    nothing: Any  # its Omit(): a header with this value does not go out
    raised: tuple[type[Exception], ...]
    translated: Callable[[Exception, str], Exception]


class Stainless:
    """A client by its own `post`, which takes any body and gives back what came: our tables are the types.

    Retries are off (they are the mesh's), and so are redirects and proxies, as in the direct transport.
    """

    def __init__(self, upstream: Upstream, package: Package) -> None:
        self._name = upstream.name
        self._heard = upstream.heard
        self._package = package

    async def send(self, request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
        # `raw` is what the packages' own `with_raw_response` says: the answer's headers, and the answer from `parse`.
        options = self._options({"X-Stainless-Raw-Response": "raw", **headers})
        client = self._package.client
        try:
            if request.body is None:
                raw = await client.get(request.path, cast_to=object, options=options)
            else:
                raw = await client.post(request.path, cast_to=object, body=request.body, options=options)
            self._tell(request, raw.headers)
            answer = await raw.parse()
        except self._package.raised as error:
            raise self._package.translated(error, self._name) from error
        # The SDK gives the bare text of a body whose content type is not JSON.
        if not isinstance(answer, dict):
            raise faults.garbled(self._name)
        return answer

    async def stream(
        self, request: Request, headers: Mapping[str, str], past: Past | None = None
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        try:
            stream = await self._package.client.post(
                request.path,
                cast_to=object,
                body=request.body,
                options=self._options(headers),
                stream=True,
                stream_cls=self._package.stream,
            )
            self._tell(request, stream.response.headers)
            async with stream:
                async for event in stream:
                    if not isinstance(event, dict):
                        raise faults.garbled(self._name)
                    yield [event]
        except self._package.raised as error:
            raise self._package.translated(error, self._name) from error

    async def aclose(self) -> None:
        await self._package.client.close()

    def _options(self, headers: Mapping[str, str]) -> dict[str, Any]:
        # The client's own key is none.
        return {"headers": {"Authorization": self._package.nothing, **headers}}

    def _tell(self, request: Request, headers: Mapping[str, str]) -> None:
        if self._heard is not None:
            self._heard(request, headers)


def timeout(upstream: Upstream) -> httpx2.Timeout:
    return httpx2.Timeout(None, connect=upstream.connect_s)


def http_client(upstream: Upstream) -> httpx2.AsyncClient:
    """What such a client sends by."""
    return httpx2.AsyncClient(
        verify=tls.context(),
        follow_redirects=False,
        trust_env=False,
        timeout=timeout(upstream),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        event_hooks={"response": [_note_answer]},
    )


async def _note_answer(response: httpx2.Response) -> None:
    response.request.extensions[ANSWERED] = True


def answered(error: Any) -> bool:
    """Whether the head of an answer had come when the connection failed so.

    error: httpx2's RequestError, or a package's own around one.
    """
    try:
        return bool(error.request.extensions.get(ANSWERED))
    except RuntimeError:
        return False  # httpx2 raises it for an error that has no request
