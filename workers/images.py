"""Images that a request names by URL: worker-system fetches them for the worker whose provider takes bytes only.

A provider's worker reaches its provider and Redis, nothing else. So it writes the sealed URL to Redis, rings a Celery
message with no more than an id for the task workers.tasks.fetch, and looks for the sealed answer until its patience
ends. Whatever comes twice, late or never does no harm: each key has an end, and the second answer finds nobody.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from mesh import errors, store
from mesh.errors import GatewayError, Overloaded, RequestError
from mesh.job import Claim
from mesh.seal import JobSeal, SealBroken, Sealer
from mesh.settings import FetchLimits
from workers.fetch import Fetcher, Rules, checked
from workers.pipe import Pipe

log = structlog.get_logger()

CODE = "image_url_not_fetched"
_SEND_BYTES = "send the image itself as a data URL (data:image/png;base64,…)"
_LOOK_S = (0.02, 0.05, 0.1, 0.2)  # between two looks for an answer; the last one repeats


def rules(limits: FetchLimits) -> Rules:
    """What config allows; nothing at all where images are not to be fetched."""
    return Rules(
        hosts=tuple(limits.hosts) if limits.images else (), max_bytes=limits.max_bytes, timeout_s=limits.timeout_s
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """An image in a request that is not its own bytes."""

    message: int
    part: int
    url: str

    @property
    def param(self) -> str:
        return f"messages[{self.message}].content[{self.part}].image_url"


def _by_url(body: Mapping[str, Any]) -> Iterator[_Part]:
    for i, message in enumerate(body.get("messages") or ()):
        content = message.get("content")
        if isinstance(content, list):
            for j, part in enumerate(content):
                if part.get("type") == "image_url" and part["image_url"]["url"][:5].lower() != "data:":
                    yield _Part(i, j, part["image_url"]["url"])


class Images:
    """The asking side, one a provider's worker."""

    def __init__(self, pipe: Pipe, limits: FetchLimits) -> None:
        self._pipe = pipe
        self._limits = limits
        self._hosts = rules(limits).hosts

    async def inline(self, claim: Claim, seal: JobSeal, body: dict[str, Any], *, takes_urls: bool) -> dict[str, Any]:
        """The body as the provider can take it: each image's URL has become a data URL. What was given is not changed.

        takes_urls: the provider fetches images itself, so only a private request is looked at.

        Raises:
            RequestError: an image may not be fetched or cannot be, with `messages[i].content[j].image_url` as param.
            Overloaded: worker-system did not get to it in time.
        """
        if takes_urls and not claim.private:
            return body
        parts = list(_by_url(body))
        if not parts:
            return body
        self._refuse(claim, parts)
        found = await self._fetch(claim, seal, parts)
        messages = list(body["messages"])
        for part in parts:
            content = list(messages[part.message]["content"])
            image = content[part.part]
            content[part.part] = {**image, "image_url": {**image["image_url"], "url": found[part.url]}}
            messages[part.message] = {**messages[part.message], "content": content}
        return {**body, "messages": messages}

    def _refuse(self, claim: Claim, parts: Sequence[_Part]) -> None:
        first = parts[0]
        if claim.private:
            raise _private(first)
        if not self._limits.images:
            raise RequestError(
                f"'{claim.spec.target.provider}' takes no URLs of images, and the gateway does not fetch them "
                f"(fetch.images); {_SEND_BYTES}.",
                param=first.param,
                code=CODE,
            )
        for part in parts:
            try:
                checked(part.url, self._hosts)
            except RequestError as error:
                raise _of_part(part, error) from error
        if len({part.url for part in parts}) > self._limits.max_images:
            raise RequestError(
                f"The gateway fetches {self._limits.max_images} images of one request at most; {_SEND_BYTES}.",
                param=parts[-1].param,
                code=CODE,
            )

    async def _fetch(self, claim: Claim, seal: JobSeal, parts: Sequence[_Part]) -> dict[str, str]:
        """The data URL for each URL."""
        asked = {secrets.token_hex(16): part for part in {part.url: part for part in reversed(parts)}.values()}
        life_ms = round(self._limits.wait_s * 1000)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                for fetch_id, part in asked.items():
                    sealed = seal.seal(_url_field(fetch_id), part.url.encode())
                    match await self._pipe.do(store.fetch(claim, fetch_id, sealed, life_ms)):
                        case "private":
                            raise _private(part)
                        case "full":
                            raise Overloaded("Too many images wait to be fetched.", param=part.param, retry_after_s=5)
                        case "lost":
                            raise errors.WorkerLost("Another worker holds this job now.")
                return await self._collect(seal, asked)
        except TimeoutError as error:
            raise Overloaded(
                f"The images were not fetched within {self._limits.wait_s:g} s; no worker of the queue `system` got to "
                "them.",
                param=parts[0].param,
                retry_after_s=5,
            ) from error
        finally:
            await self._pipe.do(store.forget_fetches(asked))

    async def _collect(self, seal: JobSeal, asked: Mapping[str, _Part]) -> dict[str, str]:
        waiting = dict(asked)
        found: dict[str, str] = {}
        room = self._limits.max_total_bytes
        looks = 0
        while waiting:
            await asyncio.sleep(_LOOK_S[min(looks, len(_LOOK_S) - 1)])
            looks += 1
            for fetch_id, part in list(waiting.items()):
                sealed = await self._pipe.do(store.get_fetched(fetch_id))
                if not sealed:
                    continue
                del waiting[fetch_id]
                media_type, data = _opened(seal, fetch_id, sealed, part)
                room -= len(data)
                if room < 0:
                    raise RequestError(
                        f"The images of this request are larger than {self._limits.max_total_bytes} bytes together.",
                        param=part.param,
                        code=CODE,
                    )
                found[part.url] = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        return found


async def answer(pipe: Pipe, sealer: Sealer, fetcher: Fetcher, fetch_id: str) -> None:
    """The answering side, in worker-system: fetch what was asked for under this id, if somebody still waits for it."""
    asked = await pipe.do(store.get_fetch(fetch_id))
    if asked is None:
        return
    seal = sealer.job(asked.tenant, asked.job_id)
    head: dict[str, Any]
    data = b""
    try:
        fetched = await fetcher.fetch(seal.open(_url_field(fetch_id), asked.url).decode())
        head, data = {"media_type": fetched.media_type}, fetched.data
    except SealBroken as error:
        log.error("fetch_not_opened", job=asked.job_id, why=str(error))
        head = {"error": errors.dump(GatewayError("The image's URL could not be opened: sealing keys differ."))}
    except RequestError as error:
        log.info("image_refused", job=asked.job_id, why=error.message)
        head = {"error": errors.dump(error)}
    sealed = seal.seal(_image_field(fetch_id), b"\n".join((orjson.dumps(head), data)))
    if not await pipe.do(store.put_fetched(fetch_id, sealed)):
        log.info("image_unwanted", job=asked.job_id)


def _opened(seal: JobSeal, fetch_id: str, sealed: bytes, part: _Part) -> tuple[str, bytes]:
    try:
        line, _, data = seal.open(_image_field(fetch_id), sealed).partition(b"\n")
    except SealBroken as error:
        raise GatewayError("A fetched image could not be opened: the workers have different sealing keys.") from error
    head = orjson.loads(line)
    if "error" in head:
        refused = errors.load(head["error"])
        raise _of_part(part, refused) if isinstance(refused, RequestError) else refused
    return head["media_type"], data


def _of_part(part: _Part, error: RequestError) -> RequestError:
    return RequestError(f"{error.message} Or {_SEND_BYTES}.", param=part.param, code=CODE)


def _private(part: _Part) -> RequestError:
    return RequestError(f"Nothing is fetched for a private request: {_SEND_BYTES}.", param=part.param, code=CODE)


def _url_field(fetch_id: str) -> str:
    return f"fetch:{fetch_id}"


def _image_field(fetch_id: str) -> str:
    return f"fetched:{fetch_id}"
