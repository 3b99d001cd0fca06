"""Images by URL through the whole gateway: the door, a provider's worker, Celery's queue `system`, a host over TLS."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conftest import RedisServer, wait_until
from tests.stack import Process, Stack
from tests.standins.ollama import Server as Ollama
from tests.standins.openai import Server as OpenAI
from tests.workers.host import PDF, PNG, Host, answer, open_host, redirect

CDN = "https://cdn.example.com"
ANSWERS = {
    "/cat.png": answer(PNG),
    "/moved": redirect("/cat.png"),
    "/inner": redirect("https://10.0.0.7/cat.png"),
    "/paper.pdf": answer(PDF),
}
SETTINGS = """
provider_models: {bytes: [llava], alone: [lonely], urls: [gpt]}
providers:
  bytes: {adapter: ollama, base_url_env: OLLAMA_URL, private: true}
  alone: {adapter: ollama, base_url_env: OLLAMA_URL}
  urls: {adapter: openai, base_url_env: OPENAI_URL, private: true}
"""
FETCHING = """
fetch: {images: true, hosts: ["*.example.com"], wait_s: 20}
"""
CODE = "image_url_not_fetched"


@dataclass
class Gateway:
    stack: Stack
    web: Process
    host: Host
    ollama: Ollama
    openai: OpenAI

    def ask(self, model: str, *urls: str, private: bool = False, stream: bool = False) -> httpx.Response:
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        content = [{"type": "text", "text": "What is this?"}, *parts]
        return httpx.post(
            f"{self.web.url}/v1/chat/completions",
            json={"model": model, "stream": stream, "messages": [{"role": "user", "content": content}]},
            headers={"Authorization": f"Bearer {self.stack.key(private=private)}"},
            timeout=30,
        )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("fetching")
    off = folder / "off"
    off.mkdir()
    (folder / "gateway-settings.yaml").write_text(SETTINGS + FETCHING)
    (off / "gateway-settings.yaml").write_text(SETTINGS)
    redis = RedisServer(folder)
    redis.start()
    ollama, openai, loop = Ollama(), OpenAI(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    for server in (ollama, openai):
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    environment = {"OLLAMA_URL": ollama.url, "OPENAI_URL": f"{openai.url}/v1"}
    stack = Stack(redis, folder, environment, ("bytes", "alone", "urls"), folder)
    try:
        with open_host(folder, ANSWERS) as host:
            web = stack.start_web()
            stack.start_worker(queues="tasks.bytes,tasks.urls")
            stack.start_worker(queues="tasks.alone", GATEWAY_CONFIG=str(off))
            start_system(stack, host)
            yield Gateway(stack, web, host, ollama, openai)
            stack.stop()
    finally:
        stack.stop()
        for server in (ollama, openai):
            asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        redis.stop()


def start_system(stack: Stack, host: Host) -> None:
    """Production's application, to which the host on loopback was handed as the internet."""
    command = "celery -A tests.workers.system_app worker -P threads -c 4 -Q system -l WARNING"
    command += " --without-gossip --without-mingle --without-heartbeat"
    stack._start("system", command.split(), {"TEST_HOST_CA": str(host.ca), "TEST_HOST_PORT": str(host.port)})


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("paths", [["/cat.png"], ["/moved"], ["/cat.png", "/moved", "/cat.png"]])
def test_a_provider_of_bytes_is_sent_what_lies_behind_the_url(gateway: Gateway, paths: list[str], stream: bool) -> None:
    response = gateway.ask("llava", *(CDN + path for path in paths), stream=stream)
    assert response.status_code == 200, response.text
    sent = gateway.ollama.bodies[-1]["messages"][0]["images"]
    assert sent == [base64.b64encode(PNG).decode()] * len(paths)
    assert not list(gateway.stack.client().scan_iter("gw:fetch*"))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "why"),
    [
        pytest.param("/dog.png", "status 404", id="not there"),
        pytest.param("/inner", "not an address", id="a redirect inside"),
        pytest.param("/paper.pdf", "none of image/png", id="no image"),
    ],
)
def test_what_cannot_be_fetched_names_its_place(gateway: Gateway, path: str, why: str, stream: bool) -> None:
    asked = len(gateway.ollama.bodies)
    error = error_of(gateway.ask("llava", f"{CDN}/cat.png", CDN + path, stream=stream))
    assert (error["type"], error["code"]) == ("invalid_request_error", CODE)
    assert error["param"] == "messages[0].content[2].image_url"
    assert why in error["message"] and "data URL" in error["message"] and "10.0.0.7" not in error["message"]
    assert len(gateway.ollama.bodies) == asked


@pytest.mark.parametrize("model", ["llava", "gpt-4o"])
def test_for_a_private_request_nothing_is_fetched_by_anybody(gateway: Gateway, model: str) -> None:
    heard, sent = len(gateway.host.heard), len(gateway.openai.bodies) + len(gateway.ollama.bodies)
    error = error_of(gateway.ask(model, f"{CDN}/cat.png", private=True))
    assert (error["code"], error["param"]) == (CODE, "messages[0].content[1].image_url")
    assert "private" in error["message"] and "data URL" in error["message"]
    assert len(gateway.host.heard) == heard
    assert len(gateway.openai.bodies) + len(gateway.ollama.bodies) == sent


def test_where_fetching_is_off_a_url_is_refused_with_what_to_do(gateway: Gateway) -> None:
    heard = len(gateway.host.heard)
    error = error_of(gateway.ask("lonely", f"{CDN}/cat.png"))
    assert (error["code"], error["param"]) == (CODE, "messages[0].content[1].image_url")
    assert "fetch.images" in error["message"] and "data URL" in error["message"]
    assert len(gateway.host.heard) == heard


@pytest.mark.parametrize("model", ["llava", "lonely"])
def test_bytes_need_nobody_to_fetch_them(gateway: Gateway, model: str) -> None:
    given = base64.b64encode(PNG).decode()
    response = gateway.ask(model, f"data:image/png;base64,{given}", private=model == "llava")
    assert response.status_code == 200, response.text
    assert gateway.ollama.bodies[-1]["messages"][0]["images"] == [given]


def test_a_provider_that_fetches_itself_is_sent_the_url(gateway: Gateway) -> None:
    heard = len(gateway.host.heard)
    response = gateway.ask("gpt-4o", f"{CDN}/cat.png")
    assert response.status_code == 200, response.text
    assert gateway.openai.bodies[-1]["messages"][0]["content"][1]["image_url"]["url"] == f"{CDN}/cat.png"
    assert len(gateway.host.heard) == heard


def test_what_may_be_fetched_is_changed_without_a_restart(gateway: Gateway) -> None:
    file = gateway.stack.folder / "gateway-settings.yaml"
    before = file.read_text()

    def refused() -> bool:
        response = gateway.ask("llava", f"{CDN}/cat.png")
        return response.status_code == 400 and "larger than 1000 bytes" in error_of(response)["message"]

    assert not refused()
    try:
        file.write_text(before.replace("wait_s: 20", "wait_s: 20, max_bytes: 1000"))
        wait_until(refused, 10, "worker-system goes by the new limit")
    finally:
        file.write_text(before)
    wait_until(lambda: not refused(), 10, "and by the old one again")


def test_no_log_tells_which_images_were_asked_for(gateway: Gateway) -> None:
    assert gateway.ask("llava", f"{CDN}/secret-path.png").status_code == 400
    assert all("secret-path" not in process.log.read_text() for process in gateway.stack.processes)


def test_a_system_worker_that_stops_ends_cleanly_and_the_next_one_goes_on(gateway: Gateway) -> None:
    [first] = [process for process in gateway.stack.processes if process.name == "system"]
    assert first.terminate() == 0
    start_system(gateway.stack, gateway.host)
    assert gateway.ask("llava", f"{CDN}/cat.png").status_code == 200
