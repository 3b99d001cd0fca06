"""The providers that requests are sent to: one adapter a file, and the one dict that names them."""

from __future__ import annotations

import difflib
import pkgutil
import urllib.parse
from collections.abc import Mapping
from typing import cast

from mesh.errors import ConfigError
from mesh.settings import ProviderConfig
from workers.providers import anthropic, bedrock, ollama, openai
from workers.providers.adapter import Adapter, Answer, Call, Endpoint, Tally
from workers.providers.provider import Provider
from workers.transports import OpenTransport, Transport, Upstream, direct
from workers.transports.framing import ServerSentEvents

__all__ = ["ADAPTERS", "Adapter", "Answer", "Call", "Endpoint", "Provider", "Tally", "open_provider"]

ADAPTERS: Mapping[str, Adapter] = {
    "anthropic": anthropic,
    "bedrock": bedrock,
    "ollama": ollama,
    "openai": openai,
}


def open_provider(name: str, config: ProviderConfig, slots: int = 64) -> Provider:
    """A provider as config describes it. It connects at its first call and reads its key then.

    slots: how many calls may run at once.

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
    framing = adapter.DIRECT
    upstream = Upstream(name, url, config.timeouts.connect_s, framing or ServerSentEvents, config.home(), slots)

    def open_sdk() -> Transport:
        # An SDK is slow to import and large: only a worker that uses it loads it.
        return cast(OpenTransport, pkgutil.resolve_name(adapter.SDK))(upstream)

    is_direct = config.transport == "direct" and framing is not None
    return Provider(name, config, adapter, direct.open_transport(upstream) if is_direct else open_sdk(), open_sdk)
