"""Ollama's API in front of the local model and embedder, so that what speaks to Ollama gets real answers here."""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from cli.embedded import ollama, packages
from cli.embedded.embedder import DIMENSIONS, TOKENS, Embedder, InputTooLong

VERSION = "0.12.0"  # the version of Ollama whose wire this speaks
MAX_BODY = 32 * 1024 * 1024
MAX_WAITING = 512  # Ollama's own limit
FOREVER = "2318-01-01T00:00:00Z"  # how Ollama writes that a model stays loaded


class Front:
    """The endpoints.

    model: the base URL of llama.cpp's server.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._waiting = 0

    async def running(self, app: web.Application) -> AsyncIterator[None]:
        """What lives as long as the server: the embedder, its thread, and the connections to the model."""
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1, "embedder") as self._thread:
            self._embedder = await loop.run_in_executor(self._thread, Embedder)
            self._digests = loop.run_in_executor(None, _digests)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            # llama.cpp's server ends a connection after a few idle seconds, perhaps just as it is used again.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            async with aiohttp.ClientSession(self._model, timeout=timeout, connector=connector) as self._session:
                yield

    async def answer(self, request: web.Request, kind: type[ollama.Ask]) -> web.StreamResponse:
        started_ns = time.monotonic_ns()
        ask = ollama.parse(kind, await request.read())
        ollama.check_can_answer(ask)
        if ask.is_load():
            return web.json_response(ollama.loaded(ask))
        if self._waiting >= MAX_WAITING:
            raise ollama.Refused(503, "server busy, please try again.  maximum pending requests exceeded")
        self._waiting += 1
        try:
            path, body = ask.upstream()
            async with self._session.post(path, json=body) as upstream:
                if upstream.status != 200:
                    error = json.loads(await upstream.read())
                    raise ollama.refused_by_model(upstream.status, error.get("error"))
                chunks = _chunks(upstream.content)
                if ask.stream:
                    return await self._stream(request, ask, chunks, started_ns)
                return await self._whole(ask, chunks, started_ns)
        except aiohttp.ClientError as error:
            raise ollama.Refused(500, f"llama runner process no longer running: {error}") from error
        finally:
            self._waiting -= 1

    async def _stream(
        self, request: web.Request, ask: ollama.Ask, chunks: AsyncIterator[dict[str, Any]], started_ns: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        reason = None
        try:
            async for chunk in chunks:
                for choice in chunk["choices"]:
                    text, logprobs = _said(choice)
                    if text:
                        await response.write(_line(ollama.piece(ask, text, logprobs)))
                    reason = choice["finish_reason"] or reason
                if reason and "usage" in chunk:
                    total_ns = time.monotonic_ns() - started_ns
                    last = ollama.ended(ask, "", reason, chunk["usage"], chunk["timings"], total_ns)
                    await response.write(_line(last))
        except ollama.Refused as refused:
            await response.write(_line({"error": str(refused)}))
        except aiohttp.ClientConnectionResetError:
            raise  # our client has gone: nobody reads a last line
        except aiohttp.ClientError:
            await response.write(_line({"error": "an error was encountered while running the model"}))
        return response

    async def _whole(
        self, ask: ollama.Ask, chunks: AsyncIterator[dict[str, Any]], started_ns: int
    ) -> web.StreamResponse:
        texts: list[str] = []
        logprobs: list[dict[str, Any]] = []
        reason, last = "stop", None
        async for chunk in chunks:
            for choice in chunk["choices"]:
                text, some = _said(choice)
                texts.append(text)
                logprobs += some or []
                reason = choice["finish_reason"] or reason
            last = chunk if "usage" in chunk else last
        if last is None:
            raise ollama.Refused(500, "an error was encountered while running the model")
        total_ns = time.monotonic_ns() - started_ns
        body = ollama.ended(ask, "".join(texts), reason, last["usage"], last["timings"], total_ns)
        return web.json_response(body | {"logprobs": logprobs} if logprobs else body)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, ollama.Chat)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, ollama.Generate)

    async def embed(self, request: web.Request) -> web.Response:
        started_ns = time.monotonic_ns()
        ask = ollama.parse(ollama.Embed, await request.read())
        ollama.check_can_embed(ask.model)
        texts = [ask.input] if isinstance(ask.input, str) else ask.input
        vectors, tokens = [], 0
        for text in texts:
            vector, count = await self._vector(text, ask.truncate, ask.dimensions)
            vectors.append(vector)
            tokens += count
        return web.json_response(
            {
                "model": ask.model,
                "embeddings": vectors,
                "total_duration": time.monotonic_ns() - started_ns,
                "load_duration": 0,
                "prompt_eval_count": tokens,
            }
        )

    async def embeddings(self, request: web.Request) -> web.Response:
        ask = ollama.parse(ollama.Embeddings, await request.read())
        ollama.check_can_embed(ask.model)
        vector = (await self._vector(ask.prompt, True, None))[0] if ask.prompt else []
        return web.json_response({"embedding": vector})

    async def _vector(self, text: str, truncate: bool, dimensions: int | None) -> tuple[list[float], int]:
        loop = asyncio.get_running_loop()

        def embed() -> tuple[list[float], int]:
            found = self._embedder.embed(text, truncate=truncate, dimensions=dimensions)
            return found.vector, found.tokens

        try:
            return await loop.run_in_executor(self._thread, embed)
        except InputTooLong as error:
            raise ollama.Refused(400, str(error)) from error

    async def tags(self, request: web.Request) -> web.Response:
        return web.json_response({"models": await self._models()})

    async def ps(self, request: web.Request) -> web.Response:
        lengths = {ollama.CHAT: await self._context_length(), f"{ollama.EMBED[0]}:latest": TOKENS}
        loaded = [
            {**model, "expires_at": FOREVER, "size_vram": 0, "context_length": lengths[model["name"]]}
            for model in await self._models()
        ]
        return web.json_response({"models": loaded})

    async def show(self, request: web.Request) -> web.Response:
        ask = ollama.parse(ollama.Show, await request.read())
        name = ask.model or ask.name
        if not name:
            raise ollama.Refused(400, "model is required")
        for model in await self._models():
            is_chat = model["name"] == ollama.CHAT
            if ollama.is_chat_model(name) if is_chat else ollama.is_embedding_model(name):
                info = await self._chat_info() if is_chat else _embedding_info()
                capabilities = ["completion"] if is_chat else ["embedding"]
                return web.json_response(
                    {
                        "details": model["details"],
                        "model_info": info,
                        "capabilities": capabilities,
                        "modified_at": model["modified_at"],
                        "license": "Apache-2.0",
                    }
                )
        raise ollama.Refused(404, f"model '{name}' not found")

    async def pull(self, request: web.Request) -> web.Response:
        ask = ollama.parse(ollama.Pull, await request.read())
        name = ask.model or ask.name
        ollama.check_can_pull(name)
        chat, embedding = await self._models()
        model = chat if ollama.is_chat_model(name) else embedding
        lines = ollama.pulled(model["digest"], model["size"])
        if not ask.stream:
            return web.json_response(lines[-1])
        return web.Response(body=b"".join(map(_line, lines)), content_type="application/x-ndjson")

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": VERSION})

    async def root(self, request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _models(self) -> list[dict[str, Any]]:
        chat, embedding = await asyncio.shield(self._digests)
        return [
            _model(ollama.CHAT, packages.chat_weights(), chat, "llama", "135M", "Q4_1"),
            _model(f"{ollama.EMBED[0]}:latest", packages.embedding_weights(), embedding, "bert", "23M", "Q8_0"),
        ]

    async def _context_length(self) -> int:
        async with self._session.get("/props") as upstream:
            props = await upstream.json()
        return int(props["default_generation_settings"]["n_ctx"])

    async def _chat_info(self) -> dict[str, Any]:
        async with self._session.get("/v1/models") as upstream:
            meta = (await upstream.json())["data"][0]["meta"]
        return {
            "general.architecture": "llama",
            "general.parameter_count": meta["n_params"],
            "llama.context_length": meta["n_ctx_train"],
            "llama.embedding_length": meta["n_embd"],
            "llama.vocab_size": meta["n_vocab"],
        }


async def _chunks(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """llama.cpp's server-sent events.

    Raises:
        Refused: it gave up in the middle.
    """
    async for line in stream:
        if line.startswith(b"error:"):
            raise ollama.refused_by_model(500, json.loads(line[6:]))
        if line.startswith(b"data: {"):
            chunk: dict[str, Any] = json.loads(line[6:])
            if "error" in chunk:
                raise ollama.refused_by_model(500, chunk["error"])
            yield chunk


def _said(choice: dict[str, Any]) -> tuple[str, list[dict[str, Any]] | None]:
    text = choice["text"] if "text" in choice else choice["delta"].get("content")
    logprobs = choice.get("logprobs")
    return text or "", logprobs["content"] if logprobs else None


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _digests() -> tuple[str, str]:
    digests = []
    for path in (packages.chat_weights(), packages.embedding_weights()):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0], digests[1]


def _model(name: str, path: Path, digest: str, family: str, size: str, level: str) -> dict[str, Any]:
    status = path.stat()
    return {
        "name": name,
        "model": name,
        "modified_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime)),
        "size": status.st_size,
        "digest": digest,
        "details": {
            "parent_model": "",
            "format": "gguf" if path.suffix == ".gguf" else "onnx",
            "family": family,
            "families": [family],
            "parameter_size": size,
            "quantization_level": level,
        },
    }


def _embedding_info() -> dict[str, Any]:
    return {
        "general.architecture": "bert",
        "bert.context_length": TOKENS,
        "bert.embedding_length": DIMENSIONS,
        "bert.pooling_type": 1,
    }


@web.middleware
async def in_ollamas_words(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every error as Ollama's one key."""
    try:
        return await handler(request)
    except ollama.Refused as refused:
        return web.json_response({"error": str(refused)}, status=refused.status)
    except web.HTTPRequestEntityTooLarge:
        return web.json_response({"error": "http: request body too large"}, status=400)
    except aiohttp.ClientConnectionError as error:
        return web.json_response({"error": f"the local model does not answer: {error}"}, status=500)


def create_app(model: str) -> web.Application:
    """model: the base URL of llama.cpp's server."""
    front = Front(model)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[in_ollamas_words])
    app.cleanup_ctx.append(front.running)
    app.add_routes(
        [
            web.get("/", front.root),
            web.post("/api/chat", front.chat),
            web.post("/api/generate", front.generate),
            web.post("/api/embed", front.embed),
            web.post("/api/embeddings", front.embeddings),
            web.get("/api/tags", front.tags),
            web.get("/api/ps", front.ps),
            web.post("/api/show", front.show),
            web.post("/api/pull", front.pull),
            web.get("/api/version", front.version),
        ]
    )
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True, help="base URL of llama.cpp's server")
    arguments = parser.parse_args()
    web.run_app(
        create_app(arguments.model),
        host="127.0.0.1",
        port=arguments.port,
        handler_cancellation=True,  # a client that hangs up ends the generation too
        shutdown_timeout=5,
        print=None,
        access_log=None,
    )
