"""The running gateway as a client meets it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import httpx
import openai

from tests.acceptance.upstream import Part, Upstream
from tests.conftest import RedisServer
from tests.stack import Process, Stack

CHAT = "/v1/chat/completions"
ENDED = {"done", "failed", "cancelled", "expired"}
FOUR_KEYS = {"message", "type", "param", "code"}

SETTINGS = """
provider_models:
  openai: [gpt-, text-embedding]
  second: [second-]
  inner: [inner-]
  hasty: [hasty-]
  idle: [idle-]
  down: [down-]
  closed: [closed-]
  scarce: [scarce-]
providers:
  openai: {adapter: openai, base_url_env: UPSTREAM_URL, models: [gpt-4o-mini]}
  second: {adapter: openai, base_url_env: UPSTREAM_URL}
  inner: {adapter: openai, base_url_env: UPSTREAM_URL, private: true}
  hasty: {adapter: openai, base_url_env: UPSTREAM_URL, timeouts: {first_token_s: 0.5, silence_s: 0.5, total_s: 0.8}}
  idle: {adapter: openai, base_url_env: UPSTREAM_URL}
  down: {adapter: openai, base_url: "http://127.0.0.1:1/v1"}
  closed: {adapter: openai, enabled: false}
  scarce: {adapter: openai, base_url_env: UPSTREAM_URL}
limits:
  models: {gpt-4-rare: {requests_per_minute: 4}, gpt-4-rationed: {requests_per_minute: 1}}
  providers: {scarce: {requests_per_minute: 4}}
models:
  gpt-4-paid-a: &paid {input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.60}
  gpt-4-paid-b: *paid
  gpt-4-paid-c: *paid
  gpt-4-paid-d: *paid
  gpt-4-paid-e: *paid
  gpt-4-paid-f: *paid
  idle-paid: *paid
  hasty-paid: *paid
  down-paid: *paid
  gpt-4-lost-a: *paid
  gpt-4-lost-b: *paid
  gpt-4-lost-c: *paid
  gpt-4-lost-d: *paid
  gpt-4-lost-e: *paid
lanes: {retry_base_ms: 40, max_attempts: 2}
requests: {max_websockets: 60, max_frame_bytes: 100000}
circuit: {enabled: false}  # some of these providers fail on purpose, for other tests than the next
"""
LIVE = ("openai", "second", "inner", "hasty", "idle", "down", "scarce")
SERVED = tuple(name for name in LIVE if name != "idle")  # no worker looks at the idle lane


@dataclass
class Gateway:
    stack: Stack
    web: Process
    upstream: Upstream
    admin_key: str
    key: str  # a user's of the tenant `acme`
    other_key: str  # another tenant's

    @property
    def url(self) -> str:
        return self.web.url

    def model(self, prefix: str = "gpt-4-") -> tuple[str, Part]:
        """A model of this test's own, and the part that it plays."""
        name = prefix + secrets.token_hex(6)
        return name, self.upstream.part(name)

    def http(self, key: str | None = None, url: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"} if key != "" else {}
        return httpx.Client(base_url=url or self.url, headers=headers, timeout=30)

    def client(self, **options: Any) -> openai.OpenAI:
        """OpenAI's client as anybody would make it."""
        return openai.OpenAI(**{"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, **options})

    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    def job(self, job_id: str, key: str | None = None) -> dict[str, Any]:
        with self.http(key) as http:
            job: dict[str, Any] = asked(http.get(f"/v1/jobs/{job_id}"))
            return job

    def ended(self, job_id: str, within_s: float = 15, key: str | None = None) -> dict[str, Any]:
        """The job, once it has ended."""
        job: dict[str, Any] = eventually(
            lambda: self.job(job_id, key), lambda job: job["state"] in ENDED, within_s, f"{job_id} has ended"
        )
        return job


G = TypeVar("G", bound=Gateway)


@contextmanager
def opened(
    kind: type[G],
    folder: Path,
    settings: str,
    upstream: Upstream,
    live: tuple[str, ...],
    *,
    queues: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
    web: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[G]:
    """A gateway with these settings: one web process and one worker before the upstream.

    environment, web: of all its processes, and of the web process alone.
    """
    (folder / "gateway-settings.yaml").write_text(settings)
    redis = RedisServer(folder)
    redis.start()
    stack = Stack(redis, folder, {"UPSTREAM_URL": f"{upstream.url}/v1", **environment}, live, folder)
    try:
        process = stack.start_web(**web)
        stack.start_worker(queues=queues)
        yield kind(
            stack=stack,
            web=process,
            upstream=upstream,
            admin_key=stack.key("acme"),
            key=stack.key("acme", "user"),
            other_key=stack.key("umbrella", "user"),
        )
    finally:
        stack.stop()
        redis.stop()


def chat(model: str, text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def asked(response: httpx.Response, status: int = 200) -> Any:
    """The JSON of an answer with this status."""
    assert response.status_code == status, (response.status_code, response.text[:500])
    return response.json()


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """What stands under `error` of a refusal, which is shaped as every refusal is."""
    body = asked(response, status)
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == FOUR_KEYS
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and isinstance(error["code"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in (429, 503))
    return error


def eventually(look: Callable[[], Any], good: Callable[[Any], object], within_s: float = 10, what: str = "") -> Any:
    """What `look` sees as soon as it is good."""
    deadline = time.monotonic() + within_s
    while not good(seen := look()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what or good}; last seen: {seen!r}"
        time.sleep(0.01)
    return seen
