"""Which providers are live: those whose key is in the environment, and an Ollama, real or embedded."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping

from mesh.settings import Config, ProviderConfig

OLLAMA_PORT = 11434


@dataclasses.dataclass(frozen=True)
class Live:
    """What was found.

    names: the live providers.
    embedded: the one of them that the local model serves.
    real: the base URL of an Ollama that answers.
    environ: addresses for the worker.
    notes: sentences for the person at the terminal.
    """

    names: list[str]
    embedded: str | None
    real: str | None
    environ: dict[str, str]
    notes: list[str]


async def find(
    config: Config,
    environ: Mapping[str, str],
    *,
    front: str | None,
    answers: Callable[[str], Awaitable[bool]],
) -> Live:
    """front: the embedded model's URL, None for no embedded model; answers: whether a URL answers with 200."""
    names: list[str] = []
    notes: list[str] = []
    embedded = real = None
    addresses: dict[str, str] = {}
    for name, provider in config.providers.items():
        if not provider.enabled:
            continue
        if provider.adapter == "ollama":
            given = environ.get(provider.base_url_env, "")
            if given and await answers(f"{base_url(given)}/api/version"):
                real = addresses[provider.base_url_env] = base_url(given)
                notes.append(f"{name} is live: Ollama answers at {real}")
                names.append(name)
                continue
            if given:
                notes.append(f"{provider.base_url_env} is set, but no Ollama answers at {base_url(given)}")
            if front is not None and embedded is None and provider.base_url_env:
                embedded = name
                addresses[provider.base_url_env] = front
                names.append(name)
        elif provider.credentials_env:
            if found := [variable for variable in provider.credentials_env if environ.get(variable)]:
                notes.append(f"{name} is live: {found[0]} is set")
                names.append(name)
        elif not provider.api_key_env:
            notes.append(f"{name} is live: {provider.url(environ)} needs no key")
            names.append(name)
        elif _has_key(provider, environ):
            notes.append(f"{name} is live: {provider.api_key_env} is set")
            names.append(name)
    return Live(names, embedded, real, addresses, notes)


def base_url(host: str) -> str:
    """OLLAMA_HOST as a URL; it may be a bare host or host:port."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "http", host
    rest = rest.rstrip("/").replace("0.0.0.0", "127.0.0.1")
    has_port = rest.rpartition("]")[2].rpartition(":")[1] or separator
    return f"{scheme}://{rest}" if has_port else f"{scheme}://{rest}:{OLLAMA_PORT}"


def _has_key(provider: ProviderConfig, environ: Mapping[str, str]) -> bool:
    return bool(environ.get(provider.api_key_env) or environ.get(f"{provider.api_key_env}_FILE"))
