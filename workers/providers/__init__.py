"""The providers that requests are sent to: one adapter a file, and the one dict that names them."""

from __future__ import annotations

import dataclasses
import difflib
import pkgutil
import urllib.parse
from collections.abc import Callable, Mapping
from typing import cast

from mesh.errors import ConfigError
from mesh.settings import Config, ProviderConfig, parse_config
from routing.health import Room
from workers.providers import anthropic, bedrock, ollama, openai
from workers.providers.adapter import Adapter, Answer, Call, Endpoint, Tally
from workers.providers.provider import Provider
from workers.transports import Heard, OpenTransport, Request, Transport, Upstream, direct
from workers.transports.framing import ServerSentEvents
from workers.transports.room import room_in

__all__ = ["ADAPTERS", "Adapter", "Answer", "Call", "Endpoint", "Provider", "Tally", "open_provider", "parse", "place"]

ADAPTERS: Mapping[str, Adapter] = {
    "anthropic": anthropic,
    "bedrock": bedrock,
    "ollama": ollama,
    "openai": openai,
}


def parse(text: str, name: str) -> Config:
    """Our configuration, with what only adapters can say of their providers checked too.

    Raises:
        ConfigError: with the file's name and each place that is wrong.
    """
    config = parse_config(text, name)
    for provider, stanza in config.providers.items():
        try:
            place(provider, stanza)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
    return config


def place(name: str, config: ProviderConfig) -> tuple[Adapter, str]:
    """A provider's adapter, and its whole URL.

    Raises:
        ConfigError: there is no such adapter, or its URL is none.
    """
    adapter = ADAPTERS.get(config.adapter)
    if adapter is None:
        near = difflib.get_close_matches(config.adapter, ADAPTERS, 1)
        raise ConfigError(
            f"providers.{name}.adapter: no adapter {config.adapter!r}{f', did you mean {near[0]}?' if near else ''}"
        )
    try:
        url = adapter.url(config.url() or adapter.DEFAULT_URL)
        parts = urllib.parse.urlsplit(url)
        usable = not url or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or parts.username or parts.query or parts.fragment:
        raise ConfigError(f"providers.{name}.base_url: expected http(s)://host[:port][/path], no user, no query")
    return adapter, url


def open_provider(
    name: str, config: ProviderConfig, slots: int = 64, heard: Callable[[str, Room], None] | None = None
) -> Provider:
    """A provider as config describes it. It connects at its first call and reads its key then.

    slots: how many calls may run at once.
    heard: told what room the provider says is left for a model, where it says so.

    Raises:
        ConfigError: there is no such adapter, or its URL is none.
    """
    adapter, url = place(name, config)
    framing = adapter.DIRECT
    upstream = Upstream(name, url, config.timeouts.connect_s, framing or ServerSentEvents, config.home(), slots)
    if heard is not None:
        upstream = dataclasses.replace(upstream, heard=_listening(adapter, heard))

    def open_sdk() -> Transport:
        # An SDK is slow to import and large: only a worker that uses it loads it.
        return cast(OpenTransport, pkgutil.resolve_name(adapter.SDK))(upstream)

    is_direct = config.transport == "direct" and framing is not None
    return Provider(name, config, adapter, direct.open_transport(upstream) if is_direct else open_sdk(), open_sdk)


def _listening(adapter: Adapter, heard: Callable[[str, Room], None]) -> Heard | None:
    """What reads the room that is left from an answer's headers; None where the provider never tells it."""
    names = adapter.ROOM
    if names is None:
        return None

    def listen(request: Request, headers: Mapping[str, str]) -> None:
        if request.body is not None and (room := room_in(headers, names)) is not None:
            heard(str(request.body.get("model", "")), room)

    return listen
