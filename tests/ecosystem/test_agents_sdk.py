"""OpenAI's Agents SDK over chat completions: tools, types, handing over, whole and streamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ecosystem import suites
from tests.ecosystem.gateway import PROVIDERS, Gateway
from tests.ecosystem.suites import Cannot

CANNOT = (
    Cannot(
        tests="*.test_an_agent_must_call_a_tool*",
        words="ollama cannot do tool_choice",
        why="Ollama cannot be told to call a tool",
        providers=("ollama",),
    ),
    Cannot(
        tests="*.test_an_agent_must_call_a_tool*",
        words="times=0",
        why="where tool_choice is dropped the model chooses, and it chose the other tool",
        providers=("ollama-dropping",),
    ),
    Cannot(
        tests="*.test_an_agent_calls_one_tool_at_a_time*",
        words="ollama cannot do parallel_tool_calls",
        why="Ollama cannot be told to call one tool only",
        providers=("ollama",),
    ),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_agents_do_their_work(provider: str, gateway: Gateway, python: Path, tmp_path: Path) -> None:
    found = suites.of_python(python, "agents_sdk.py", gateway.environment(provider), tmp_path)
    suites.judge(found, provider, CANNOT)
