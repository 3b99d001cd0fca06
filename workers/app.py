"""The Celery application, and the bootstep that puts the mesh's consumer into a worker.

celery -A workers.app worker -P threads -Q tasks.openai         claims from OpenAI's lanes
celery -A workers.app worker -P threads -Q system               reaps and fetches
celery -A workers.app worker -P threads -Q openai,openai.batch  no consumer: Celery hands the same jobs to tasks.run
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any

import structlog
import uvloop
from celery import Celery, bootsteps, signals
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.entity import Queue
from redis.exceptions import ResponseError

from guardrails.rulebook import Rulebook
from guardrails.watched import watched
from mesh import lanes, logs, wire
from mesh.errors import ConfigError
from mesh.memory import calm_collector
from mesh.reload import Reloaded
from mesh.settings import SETTINGS, Config, Environment, load_config
from workers import images
from workers.consumer import Consumer, role_of
from workers.fetch import Fetcher
from workers.providers import parse

log = structlog.get_logger()


class Patient(CeleryConsumer):
    """A Celery consumer to which a demoted primary is a lost connection, not the end of the worker."""

    restart_pause_s = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection_errors = (*self.connection_errors, ResponseError)  # type: ignore[has-type]  # Celery's

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        # Without a pause a READONLY server is asked hundreds of times a second.
        threading.Event().wait(self.restart_pause_s)
        super().on_connection_error_after_connected(exc)


class MeshThread:
    """The consumer's event loop, in a thread of its own."""

    def __init__(
        self,
        environment: Environment,
        settings: Reloaded[Config],
        queues: list[str],
        fetcher: Fetcher,
        rules: Reloaded[Rulebook],
    ) -> None:
        self._environment = environment
        self._settings = settings
        self._queues = queues
        self._fetcher = fetcher
        self._rules = rules
        self._loop = uvloop.new_event_loop()
        self._consumer: Consumer | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="mesh")
        self._ended = False

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        try:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            log.critical("mesh_died", why=repr(error), frames=logs.frames(error))
            raise
        finally:
            self._ready.set()
            if not self._ended:
                # A worker without its loop looks alive and does nothing: end the process, others take its jobs.
                os._exit(70)

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._consumer = Consumer(self._environment, self._settings, role_of(self._queues), self._fetcher, self._rules)
        async with self._consumer.open():
            calm_collector()
            self._ready.set()
            await self._stop.wait()
        self._ended = True

    def stop_claiming(self) -> None:
        if self._consumer is not None:
            self._loop.call_soon_threadsafe(self._consumer.stop_claiming)

    def stop(self) -> None:
        """Drain and end; returns when nothing of ours runs any more."""
        if not self._thread.is_alive() or self._consumer is None or self._stop is None:
            return
        self._call(self._consumer.drain(self._environment.grace_s))
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def take(self, job_id: str) -> None:
        assert self._consumer is not None
        self._call(self._consumer.take(job_id))

    def fetch(self, fetch_id: str) -> None:
        assert self._consumer is not None
        self._call(self._consumer.fetch(fetch_id))

    def pull(self, pull_id: str) -> None:
        assert self._consumer is not None
        self._call(self._consumer.pull(pull_id))

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result()


def _rules(environment: Environment) -> Reloaded[Rulebook]:
    try:
        return watched(environment.config)
    except ConfigError as error:
        raise SystemExit(f"gateway worker: {error}") from None


class MeshStep(bootsteps.StartStopStep):
    """Starts and drains the consumer with the worker. Celery's own consumer may restart without touching it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        queues = [str(name) for name in worker.app.amqp.queues.consume_from]
        role = role_of(queues)
        both = [lane.name for name in role.providers for lane in lanes.of_provider(name) if lane.name in queues]
        if both:
            raise SystemExit(
                f"-Q: {', '.join(both)} would be popped by Celery and by the consumer; give only tasks.<provider>"
            )
        environment = Environment()
        settings = Reloaded(environment.config / SETTINGS, parse)
        self._mesh = MeshThread(environment, settings, queues, worker.app.fetcher, _rules(environment))
        worker.app.mesh = self._mesh
        signals.worker_shutting_down.connect(self._stop_claiming, weak=False)

    def _stop_claiming(self, **_: Any) -> None:
        # Celery calls `stop` only 0.3 to 0.8 s later.
        self._mesh.stop_claiming()

    def start(self, worker: Any) -> None:
        self._mesh.start()

    def stop(self, worker: Any) -> None:
        self._mesh.stop()

    def terminate(self, worker: Any) -> None:
        self._mesh.stop()


def _broker_url(url: str) -> str:
    """As kombu wants it: of Sentinels one URL each."""
    sentinels = wire.Address.parse(url).sentinels
    if sentinels is None:
        return url
    parts = wire.split(url)
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    # An IPv6 address stands in brackets.
    hosts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sentinels.hosts]
    return ";".join(f"sentinel://{user}{host}{parts.path}" for host in hosts)


def _sentinel_options(url: str) -> dict[str, Any]:
    sentinels = wire.Address.parse(url).sentinels
    return {"master_name": sentinels.primary, "sentinel_kwargs": sentinels.options()} if sentinels else {}


def create_app(environment: Environment, config: Config, fetcher: Fetcher | None = None) -> Celery:
    """The application, whose images `fetcher` fetches; without one it is the internet's, under config's rules."""
    logs.configure(environment.log_level)
    names = [lane.name for provider in config.providers for lane in lanes.of_provider(provider)]
    names += [f"tasks.{provider}" for provider in config.providers]
    app = Celery("gateway", include=["workers.tasks"])
    app.conf.update(
        broker_url=_broker_url(environment.redis_url),
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_default_queue="system",
        task_queues=[Queue(name) for name in ("system", *names)],
        task_create_missing_queues=False,
        worker_consumer=Patient,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        accept_content=["json"],
        broker_transport_options={
            "global_keyprefix": lanes.PREFIX,
            "visibility_timeout": 3600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "priority_steps": [0],
            "sep": ":p",
            "queue_order_strategy": "priority",
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 25,
            **_sentinel_options(environment.redis_url),
        },
    )
    app.steps["worker"].add(MeshStep)
    app.mesh = None
    app.fetcher = fetcher or Fetcher(images.rules(config.fetch))
    return app


def _from_environment() -> Celery:
    try:
        environment = Environment()
        return create_app(environment, load_config(environment.config))
    except ConfigError as error:
        raise SystemExit(f"gateway worker: {error}") from None


app = _from_environment()
