"""LangChain's standard chat-model tests; run by a Python that has them, told of the gateway by its environment."""

from __future__ import annotations

import base64
import io
import os
import wave
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"


def _silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 8, "NONE", ""))
        sound.writeframes(bytes(16))
    return file.getvalue()


FILES = {
    "png": base64.b64decode(DOT),
    "wav": _silence(),
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n",
}


@pytest.fixture(autouse=True)
def no_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests take a picture, a sound and a document from the internet; here they come from this file."""

    def get(url: str, **_: Any) -> httpx.Response:
        return httpx.Response(200, content=FILES[url.rpartition(".")[2]])

    monkeypatch.setattr(httpx, "get", get)


class TestChat(ChatModelIntegrationTests):
    """All that a chat model can be claimed to do."""

    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_image_tool_message = True
    supports_pdf_inputs = True
    supports_pdf_tool_message = True
    supports_audio_inputs = True
    supports_anthropic_inputs = True
    model_override_value = os.environ["OTHER_MODEL"]

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": os.environ["MODEL"], "stream_usage": True}


class TestByTool(TestChat):
    """The same, with structured output as the arguments of a tool that must be called."""

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}
