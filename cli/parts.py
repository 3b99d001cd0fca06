"""The processes that make a gateway on one machine: their command lines, environments and signs of readiness."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from redis.exceptions import RedisError

from cli.embedded import packages, valkey
from cli.environment import Surroundings
from cli.errors import Unable
from cli.home import Home
from cli.live import Live
from cli.processes import Part
from mesh import settings
from mesh.store import connect

GRACE_S = 10  # how long requests and jobs under way may still take after Ctrl-C
PROBE_S = 2.0
RELEASE_S = 2.0  # a gateway that was killed a moment ago may still hold its port

Ready = Callable[[], Awaitable[bool]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ports:
    door: int
    metrics: int  # 0: off
    valkey: int = 0
    model: int = 0
    front: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.door}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All that was decided before anything is started."""

    home: Home
    ports: Ports
    surroundings: Surroundings
    config: settings.Config
    live: Live
    redis_url: str
    embeds_store: bool
    workers: int

    @property
    def embeds_model(self) -> bool:
        return self.live.embedded is not None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether we could listen there.

    Raises:
        Unable: this user never can.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise Unable(f"cannot listen on port {port}: {error.strerror}") from error
    return True


def becomes_free(port: int) -> bool:
    end = time.monotonic() + RELEASE_S
    while not is_free(port):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


async def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_S)) as session,
            session.get(url) as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def pings(redis_url: str) -> bool:
    """Whether Redis answers; not while it still loads its data."""
    client = connect(redis_url, patience_s=PROBE_S)
    try:
        await asyncio.to_thread(client.ping)
    except (RedisError, OSError):
        return False
    finally:
        client.close()
    return True


def make(plan: Plan) -> list[Part]:
    """The parts in the order of their start; they are stopped in the opposite one."""
    store = [_valkey(plan)] if plan.embeds_store else []
    model = [_model(plan), _front(plan)] if plan.embeds_model else []
    return [*store, *model, _worker(plan), _door(plan)]


def _valkey(plan: Plan) -> Part:
    home = plan.home
    home.write(home.valkey_config, valkey.config(plan.ports.valkey, home.valkey, home.password))
    return Part(
        name="valkey",
        command=[str(_installed(packages.valkey_server)), str(home.valkey_config)],
        environ=plan.surroundings.plain(),
        folder=home.valkey,
        log=home.log("valkey"),
        ready=lambda: pings(plan.redis_url),
        ready_within_s=120,  # a long log is read at about 100 MB/s
    )


def _model(plan: Plan) -> Part:
    _installed(packages.chat_weights)
    return Part(
        name="model",
        command=_python("-m", "cli.embedded.model", "--port", str(plan.ports.model)),
        environ=plan.surroundings.plain(),
        folder=settings.HERE,
        log=plan.home.log("model"),
        ready=lambda: answers(f"http://127.0.0.1:{plan.ports.model}/health"),
    )


def _front(plan: Plan) -> Part:
    _installed(packages.embedding_weights)
    _installed(packages.embedding_tokenizer)
    model, port = f"http://127.0.0.1:{plan.ports.model}", str(plan.ports.front)
    return Part(
        name="front",
        command=_python("-m", "cli.embedded.front", "--port", port, "--model", model),
        environ=plan.surroundings.plain(),
        folder=settings.HERE,
        log=plan.home.log("front"),
        ready=lambda: answers(f"http://127.0.0.1:{port}/api/version"),
    )


def _worker(plan: Plan) -> Part:
    queues = ",".join(["system", *(f"tasks.{name}" for name in plan.live.names)])
    heartbeat = plan.home.heartbeat
    options = (
        "-P",
        "threads",
        "-c",
        "4",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "-l",
        "WARNING",
    )
    environ = plan.surroundings.full() | plan.live.environ | _shared(plan)
    environ |= {"GATEWAY_HEARTBEAT_FILE": str(heartbeat), "GATEWAY_GRACE_S": str(GRACE_S)}
    return Part(
        name="worker",
        command=_python("-m", "celery", "-A", "workers.app", "worker", "-Q", queues, *options),
        environ=environ,
        folder=settings.HERE,
        log=plan.home.log("worker"),
        ready=_exists(heartbeat),
        stale=(heartbeat,),
        after=("valkey",) if plan.embeds_store else (),
        grace_s=GRACE_S + 5,
    )


def _door(plan: Plan) -> Part:
    here, ports = settings.HERE, plan.ports
    environ = plan.surroundings.plain() | _shared(plan)
    environ |= {
        **plan.surroundings.master("DOOR", plan.home.door_key),
        "GATEWAY_METRICS_PORT": str(ports.metrics),
        "GATEWAY_METRICS_DIR": str(plan.home.metrics),
        "TMPDIR": str(plan.home.metrics),  # what a killed process leaves there is removed at the next start
    }
    options = ("--bind", f"127.0.0.1:{ports.door}", "--workers", str(plan.workers), "--graceful-timeout", str(GRACE_S))
    return Part(
        name="web",
        command=_python("-m", "gunicorn", "-c", str(here / "web" / "gunicorn.py"), *options, "web.app:create_app()"),
        environ=environ,
        folder=here,
        log=plan.home.log("web"),
        ready=lambda: answers(f"{ports.url}/health/ready"),
        after=("valkey",) if plan.embeds_store else (),
        grace_s=GRACE_S + 5,
    )


def _shared(plan: Plan) -> dict[str, str]:
    return {
        "REDIS_URL": plan.redis_url,
        "GATEWAY_CONFIG": str(plan.surroundings.config),
        "GATEWAY_PROVIDERS": ",".join(plan.live.names),
        **plan.surroundings.master("SEAL", plan.home.seal_key),
        "PYTHONUNBUFFERED": "1",
    }


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _installed(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except FileNotFoundError as error:
        raise Unable(
            f"{error}; install it with: pip install -r {settings.HERE / 'requirements.lock'} --no-deps"
        ) from error


def _exists(path: Path) -> Ready:
    async def ready() -> bool:
        return await asyncio.to_thread(path.exists)

    return ready
