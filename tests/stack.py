"""The gateway as it runs in production, for tests: real web processes and real Celery workers over a real Valkey."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from redis import Redis

from mesh import store
from tests.conftest import RedisServer, free_port, wait_until
from web import auth

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
UNGUARDED = "jailbreak: {enabled: false}\nphi: {force_private: false}\n"  # for tests of what is not guarding


@dataclass
class Process:
    """A process of the stack, which a test may stop, freeze or kill."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """SIGKILL to the whole process group, as the kernel would do it."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def freeze(self) -> None:
        os.killpg(self.popen.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.popen.pid, signal.SIGCONT)

    def terminate(self, within_s: float = 30.0) -> int:
        """SIGTERM, and the exit code."""
        self.popen.terminate()
        return self.popen.wait(within_s)


@dataclass
class Stack:
    """
    environment: what is added to every process's environment, such as a provider's base URL.
    """

    redis: RedisServer
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    providers: tuple[str, ...] = ("openai",)
    config: Path | None = None
    processes: list[Process] = field(default_factory=list)

    def client(self) -> Redis:
        return self.redis.client()

    def key(self, tenant: str = "default", role: auth.Role = "admin", *, private: bool = False) -> str:
        return auth.mint(self.client(), tenant=tenant, role=role, private=private)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str], url: str = "") -> Process:
        log = self.folder / f"{name}-{len(self.processes)}.log"
        base = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": self.redis.url,
            "GATEWAY_SEAL_KEY": "a:" + "11" * 32,
            "GATEWAY_PROVIDERS": ",".join(self.providers),
            "GATEWAY_LOG_LEVEL": "info",
        }
        config = self.config or self._shipped()
        base["GATEWAY_CONFIG"] = str(config)
        rules = config / "guardrail-settings.yaml"
        if not rules.exists():
            rules.write_text(UNGUARDED)
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=self.folder,
                env={**base, **self.environment, **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, popen, log, url)
        self.processes.append(process)
        return process

    def _shipped(self) -> Path:
        """The settings that come with the project, in a folder that a test may write to."""
        folder = self.folder / "config"
        if not folder.exists():
            folder.mkdir()
            shutil.copy(ROOT / "config" / "gateway-settings.yaml", folder)
        return folder

    def start_web(self, **environment: str) -> Process:
        """One web process, ready."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        process = self._start(
            "web",
            ["gunicorn", "-c", str(ROOT / "web/gunicorn.py"), "--bind", f"127.0.0.1:{port}", "web.app:create_app()"],
            {"GATEWAY_DOOR_KEY": "a:" + "22" * 32, **environment},
            url,
        )
        wait_until(lambda: self._ready(process), 20, "the web process is ready")
        return process

    @staticmethod
    def _ready(process: Process) -> bool:
        assert process.alive, process.log.read_text()
        try:
            with urlopen(f"{process.url}/health/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def start_worker(self, *, queues: str = "", ready: bool = True, **environment: str) -> Process:
        """One worker that serves every provider of the stack and reaps, ready to claim."""
        queues = queues or ",".join(["system", *(f"tasks.{name}" for name in self.providers)])
        before = self._workers()
        process = self._start(
            "worker",
            [
                "celery", "-A", "workers.app", "worker", "-P", "threads", "-c", "4", "-Q", queues, "-l", "WARNING",
                "--without-gossip", "--without-mingle", "--without-heartbeat",
            ],
            environment,
        )  # fmt: skip
        if ready:
            wait_until(lambda: self._beats(process, before), 20, "the worker beats")
        return process

    def _workers(self) -> set[bytes]:
        client: Any = self.client()
        return {boot for name in self.providers for boot in client.zrange(f"gw:workers:{name}", 0, -1)}

    def _beats(self, process: Process, before: set[bytes]) -> bool:
        assert process.alive, process.log.read_text()
        return bool(self._workers() - before)

    def ledger(self) -> list[dict[str, str]]:
        """Every ledger row, oldest first."""
        return self._rows("ledger")

    def audit(self) -> list[dict[str, str]]:
        """Every row of the audit, oldest first."""
        return self._rows("audit")

    def _rows(self, name: str) -> list[dict[str, str]]:
        rows = store.run(self.client(), store.Call(("XRANGE", f"gw:{name}:rows", "-", "+"), list))
        return [
            dict(zip([w.decode() for w in row[::2]], [w.decode() for w in row[1::2]], strict=True)) for _, row in rows
        ]

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.alive:
                process.thaw()
                process.popen.terminate()
        deadline = time.monotonic() + 10
        for process in self.processes:
            try:
                process.popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
