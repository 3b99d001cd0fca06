"""One provider in one process: an adapter's tables over a transport, with config's policies and patience."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any

from mesh.errors import (
    GatewayError,
    ProviderBrokeOff,
    ProviderKeyRefused,
    ProviderTimeout,
    RequestError,
)
from mesh.pull import Progress
from mesh.settings import ProviderConfig
from workers.providers.adapter import STREAMED, Adapter, Answer, Call, Parameter, Pulls, Reader, Tally, total_usage
from workers.transports import Past, Request, Transport, faults
from workers.transports.faults import Refusal
from workers.transports.patience import Patience

PastChunk = Callable[[dict[str, Any]], bool]  # as `Past`, of chunks

KEY_LIFE_S = 1.0  # how long a key is used before its file is looked at again
PULL_SILENCE_S = 600.0  # a provider that checks tens of gigabytes says nothing meanwhile

# What a table meets in a body that its provider never promised: a list for an object, a field that is missing.
MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError)


class Provider:
    """Safe for any number of calls at once in one event loop.

    A task that is cancelled in `answer`, or while it waits in `stream`, has closed its connection when it goes on.
    Whoever leaves a stream by other means closes it: `async with contextlib.aclosing(provider.stream(call)) as chunks`.
    """

    def __init__(
        self,
        name: str,
        config: ProviderConfig,
        adapter: Adapter,
        transport: Transport,
        open_sdk: Callable[[], Transport],
    ) -> None:
        self.name = name
        self.config = config
        self._adapter = adapter
        self._transport = transport
        self._open_sdk = open_sdk
        self._key = ""
        self._key_until = 0.0
        self._headers: Mapping[str, str] = {}

    @property
    def takes_image_urls(self) -> bool:
        return self._adapter.TAKES_IMAGE_URLS

    async def answer(self, call: Call) -> Answer:
        """The whole answer; `body["provider"]` is our name.

        Raises:
            RequestError: a parameter or a part of a message that this provider cannot take; nothing was sent.
            GatewayError: `ProviderError` and what else stands for its refusals in mesh/errors.py.
        """
        call, dropped = self._settle(call)
        requests = self._adapter.requests(call, False)
        headers = self._authorize()
        try:
            async with asyncio.timeout(self.config.timeouts.total_s):
                bodies = [await self._transport.send(request, headers) for request in requests]
        except TimeoutError as error:
            raise ProviderTimeout(f"{self.name} took more than {self.config.timeouts.total_s:g} s") from error
        except Refusal as refusal:
            raise self._refused(refusal, call.model) from refusal
        try:
            body, usage = self._adapter.answer(call, bodies)
        except Refusal as refusal:
            raise self._refused(refusal, call.model) from refusal
        except MALFORMED as error:
            raise faults.garbled(self.name) from error
        body["provider"] = self.name
        return Answer(body, usage, dropped)

    async def stream(
        self, call: Call, tally: Tally | None = None, past: PastChunk | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of an answer: for each choice the role first and its finish_reason last, then one without choices
        that holds the usage, if the provider reported any. The first names under `gateway_dropped` what was dropped.

        tally: told as the stream goes on, for the usage of one that is left early.
        past: given chunks while the iteration waits for them, which then goes on waiting if it answers True; what it
        raises is raised here.

        Raises what `answer` raises, and ProviderBrokeOff when the answer ends before its end.
        """
        call, dropped = self._settle(call)
        if call.endpoint == "embeddings":
            raise RequestError("embeddings cannot be streamed", param="stream")
        requests = self._adapter.requests(call, True)
        headers = self._authorize()
        head = {
            "id": call.answer_id,
            "object": STREAMED[call.endpoint],
            "created": call.created,
            "model": call.public_model,
            "provider": self.name,
        }
        patience = Patience(self.config.timeouts.total_s)
        usages = []
        untold = list(dropped)
        try:
            for index, request in enumerate(requests):
                reader = self._adapter.reader(call, index, head)
                if tally is not None:
                    tally.readers.append(reader)
                straight = past and functools.partial(self._pass, past, patience, reader, untold)
                events = self._events(request, headers, patience, straight)
                try:
                    async for batch in events:
                        for event in batch:
                            for chunk in self._read(reader, event, untold):
                                yield chunk
                except (ProviderBrokeOff, ProviderTimeout):
                    # What comes after the last finish_reason is the usage at most: the answer itself is whole.
                    if not reader.finished:
                        raise
                except Refusal as refusal:
                    if not reader.finished:
                        raise self._refused(refusal, call.model) from refusal
                finally:
                    await events.aclose()
                if not reader.finished:
                    raise ProviderBrokeOff(f"{self.name} ended its answer without saying that it was done")
                usages.append(reader.usage)
        finally:
            patience.close()
        usage = total_usage(usages)
        if usage is not None:
            yield {**head, "choices": [], "usage": usage}

    async def models(self) -> list[str]:
        """The names of the models that the provider itself lists."""
        headers = self._authorize()
        try:
            async with asyncio.timeout(self.config.timeouts.silence_s):
                body = await self._transport.send(self._adapter.MODELS, headers)
        except TimeoutError as error:
            raise ProviderTimeout(f"{self.name} took more than {self.config.timeouts.silence_s:g} s") from error
        except Refusal as refusal:
            raise self._refused(refusal, "") from refusal
        try:
            return self._adapter.models(body)
        except Refusal as refusal:
            raise self._refused(refusal, "") from refusal
        except MALFORMED as error:
            raise faults.garbled(self.name) from error

    @property
    def pulls(self) -> bool:
        """Whether it fetches models when it is told to."""
        return isinstance(self._adapter, Pulls)

    async def pull(self, model: str) -> AsyncGenerator[Progress, None]:
        """Have the provider fetch a model, by its SDK whatever the transport; it has it when this ends.

        Raises:
            RequestError: it fetches none.
            GatewayError: as `answer`.
        """
        if not isinstance(self._adapter, Pulls):
            raise RequestError(f"{self.name} fetches no models", param="provider", code="unsupported_provider")
        fetching = self._adapter.fetching()
        transport = await asyncio.to_thread(self._open_sdk)
        try:
            events = transport.stream(self._adapter.pull(model), self._authorize())
            async with contextlib.aclosing(events):
                while True:
                    async with asyncio.timeout(PULL_SILENCE_S):
                        batch = await anext(events, None)
                    if batch is None:
                        break
                    for event in batch:
                        yield fetching.read(event)
        except TimeoutError as error:
            raise ProviderTimeout(f"{self.name} said nothing of the model for {PULL_SILENCE_S:g} s") from error
        except Refusal as refusal:
            raise self._refused(refusal, model) from refusal
        except MALFORMED as error:
            raise faults.garbled(self.name) from error
        finally:
            await transport.aclose()
        if not fetching.finished:
            raise ProviderBrokeOff(f"{self.name} ended before it had the whole model")

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _pass(
        self, past: PastChunk, patience: Patience, reader: Reader, untold: list[str], events: list[dict[str, Any]]
    ) -> bool:
        more = patience.again(self.config.timeouts.silence_s)
        for event in events:
            for chunk in self._read(reader, event, untold):
                more = past(chunk) and more
        return more

    def _read(self, reader: Reader, event: dict[str, Any], untold: list[str]) -> Iterable[dict[str, Any]]:
        """
        untold: what was dropped, until the first chunk tells it.
        """
        try:
            chunks = reader.read(event)
        except MALFORMED as error:
            raise faults.garbled(self.name) from error
        if untold and (chunks := list(chunks)):
            chunks[0]["gateway_dropped"] = untold.copy()
            untold.clear()
        return chunks

    async def _events(
        self, request: Request, headers: Mapping[str, str], patience: Patience, past: Past | None
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        timeouts = self.config.timeouts
        batches = self._transport.stream(request, headers, past)
        try:
            patience.begin(timeouts.first_token_s)
            async for batch in batches:
                patience.end()
                yield batch
                patience.begin(timeouts.silence_s)
            patience.end()
        except (TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not patience.ran_out():
                raise
            began = patience.limit_s is not timeouts.first_token_s
            what = "fell silent in its answer" if began else "did not begin its answer"
            raise ProviderTimeout(f"{self.name} {what} in time") from error
        finally:
            await batches.aclose()

    def _settle(self, call: Call) -> tuple[Call, tuple[str, ...]]:
        """The call without what this provider cannot do, and the names of that."""
        table = self._adapter.PARAMETERS.get(call.endpoint)
        if table is None:
            raise RequestError(f"{self.name} has no {call.endpoint}", param="model", code="unsupported_endpoint")
        if call.default_max_tokens != self.config.default_max_tokens:
            call = dataclasses.replace(call, default_max_tokens=self.config.default_max_tokens)
        unlisted = self._adapter.UNLISTED
        dropped = tuple(
            name for name, value in call.body.items() if _beyond(table.get(name, unlisted), value, call.model)
        )
        if not dropped:
            return call, dropped
        if self.config.unsupported_parameters == "error":
            raise RequestError(
                f"{self.name} cannot do {dropped[0]}; leave it out, or set its unsupported_parameters to drop",
                param=dropped[0],
                code="unsupported_parameter",
            )
        body = {name: value for name, value in call.body.items() if name not in dropped}
        return dataclasses.replace(call, body=body), dropped

    def _authorize(self) -> Mapping[str, str]:
        """The headers that hold the key, which may have changed since the last call."""
        now = time.monotonic()
        if now < self._key_until:
            return self._headers
        variable = self.config.api_key_env
        try:
            key = self.config.key()
        except OSError as error:
            raise ProviderKeyRefused(f"{self.name}: the file that {variable}_FILE names cannot be read") from error
        if variable and not key:
            raise ProviderKeyRefused(f"{self.name} has no key: set {variable}, or {variable}_FILE to the file with it")
        if not (key.isascii() and key.isprintable()):
            raise ProviderKeyRefused(f"{self.name}: what {variable} holds is no key, it has characters that none has")
        self._key = key
        self._headers = self._adapter.headers(key)
        self._key_until = now + KEY_LIFE_S
        return self._headers

    def _refused(self, refusal: Refusal, model: str) -> GatewayError:
        error = self._adapter.refused(refusal, self.name, model)
        if isinstance(error, ProviderKeyRefused):
            self._key_until = 0.0
        # Some servers repeat what they were sent.
        if self._key and self._key in str(error.body()):
            return type(error)(error.message.replace(self._key, "…"), retry_after_s=error.retry_after_s)
        return error


def _beyond(parameter: Parameter, value: Any, model: str) -> bool:
    if value is None:
        return False
    elsewhere = parameter.models and not any(mark in model for mark in parameter.models)
    if parameter.how == "refused" or elsewhere:
        return value not in parameter.accepts
    if parameter.only:
        return value not in parameter.only
    return parameter.most is not None and value > parameter.most
