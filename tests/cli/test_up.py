"""`gateway up` as a stranger types it: everything real, in a home of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
READY = "Ctrl-C stops everything."
GATEWAY = [sys.executable, "-m", "cli.main"]
pytest.importorskip("xllamacpp", reason="the local model is not installed")


def environ(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **variables}


class Running:
    """A `gateway up` in the background, and what it has printed so far."""

    def __init__(self, home: Path, *options: str, **variables: str) -> None:
        self.home = home
        self.port = free_port()
        command = [*GATEWAY, "up", "--port", str(self.port), "--metrics-port", "0", "--home", str(home), *options]
        self.process = subprocess.Popen(
            command,
            env=environ(**variables),
            cwd=home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def until(self, text: str, within_s: float = 60) -> None:
        wait_until(lambda: text in self.printed or self.process.poll() is not None, within_s, f"{text}: {self.printed}")
        assert text in self.printed, self.printed

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def children(self) -> dict[int, str]:
        """Every process below this one, by id, with its command line."""
        found: dict[int, str] = {}
        waiting = [self.process.pid]
        while waiting:
            parent = waiting.pop()
            listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            for child in map(int, listed):
                found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
                waiting.append(child)
        return found

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*GATEWAY, *arguments, "--home", str(self.home)]
        return subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=60)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def running(home: Path, *options: str, **variables: str) -> Iterator[Running]:
    up = Running(home, *options, **variables)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("up") / "a home", OPENAI_API_KEY="sk-hush") as started:
        started.until(READY)
        yield started


def test_it_prints_a_real_answer_its_timeline_and_its_cost(up: Running) -> None:
    assert re.search(r"It answered: \w+", up.printed)
    assert re.search(r"job-[0-9a-f]{32} is done; it cost nothing", up.printed)
    states = re.findall(r"^ +[\d,]+ ms  (\w+)", up.printed, re.MULTILINE)
    assert states[0] == "queued"
    assert "running" in states
    assert states[-1] == "done"


def test_the_first_key_is_for_its_owner_only(up: Running) -> None:
    assert stat.S_IMODE((up.home / "key").stat().st_mode) == 0o600
    assert (up.home / "key").read_text().startswith("gw-")
    assert str(up.home / "key") in up.printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_curl_line_works_when_pasted(up: Running) -> None:
    snippet = up.printed[up.printed.index("curl http") : up.printed.index("from openai")]
    done = subprocess.run(["bash", "-c", snippet], capture_output=True, text=True, timeout=60)
    assert '"object":"chat.completion"' in done.stdout.replace('": "', '":"')


def test_the_python_snippet_works_when_pasted(up: Running) -> None:
    snippet = up.printed[up.printed.index("from openai") : up.printed.index(READY)]
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_chat_streams_and_jobs_shows_what_became_of_it(up: Running) -> None:
    answer = up.run("chat", "Say hello in three words.")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.strip()
    newest = up.run("jobs", "--limit", "1").stdout.splitlines()[1].split()
    assert newest[1:3] == ["done", "smollm2:135m"]
    shown = up.run("jobs", newest[0]).stdout
    assert f"{newest[0]} is done; it cost nothing" in shown
    assert "answering" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("jobs", "job-0"), "job_not_found", id="no such job"),
        pytest.param(("jobs", "--cancel", "../keys"), "404", id="no job at all"),
        pytest.param(("chat", "hi", "--model", "nobody"), "model_not_found", id="no such model"),
        pytest.param(("chat", "hi", "--key", "gw-a-b"), "does not know the key", id="wrong key"),
        pytest.param(("jobs", "--key", "gw-a-b"), "invalid_api_key", id="wrong key for jobs"),
    ],
)
def test_a_refusal_is_a_sentence_and_an_exit_code(up: Running, arguments: tuple[str, ...], message: str) -> None:
    done = up.run(*arguments)
    assert done.returncode == 5
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_one_on_the_same_home_is_refused(up: Running) -> None:
    done = up.run("up", "--port", str(free_port()))
    assert done.returncode == 2
    assert f"another `gateway up` (process {up.process.pid}) runs in {up.home}" in done.stderr


def test_a_key_in_the_environment_makes_its_provider_live(up: Running) -> None:
    assert "openai is live: OPENAI_API_KEY is set" in up.printed
    assert "(providers: openai, ollama)" in up.printed


def test_only_the_worker_is_handed_providers_keys_and_only_the_door_its_own(up: Running) -> None:
    handed = {
        command: Path(f"/proc/{pid}/environ").read_bytes().decode()
        for pid, command in up.children().items()
        if "valkey-server" not in command
    }
    worker = next(variables for command, variables in handed.items() if "celery" in command)
    doors = [variables for command, variables in handed.items() if "gunicorn" in command]
    assert "GATEWAY_DOOR_KEY" not in worker
    assert all("GATEWAY_DOOR_KEY_FILE=" in variables for variables in doors)
    holders = [command for command, variables in handed.items() if "sk-hush" in variables]
    assert holders
    assert all("celery" in command for command in holders)
    password = (up.home / "valkey.password").read_text().strip()
    assert not any(password in command for command in handed)


@pytest.mark.parametrize("name", ["celery", "cli.embedded.front", "cli.embedded.model", "gunicorn", "valkey-server"])
def test_a_part_that_is_killed_is_started_again_and_answers(up: Running, name: str) -> None:
    again = up.printed.count("is ready again")
    victim = min(pid for pid, command in up.children().items() if name in command)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: up.printed.count("is ready again") > again, 30, up.printed)
    assert not is_alive(victim)
    wait_until(lambda: up.run("chat", "hi").returncode == 0, 60, up.printed)


def test_a_second_start_is_fast_keeps_its_key_and_ends_cleanly(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as first:
        first.until(READY)
        key = (home / "key").read_text()
        assert first.end(signal.SIGINT) == 0
    began = time.monotonic()
    with running(home) as second:
        second.until("It answered:")
        assert time.monotonic() - began < 15
        second.until(READY)
        assert (home / "key").read_text() == key
        assert len(second.run("jobs").stdout.splitlines()) == 3  # a heading, and the first prompt of each start
        children = second.children()
        assert second.end(signal.SIGINT) == 0
    assert second.printed.endswith("stopping; Ctrl-C again to hurry\nstopped\n")
    assert not any(is_alive(child) for child in children)
    assert not (home / "url").exists()


def test_a_real_ollama_and_a_redis_of_ones_own_are_used_instead(up: Running, tmp_path: Path) -> None:
    front = next(command for command in up.children().values() if "cli.embedded.front" in command)
    host = f"127.0.0.1:{front.split()[4]}"
    redis_url = (up.home / "valkey.conf").read_text()
    port = re.findall(r"^port (\d+)$", redis_url, re.MULTILINE)[0]
    password = (up.home / "valkey.password").read_text().strip()
    url = f"redis://gw:{password}@127.0.0.1:{port}/0"
    keys = {f"GATEWAY_{name}_KEY_FILE": str(up.home / f"{name.lower()}.key") for name in ("SEAL", "DOOR")}
    with running(tmp_path / "home", "--redis-url", url, OLLAMA_HOST=host, **keys) as second:
        second.until(READY)
        assert f"ollama is live: Ollama answers at http://{host}" in second.printed
        assert "smollm2:135m was asked" in second.printed
        commands = " ".join(second.children().values())
        assert "valkey-server" not in commands
        assert "cli.embedded" not in commands
        assert second.end(signal.SIGINT) == 0


def test_no_orphan_is_left_when_it_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "home") as up:
        up.until(READY)
        children = up.children()
        assert len(children) >= 6
        up.end(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(child) for child in children), 10, str(children))


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "home") as up:
        up.until("ready after")
        children = up.children()
        assert up.end(signal.SIGINT) == 130
    assert "stopped before it was ready" in up.printed
    assert not any(is_alive(child) for child in children)


def test_quiet_prints_nothing_when_all_is_well(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "--quiet") as up:
        wait_until(lambda: (home / "url").exists(), 60)
        assert up.end(signal.SIGTERM) == 0
    assert up.printed == ""


def test_a_store_that_cannot_read_its_data_is_shown_with_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "home/valkey/appendonlydir"
    broken.mkdir(parents=True)
    (broken / "appendonly.aof.manifest").write_text("not a manifest\n")
    with running(tmp_path / "home") as up:
        assert up.wait() == 3
        children = re.findall("ready after", up.printed)
    assert "gateway: valkey ended with exit code 1 while starting. The end of" in up.printed
    assert len(children) <= 2


def test_a_hung_second_signal_hurries(tmp_path: Path) -> None:
    with running(tmp_path / "home") as up:
        up.until(READY)
        with socket.create_connection(("127.0.0.1", up.port)) as idle:  # the door's grace would wait for this request
            idle.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            up.process.send_signal(signal.SIGINT)
            up.until("stopping")
            began = time.monotonic()
            assert up.end(signal.SIGINT) == 0
    assert time.monotonic() - began < 5
