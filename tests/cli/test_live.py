"""Which providers `gateway up` makes live."""

from __future__ import annotations

import asyncio

import pytest

from cli import live
from mesh.settings import parse_config

CONFIG = parse_config(
    """
provider_models: {cloud: [gpt], ollama: [llama], vllm: [qwen]}
providers:
  cloud: {adapter: openai, base_url: "https://cloud.example/v1", api_key_env: CLOUD_KEY}
  ollama: {adapter: ollama, base_url: "http://127.0.0.1:11434", base_url_env: OLLAMA_HOST, private: true}
  vllm: {adapter: openai, base_url: "http://vllm:8000/v1", private: true, enabled: false}
"""
)
FRONT = "http://127.0.0.1:4711"


def find(environ: dict[str, str], *, front: str | None = FRONT, alive: tuple[str, ...] = ()) -> live.Live:
    async def answers(url: str) -> bool:
        return url in alive

    return asyncio.run(live.find(CONFIG, environ, front=front, answers=answers))


@pytest.mark.parametrize(
    ("environ", "front", "alive", "names", "embedded"),
    [
        pytest.param({}, FRONT, (), ["ollama"], "ollama", id="only the local model"),
        pytest.param({}, None, (), [], None, id="nothing at all"),
        pytest.param({"CLOUD_KEY": "k"}, FRONT, (), ["cloud", "ollama"], "ollama", id="a key"),
        pytest.param({"CLOUD_KEY_FILE": "/run/k"}, None, (), ["cloud"], None, id="a key in a file"),
        pytest.param({"CLOUD_KEY": ""}, None, (), [], None, id="an empty key"),
        pytest.param(
            {"OLLAMA_HOST": "box"}, FRONT, ("http://box:11434/api/version",), ["ollama"], None, id="a real Ollama"
        ),
        pytest.param({"OLLAMA_HOST": "box"}, FRONT, (), ["ollama"], "ollama", id="an Ollama that does not answer"),
        pytest.param({"OLLAMA_HOST": "box"}, None, (), [], None, id="no Ollama and no local model"),
    ],
)
def test_a_provider_is_live_when_it_can_answer(
    environ: dict[str, str], front: str | None, alive: tuple[str, ...], names: list[str], embedded: str | None
) -> None:
    found = find(environ, front=front, alive=alive)
    assert found.names == names
    assert found.embedded == embedded


def test_the_worker_is_told_where_ollama_is() -> None:
    assert find({}).environ == {"OLLAMA_HOST": FRONT}
    alive = ("http://127.0.0.1:9999/api/version",)
    assert find({"OLLAMA_HOST": "0.0.0.0:9999"}, alive=alive).environ == {"OLLAMA_HOST": "http://127.0.0.1:9999"}


def test_no_note_shows_a_key() -> None:
    assert not any("hush" in note for note in find({"CLOUD_KEY": "hush"}).notes)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("box", "http://box:11434"),
        ("box:80", "http://box:80"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("https://box", "https://box"),
        ("http://box:1234/", "http://box:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:80", "http://[::1]:80"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(host: str, url: str) -> None:
    assert live.base_url(host) == url
