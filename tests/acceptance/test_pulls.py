"""Models that a provider fetches: over the door, a real worker and a server with Ollama's wire; and who is well."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.acceptance.gateway import asked, eventually, refused
from tests.conftest import RedisServer
from tests.stack import ROOT, Process, Stack
from tests.standins import Fault
from tests.standins.ollama import FILES, Server

PULL, PULLS = "/v1/models/pull", "/v1/models/pulls"
WHOLE = sum(size for _, size in FILES)
QUEUES = "system,tasks.ollama,tasks.remote"
SETTINGS = """
provider_models: {ollama: [llama], remote: [gpt-]}
providers:
  ollama: {adapter: ollama, base_url_env: OLLAMA_URL}
  remote: {adapter: openai, base_url: "http://127.0.0.1:1/v1"}
  closed: {adapter: ollama, enabled: false}
"""
_LOOK_S = 0.01


class Library(Server):
    """An Ollama whose pulls go as far as a test lets them."""

    steps = 10**9

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def model_list(self) -> tuple[str, dict[str, Any]]:
        path, listed = super().model_list()
        more = [{**listed["models"][0], "name": name, "model": name} for name in self.fetched]
        return path, {"models": [*listed["models"], *more]}

    async def _stream(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        if fault is not None:
            return await super()._stream(request, body, fault)
        response = web.StreamResponse(headers={"Content-Type": self.content_type})
        await response.prepare(request)
        for number, frame in enumerate(self.frames(request.path, body), 1):
            while number > self.steps:  # noqa: ASYNC110  # a test in another thread lets it go
                await asyncio.sleep(_LOOK_S)
            await response.write(frame)
        self.fetched.append(body["model"])
        await response.write_eof()
        return response


@dataclass
class Gateway:
    stack: Stack
    url: str
    key: str  # an administrator's
    library: Library
    worker: Process

    def http(self, key: str = "") -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key or self.key}"}, timeout=30)

    def pull(self, model: str) -> dict[str, Any]:
        with self.http() as http:
            found: dict[str, Any] = asked(http.post(PULL, json={"provider": "ollama", "model": model}), 202)
            return found

    def seen(self, model: str) -> dict[str, Any]:
        with self.http() as http:
            rows = asked(http.get(PULLS))["data"]
        (row,) = [row for row in rows if row["model"] == model]
        return dict(row)

    def reaches(self, model: str, *states: str) -> dict[str, Any]:
        found: dict[str, Any] = eventually(lambda: self.seen(model), lambda row: row["state"] in states, 15)
        return found

    def reaches_bytes(self, model: str, completed: int) -> dict[str, Any]:
        found: dict[str, Any] = eventually(lambda: self.seen(model), lambda row: row["completed_bytes"] == completed)
        return found

    def pulled(self, model: str) -> int:
        """How often the provider was told to fetch it."""
        return len([body for body in self.library.bodies if body["model"] == model])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("pulls")
    (folder / "gateway-settings.yaml").write_text(SETTINGS)
    redis = RedisServer(folder)
    redis.start()
    library, loop = Library(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(library.start(), loop).result(10)
    stack = Stack(redis, folder, {"OLLAMA_URL": library.url}, ("ollama", "remote"), folder)
    try:
        url = stack.start_web().url
        yield Gateway(stack, url, stack.key(), library, stack.start_worker(queues=QUEUES))
    finally:
        stack.stop()
        asyncio.run_coroutine_threadsafe(library.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        redis.stop()


@pytest.fixture
def model(gateway: Gateway) -> Iterator[str]:
    """A model of this test's own, at a provider that fetches whatever it is told to."""
    yield f"llama-{secrets.token_hex(4)}"
    gateway.library.fault, gateway.library.steps = None, 10**9


def heard(gateway: Gateway, name: str) -> dict[str, Any]:
    """A provider as /providers shows it once its worker has asked it for its models."""

    def row() -> dict[str, Any]:
        with gateway.http() as http:
            return {each["name"]: each for each in asked(http.get("/providers"))["data"]}[name]

    found: dict[str, Any] = eventually(row, lambda row: row["listed"] or row["last_error"])
    return found


def test_a_pull_tells_how_far_it_is_until_the_model_is_there(gateway: Gateway, model: str) -> None:
    gateway.library.steps = 3
    first = gateway.pull(model)
    assert (first["object"], first["state"], first["completed_bytes"], first["error"]) == (
        "model.pull",
        "queued",
        0,
        None,
    )
    running = gateway.reaches_bytes(model, 2_000)
    assert (running["id"], running["state"], running["total_bytes"]) == (first["id"], "running", 4_000)
    assert running["status"] == f"pulling {FILES[0][0]}" and running["started"] and running["ended"] is None

    gateway.library.steps = 10**9
    done = gateway.reaches(model, "done")
    assert (done["completed_bytes"], done["total_bytes"], done["status"]) == (WHOLE, WHOLE, "success")
    assert done["created"] <= done["started"] <= done["ended"] and done["error"] is None
    with gateway.http() as http:
        assert model in {each["id"] for each in asked(http.get("/v1/models"))["data"]}


def test_a_model_that_is_asked_for_twice_is_fetched_once(gateway: Gateway, model: str) -> None:
    gateway.library.steps = 3
    first = gateway.pull(model)
    gateway.reaches(model, "running")
    second = gateway.pull(model)
    assert (second["id"], second["state"]) == (first["id"], "running")
    gateway.library.steps = 10**9
    gateway.reaches(model, "done")
    assert gateway.pulled(model) == 1


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        pytest.param(
            Fault("error inside", error="pull model manifest: file does not exist", after=1),
            "model_not_found", "file does not exist", id="no such model",
        ),
        pytest.param(Fault("error inside", error="no space left"), "provider_unavailable", "no space", id="an error"),
        pytest.param(Fault("cut", after=3), "provider_broke_off", "closed the connection", id="cut"),
        pytest.param(Fault("silent end", after=3), "provider_broke_off", "before it had", id="a silent end"),
        pytest.param(Fault("garbage", after=2), "provider_broke_off", "not what its API", id="garbage"),
        pytest.param(Fault("status", 503), "provider_unavailable", "the reason for 503", id="status 503"),
        pytest.param(Fault("reset"), "provider_unavailable", "cannot be reached", id="reset"),
    ],
)  # fmt: skip
def test_a_pull_that_fails_says_why_and_may_be_tried_again(
    gateway: Gateway, model: str, fault: Fault, code: str, message: str
) -> None:
    gateway.library.fault = fault
    gateway.pull(model)
    failed = gateway.reaches(model, "failed", "done")
    assert failed["error"].keys() == {"message", "type", "param", "code"}
    assert failed["error"]["code"] == code and message in failed["error"]["message"]
    assert failed["ended"]

    gateway.library.fault = None
    assert gateway.pull(model)["error"] is None
    assert gateway.reaches(model, "failed", "done")["state"] == "done"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        pytest.param({"provider": "nobody", "model": "a"}, "provider", "provider_not_found", id="unknown"),
        pytest.param({"provider": "closed", "model": "a"}, "provider", "provider_not_found", id="not enabled"),
        pytest.param({"provider": "remote", "model": "a"}, "provider", "unsupported_provider", id="fetches none"),
        pytest.param({"provider": "ollama"}, "model", "missing_required_parameter", id="no model"),
        pytest.param({"provider": "ollama", "model": ""}, "model", "empty_string", id="empty"),
        pytest.param({"provider": "ollama", "model": "a\nb"}, "model", "invalid_value", id="two lines"),
        pytest.param({"provider": "ollama", "model": "a" * 257}, "model", "string_above_max_length", id="long"),
        pytest.param({"provider": ["ollama"], "model": "a"}, "provider", "invalid_type", id="a list"),
        pytest.param({"provider": "ollama", "model": "a", "insecure": True}, "insecure", "invalid_value", id="more"),
    ],
)
def test_what_cannot_be_pulled_is_refused_by_its_place(gateway: Gateway, body: Any, param: str, code: str) -> None:
    assert heard(gateway, "remote")["pulls"] is False
    with gateway.http() as http:
        error = refused(http.post(PULL, json=body), 400)
    assert (error["param"], error["code"]) == (param, code)


def test_only_administrators_pull(gateway: Gateway, model: str) -> None:
    with gateway.http(gateway.stack.key("acme", "user")) as http:
        refused(http.post(PULL, json={"provider": "ollama", "model": model}), 403)
        refused(http.get(PULLS), 403)
        http.headers["Authorization"] = "Bearer gw-1-nobody"
        refused(http.post(PULL, json={"provider": "ollama", "model": model}), 401)
    assert gateway.pulled(model) == 0


def test_an_operator_sees_which_provider_is_well(gateway: Gateway) -> None:
    well, ill = heard(gateway, "ollama"), heard(gateway, "remote")
    assert well["pulls"] is True
    assert well["listed"] and (well["last_error"] is None or well["last_error"]["at"] <= well["listed"])
    assert ill["listed"] is None and ill["last_error"]["at"]
    assert (ill["last_error"]["kind"], ill["last_error"]["code"]) == ("ProviderUnavailable", "provider_unavailable")
    assert "cannot be reached" in ill["last_error"]["message"] and "127.0.0.1" not in ill["last_error"]["message"]


def command(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "GATEWAY_URL": gateway.url, "GATEWAY_API_KEY": gateway.key}
    environ |= {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "models", *arguments],
        env=environ, cwd=Path("/"), capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_command_lists_and_pulls(gateway: Gateway, model: str) -> None:
    heard(gateway, "ollama")
    listed = command(gateway)
    assert listed.returncode == 0, listed.stderr
    rows = [line.split()[:2] for line in listed.stdout.splitlines()]
    assert rows[1:3] == [["ollama/one", "ollama"], ["ollama/two", "ollama"]]

    pulled = command(gateway, "pull", model, "--provider", "ollama")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.splitlines()[-1] == f"ollama has {model}"
    assert gateway.seen(model)["state"] == "done"

    gateway.library.fault = Fault("error inside", error="no space left")
    failed = command(gateway, "pull", f"{model}-x")
    assert (failed.returncode, failed.stderr) == (5, "gateway: no space left (provider_unavailable)\n")


@pytest.mark.parametrize("ends", ["terminated", "killed"])
def test_a_pull_outlives_its_worker(gateway: Gateway, model: str, ends: str) -> None:
    gateway.library.steps = 3
    gateway.pull(model)
    gateway.reaches_bytes(model, 2_000)
    if ends == "terminated":
        assert gateway.worker.terminate() == 0
        assert gateway.seen(model)["state"] == "queued"
    else:
        gateway.worker.kill()
        assert gateway.seen(model)["state"] == "running"
        client: Any = gateway.stack.client()
        client.zadd("gw:pulls:open", {gateway.seen(model)["id"]: 0})  # its lease is over
    gateway.library.steps = 10**9
    gateway.worker = gateway.stack.start_worker(queues=QUEUES)
    assert gateway.reaches(model, "done", "failed")["state"] == "done"
    assert gateway.pulled(model) == 2
