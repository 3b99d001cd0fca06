"""Vercel's AI SDK: text, tools and objects, whole and streamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ecosystem import suites
from tests.ecosystem.gateway import PROVIDERS, Gateway
from tests.ecosystem.suites import Cannot

CANNOT = (
    Cannot(
        tests="*.* that must be called",
        words="ollama cannot do tool_choice",
        why="Ollama cannot be told to call a tool",
        providers=("ollama",),
    ),
    Cannot(
        tests="*.this tool that must be called",
        words="did not contain a call to the required tool",
        why="where tool_choice is dropped the model chooses, and it chose the other tool; the SDK notices",
        providers=("ollama-dropping",),
    ),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_vercels_ai_sdk_works(provider: str, gateway: Gateway, node: Path, tmp_path: Path) -> None:
    found = suites.of_node(node, "ai_sdk.js", gateway.environment(provider), tmp_path)
    suites.judge(found, provider, CANNOT)
