"""LangChain's standard chat-model tests, with LangChain's own client of OpenAI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ecosystem import suites
from tests.ecosystem.gateway import PROVIDERS, Gateway
from tests.ecosystem.suites import Cannot

URLS = "the gateway does not fetch them"
NO_CHOICE = "Ollama cannot be told to call a tool; ask its lane to drop what it cannot do, as the last provider here"
ONE_BY_ONE = f"LangChain forbids parallel calls when a tool stands for the answer. {NO_CHOICE}"

CANNOT = (
    Cannot(
        tests="*.test_stream_time",
        words="VCR not set up",
        why="it compares the time of a recorded answer; `scripts/bench` measures ours",
    ),
    Cannot(
        tests="*.test_image_tool_message",
        words="Invalid value: 'image_url'. Supported values are: 'text'.",
        why="the result of a tool is text in OpenAI's chat completions, and refused in OpenAI's words",
    ),
    Cannot(
        tests="*.test_pdf_tool_message",
        words="Invalid value: 'file'. Supported values are: 'text'.",
        why="the result of a tool is text in OpenAI's chat completions, and refused in OpenAI's words",
    ),
    Cannot(
        tests="*.test_image_inputs",
        words=URLS,
        why="its last request names an image by URL: the provider wants bytes, and fetching is off by default",
        providers=("bedrock", "ollama", "ollama-dropping"),
    ),
    Cannot(
        tests="*.test_audio_inputs",
        words="does not take content of type input_audio",
        why="the provider hears nothing",
        providers=("anthropic", "ollama", "ollama-dropping"),
    ),
    Cannot(
        tests="*.test_pdf_inputs",
        words="does not take content of type file",
        why="Ollama reads no documents",
        providers=("ollama", "ollama-dropping"),
    ),
    *(
        Cannot(tests=tests, words="ollama cannot do tool_choice", why=NO_CHOICE, providers=("ollama",))
        for tests in (
            "*.test_tool_calling*",
            "*.test_bind_runnables_as_tools",
            "*.test_tool_choice",
            "*.test_structured_few_shot_examples",
            "*.test_unicode_tool_call_integration",
        )
    ),
    *(
        Cannot(tests=tests, words="ollama cannot do parallel_tool_calls", why=ONE_BY_ONE, providers=("ollama",))
        for tests in ("TestByTool.test_structured_output*", "TestChat.test_structured_output_pydantic_2_v1")
    ),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_langchains_standard_tests_pass(provider: str, gateway: Gateway, python: Path, tmp_path: Path) -> None:
    found = suites.of_python(python, "standard_chat_model.py", gateway.environment(provider), tmp_path)
    suites.judge(found, provider, CANNOT)
