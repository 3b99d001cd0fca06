"""The Ollama-compatible front, met by Ollama's own client, with the real model behind it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ollama
import pytest

from cli.embedded.ollama import DEFAULT_TOKENS, Chat, Message, Options
from tests.conftest import free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
pytest.importorskip("xllamacpp", reason="the local model is not installed")
pytest.importorskip("onnxruntime", reason="the local embedder is not installed")


class Urls(NamedTuple):
    model: str
    front: str


def fetch(url: str, body: object = None, timeout_s: float = 60) -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=timeout_s) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def answers(url: str) -> bool:
    try:
        return fetch(url, timeout_s=2)[0] == 200
    except (OSError, ValueError):
        return False


@pytest.fixture(scope="module")
def urls() -> Iterator[Urls]:
    model, front = free_port(), free_port()
    commands = [
        ["-m", "cli.embedded.model", "--port", str(model)],
        ["-m", "cli.embedded.front", "--port", str(front), "--model", f"http://127.0.0.1:{model}"],
    ]
    children = [
        subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL) for command in commands
    ]
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{model}/health"), 60)
        wait_until(lambda: answers(f"http://127.0.0.1:{front}/api/version"), 60)
        yield Urls(f"http://127.0.0.1:{model}", f"http://127.0.0.1:{front}")
    finally:
        for child in reversed(children):
            child.send_signal(signal.SIGTERM)
        codes = [child.wait(15) for child in children]
    assert codes == [0, 0]


def ask(**fields: object) -> dict[str, Any]:
    question = {"role": "user", "content": "Say hello in one word."}
    return {"model": "smollm2:135m", "messages": [question], "options": {"temperature": 0, "num_predict": 8}} | fields


def is_idle(urls: Urls) -> bool:
    return not any(slot["is_processing"] for slot in fetch(f"{urls.model}/slots")[1])


def test_ollamas_client_gets_an_answer_with_its_counts(urls: Urls) -> None:
    async def run() -> ollama.ChatResponse:
        answer: ollama.ChatResponse = await ollama.AsyncClient(urls.front).chat(**ask())
        return answer

    answer = asyncio.run(run())
    assert answer.message.content
    assert answer.done and answer.done_reason == "length"
    assert answer.eval_count == 8
    assert answer.prompt_eval_count is not None and answer.prompt_eval_count > 5
    assert answer.total_duration and answer.eval_duration


def test_a_streamed_answer_is_the_whole_one_in_pieces(urls: Urls) -> None:
    async def run() -> tuple[str, list[ollama.ChatResponse]]:
        client = ollama.AsyncClient(urls.front)
        whole = await client.chat(**ask())
        pieces = [piece async for piece in await client.chat(**ask(stream=True))]
        return whole.message.content or "", pieces

    whole, pieces = asyncio.run(run())
    assert "".join(piece.message.content or "" for piece in pieces) == whole
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert len(pieces) > 3
    assert pieces[-1].eval_count == 8


def test_a_schema_binds_the_answer(urls: Urls) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    status, body = fetch(
        f"{urls.front}/api/chat", ask(stream=False, format=schema, options={"temperature": 0, "num_predict": 64})
    )
    assert status == 200
    assert isinstance(json.loads(body["message"]["content"])["age"], int)
    assert body["done_reason"] == "stop"


def test_an_answer_without_a_limit_ends_all_the_same() -> None:
    bounded = Chat(messages=[Message(role="user", content="hi")])
    endless = Chat(messages=[Message(role="user", content="hi")], options=Options(num_predict=-2))
    assert bounded.upstream()[1]["max_tokens"] == DEFAULT_TOKENS
    assert endless.upstream()[1]["max_tokens"] == -1


def test_a_connection_that_the_model_has_ended_is_not_used_again(urls: Urls) -> None:
    """llama.cpp's server ends an idle connection after some seconds, and may do so while a request is on its way."""
    fetch(f"{urls.front}/api/chat", ask(stream=False))
    port = int(urls.model.rpartition(":")[2])
    assert not [line for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if _open_to(line, port)]


def _open_to(line: str, port: int) -> bool:
    """Whether a line of /proc/net/tcp is a client's established connection to this port."""
    _, _, remote, state, *_ = line.split()
    return state == "01" and int(remote.rpartition(":")[2], 16) == port


def test_stop_words_and_json_mode_reach_the_model(urls: Urls) -> None:
    fields = {"model": "smollm2:135m", "stream": False, "prompt": "Count: one, two,"}
    options = {"temperature": 0, "num_predict": 60, "stop": ["{"]}
    status, body = fetch(f"{urls.front}/api/generate", fields | {"format": "json", "options": options})
    assert (status, body["response"], body["done_reason"]) == (200, "", "stop")


def test_raw_prompts_are_completed_without_a_template(urls: Urls) -> None:
    fields = {"model": "smollm2:135m", "prompt": "The capital of France is", "raw": True, "stream": False}
    status, body = fetch(f"{urls.front}/api/generate", fields | {"options": {"temperature": 0, "num_predict": 3}})
    assert status == 200
    assert "Paris" in body["response"]
    assert body["prompt_eval_count"] == 5


def test_asking_nothing_loads_the_model(urls: Urls) -> None:
    status, body = fetch(f"{urls.front}/api/chat", {"model": "smollm2:135m"})
    assert (status, body["done"], body["done_reason"]) == (200, True, "load")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        pytest.param("chat", b"", 400, "missing request body", id="no body"),
        pytest.param("chat", b"{", 400, "Invalid JSON", id="not JSON"),
        pytest.param("chat", {"messages": []}, 400, "model is required", id="no model"),
        pytest.param("chat", ask(model="llama3"), 404, "model 'llama3' not found", id="unknown model"),
        pytest.param("chat", ask(tools=[{"type": "function"}]), 400, "does not support tools", id="tools"),
        pytest.param("chat", ask(think=True), 400, "does not support thinking", id="thinking"),
        pytest.param("chat", ask(model="all-minilm"), 400, '"all-minilm" does not support chat', id="embedder asked"),
        pytest.param("chat", ask(options={"temperature": "hot"}), 400, "options.temperature", id="wrong type"),
        pytest.param("chat", ask(messages=[{"role": "boss"}]), 400, "messages.0.role", id="unknown role"),
        pytest.param(
            "chat",
            ask(messages=[{"role": "user", "content": "what?", "images": ["aGk="]}]),
            400,
            "does not support images",
            id="images",
        ),
        pytest.param(
            "chat",
            ask(messages=[{"role": "user", "content": "word " * 5000}]),
            400,
            "the input length exceeds the context length",
            id="longer than the context",
        ),
        pytest.param("generate", {"model": "smollm2:135m", "prompt": "a", "suffix": "b"}, 400, "insert", id="insert"),
        pytest.param(
            "embed", {"model": "smollm2:135m", "input": "a"}, 400, "does not support embed", id="embed by chat"
        ),
        pytest.param("embed", {"model": "nomic", "input": "a"}, 404, "model 'nomic' not found", id="unknown embedder"),
        pytest.param("show", {"model": "nomic"}, 404, "model 'nomic' not found", id="show unknown"),
        pytest.param("pull", {"model": "nomic"}, 404, "model 'nomic' not found; this server has", id="pull unknown"),
        pytest.param("pull", {}, 400, "model is required", id="pull nothing"),
        pytest.param(
            "embed",
            {"model": "all-minilm", "input": "word " * 500, "truncate": False},
            400,
            "the input length exceeds the context length",
            id="embed too long",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_as_ollama_does(
    urls: Urls, path: str, body: object, status: int, message: str
) -> None:
    got, error = fetch(f"{urls.front}/api/{path}", body)
    assert got == status
    assert list(error) == ["error"]
    assert message in error["error"]


def test_vectors_know_what_is_near_and_do_not_depend_on_their_neighbours(urls: Urls) -> None:
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Shares fell in Tokyo."]

    async def run() -> tuple[ollama.EmbedResponse, ollama.EmbedResponse]:
        client = ollama.AsyncClient(urls.front)
        together = await client.embed("all-minilm", texts)
        return together, await client.embed("all-minilm-l6-v2", texts[0])

    together, alone = asyncio.run(run())
    cat, kitten, shares = together.embeddings
    assert sum(a * b for a, b in zip(cat, cat, strict=True)) == pytest.approx(1, abs=1e-5)
    near = sum(a * b for a, b in zip(cat, kitten, strict=True))
    far = sum(a * b for a, b in zip(cat, shares, strict=True))
    assert near > 0.5 > 0.2 > far
    assert list(alone.embeddings[0]) == list(cat)
    assert together.prompt_eval_count is not None and together.prompt_eval_count > 20


def test_fewer_dimensions_still_make_a_vector_of_length_one(urls: Urls) -> None:
    fields = {"model": "all-minilm", "input": ["a", "b"], "dimensions": 64}
    _, body = fetch(f"{urls.front}/api/embed", fields)
    assert [len(vector) for vector in body["embeddings"]] == [64, 64]
    assert sum(x * x for x in body["embeddings"][0]) == pytest.approx(1, abs=1e-5)


def test_the_older_embeddings_endpoint_gives_the_same_vector(urls: Urls) -> None:
    _, old = fetch(f"{urls.front}/api/embeddings", {"model": "all-minilm", "prompt": "hello"})
    _, new = fetch(f"{urls.front}/api/embed", {"model": "all-minilm", "input": "hello"})
    assert old["embedding"] == new["embeddings"][0]


def test_ollamas_client_reads_what_there_is(urls: Urls) -> None:
    client = ollama.Client(urls.front)
    assert {model.model for model in client.list().models} == {"smollm2:135m", "all-minilm-l6-v2:latest"}
    assert client.show("smollm2:135m").capabilities == ["completion"]
    assert (client.show("all-minilm").modelinfo or {})["bert.embedding_length"] == 384
    assert len(client.ps().models) == 2
    digests = {model.digest for model in client.list().models}
    assert all(digest is not None and len(digest) == 64 for digest in digests)


def test_pulling_what_is_here_succeeds_at_once(urls: Urls) -> None:
    client = ollama.Client(urls.front)
    sizes = {model.model: model.size for model in client.list().models}
    for name, listed in (("smollm2:135m", "smollm2:135m"), ("all-minilm", "all-minilm-l6-v2:latest")):
        assert client.pull(name).status == "success"
        steps = list(client.pull(name, stream=True))
        assert [step.completed for step in steps if step.digest] == [sizes[listed]]
        assert (steps[0].status, steps[-1].status) == ("pulling manifest", "success")


@pytest.mark.parametrize("stream", [pytest.param(True, id="streaming"), pytest.param(False, id="blocking")])
def test_a_client_that_hangs_up_ends_the_generation(urls: Urls, stream: bool) -> None:
    wait_until(lambda: is_idle(urls), 30)
    counting = "".join(f"{number}\n" for number in range(1, 40))  # raw, so that the model goes on counting
    fields = {"model": "smollm2:135m", "prompt": counting, "raw": True, "stream": stream}
    body = json.dumps(fields | {"options": {"temperature": 0, "repeat_penalty": 1}}).encode()
    host, port = urls.front.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        head = f"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        wait_until(lambda: not is_idle(urls), 10)
    wait_until(lambda: is_idle(urls), 3)


def test_more_answers_than_slots_wait_their_turn(urls: Urls) -> None:
    async def run() -> list[ollama.ChatResponse]:
        client = ollama.AsyncClient(urls.front)
        return await asyncio.gather(*(client.chat(**ask()) for _ in range(12)))

    assert [answer.eval_count for answer in asyncio.run(run())] == [8] * 12
