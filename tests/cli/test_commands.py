"""The command line itself: exit codes and sentences."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD = "provider_models: {openai: [gpt]}\nproviders: {openai: {adapter: openai, api_key_env: OPENAI_API_KEY}}\n"


def gateway(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        pytest.param(GOOD, 0, "good; providers: openai", id="good"),
        pytest.param("", 1, "expected a mapping", id="empty"),
        pytest.param("a: [", 1, "not YAML", id="not YAML"),
        pytest.param(GOOD.replace("api_key_env", "api_key_evn"), 1, "did you mean api_key_env?", id="a typo"),
        pytest.param(GOOD.replace("openai: [gpt]", "opnai: [gpt]"), 1, "did you mean openai?", id="unknown provider"),
        pytest.param(
            GOOD.replace("adapter: openai", "adapter: opnai"), 1, "did you mean openai?", id="unknown adapter"
        ),
        pytest.param(GOOD + "aliases: {a: {targets: [a]}}\n", 1, "leads back to itself", id="an alias in a circle"),
    ],
)
def test_config_check_says_where_the_mistake_is(tmp_path: Path, text: str, code: int, place: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    done = gateway("config", "check", str(file))
    assert done.returncode == code
    assert place in done.stdout + done.stderr
    assert str(file) in done.stdout + done.stderr


def test_the_configuration_we_ship_is_good() -> None:
    assert gateway("config", "check").returncode == 0


def test_a_missing_configuration_is_a_sentence(tmp_path: Path) -> None:
    done = gateway("config", "check", str(tmp_path / "none.yaml"))
    assert done.returncode == 1
    assert done.stderr == f"gateway: {tmp_path}/none.yaml: No such file or directory\n"


@pytest.mark.parametrize(
    "command", [("chat", "hello"), ("jobs",), ("route", "hello"), ("models",), ("models", "pull", "llama")]
)
def test_without_a_gateway_it_says_how_to_get_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = gateway(*command, "--home", str(tmp_path))
    assert done.returncode == 2
    assert "start one with `gateway up`" in done.stderr


@pytest.mark.parametrize("command", [("chat", "hello"), ("jobs",), ("route", "hello")])
def test_a_gateway_that_does_not_answer_is_a_sentence(command: tuple[str, ...]) -> None:
    done = gateway(*command, GATEWAY_URL="http://127.0.0.1:9", GATEWAY_API_KEY="gw-x-y")
    assert done.returncode == 4
    assert done.stderr.startswith("gateway: no gateway answers at http://127.0.0.1:9")


def test_up_says_that_the_port_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = gateway("up", "--port", str(port), "--home", str(tmp_path / "home"))
    assert done.returncode == 2
    assert f"port {port} is in use; stop what listens there or choose another with --port" in done.stderr


def test_up_says_that_the_port_for_metrics_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        done = gateway("up", "--port", str(free_port()), "--metrics-port", taken, "--home", str(tmp_path / "home"))
    assert done.returncode == 2
    assert f"port {taken} is in use; choose another with --metrics-port" in done.stderr


def test_up_says_that_redis_does_not_answer_without_showing_its_password(tmp_path: Path) -> None:
    done = gateway("up", "--redis-url", "redis://gw:hush@127.0.0.1:9/0", "--home", str(tmp_path / "home"))
    assert done.returncode == 2
    assert "Redis of --redis-url does not answer" in done.stderr
    assert "hush" not in done.stderr


def test_up_says_when_no_provider_is_live(tmp_path: Path) -> None:
    done = gateway("up", "--no-model", "--port", str(free_port()), "--home", str(tmp_path))
    assert done.returncode == 2
    assert "no provider is live: set OPENAI_API_KEY" in done.stderr
