"""OpenAI's own client for Node, told nothing but a URL and a key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateway import FOUR_KEYS, Gateway
from tests.standins import Fault, vector

HERE = Path(__file__).parent / "node"


def not_here(why: str) -> None:
    """What is missing at home is skipped; where everything must run, it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and the client that its lock names."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        not_here("there is no node, or no npm: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.js"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )
    if done.returncode:
        not_here(f"npm could not install the openai client: {done.stderr[-500:]}")
    return folder


def test_the_node_client_chats_streams_lists_and_fails_as_it_should(gateway: Gateway, installed: Path) -> None:
    (model, part), (bad, bad_part), (busy, busy_part) = gateway.model(), gateway.model(), gateway.model()
    bad_part.always = Fault("status", 400)
    busy_part.always = Fault("status", 429, headers={"Retry-After": "60"})
    done = subprocess.run(
        ["node", "client.js", f"{gateway.url}/v1", gateway.key, model, bad, busy],
        cwd=installed, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["chat"]["choices"][0]["message"]["content"] == seen["streamed"] == part.reply.text
    assert seen["chat"]["provider"] == "openai" and seen["requestID"]
    assert gateway.job(seen["job"])["state"] == "done"
    assert seen["last"]["usage"]["total_tokens"] == 18 and seen["last"]["gateway"]["attempts"] == 1
    assert "gpt-4o-mini" in seen["listed"] and seen["one"]["owned_by"] == "openai"
    assert seen["vector"] == vector("one", None)
    found = {name: (each["name"], each["status"], each["code"]) for name, each in seen["failures"].items()}
    assert found == {
        "bad": ("BadRequestError", 400, "empty_array"),
        "rejected": ("BadRequestError", 400, "provider_rejected"),
        "rejectedStream": ("BadRequestError", 400, "provider_rejected"),
        "key": ("AuthenticationError", 401, "invalid_api_key"),
        "forbidden": ("PermissionDeniedError", 403, "insufficient_permissions"),
        "model": ("NotFoundError", 404, "model_not_found"),
        "limited": ("RateLimitError", 429, "provider_rate_limited"),
        "down": ("InternalServerError", 502, "provider_unavailable"),
    }
    assert all(each["keys"] == sorted(FOUR_KEYS) and each["requestID"] for each in seen["failures"].values())
