"""The gateway as it is set up for the clients, and what they are told of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mesh.settings import Config, LaneLimits, ProviderConfig
from tests.standins import StandIn
from workers.providers import ADAPTERS

# An account each, and one more where clients ask for much that the provider cannot do: it is told to leave that out.
DROPPING = {"ollama-dropping": "ollama"}
PROVIDERS = (*ADAPTERS, *DROPPING)

# By their makers' names, because adapters tell by them what a model can do; else by the provider's.
MODELS = {
    "anthropic": "claude-sonnet-4-6",
    "bedrock": "anthropic.claude-sonnet-4-6",
    "ollama": "llama3.2",
    "openai": "gpt-4.1-mini",
}


def model(provider: str) -> str:
    return MODELS.get(provider, f"{provider}-one")


def config(stand_ins: Mapping[str, StandIn]) -> Config:
    def account(provider: str) -> ProviderConfig:
        adapter = DROPPING.get(provider, provider)
        url = stand_ins[adapter].url + stand_ins[adapter].base
        return ProviderConfig(
            adapter=adapter, base_url=url, unsupported_parameters="drop" if provider in DROPPING else "error"
        )

    return Config(
        provider_models={name: [model(name)] for name in PROVIDERS},
        providers={name: account(name) for name in PROVIDERS},
        lanes=LaneLimits(max_attempts=1),
    )


@dataclass(frozen=True)
class Gateway:
    url: str  # with /v1
    key: str

    def environment(self, provider: str) -> dict[str, str]:
        """All that a client is told."""
        return {
            "PATH": os.environ["PATH"],
            "OPENAI_BASE_URL": self.url,
            "OPENAI_API_KEY": self.key,
            "MODEL": model(provider),
            "OTHER_MODEL": f"{model(provider)}-other",
            "LANGSMITH_TRACING": "false",
        }
