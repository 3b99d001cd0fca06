"""Runs the jobs that it claims, many at once in one event loop, inside a real `celery worker`.

It claims as many jobs as it has free slots, renews all leases in one call, and hears on a control list of its own which
jobs are to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis
import structlog

from guardrails.rulebook import Rulebook
from mesh import lanes, store, wire
from mesh.errors import GatewayError, RequestError
from mesh.job import Claim, Target
from mesh.logs import frames
from mesh.pull import Progress
from mesh.reload import LOOK_S, Reloaded
from mesh.seal import Sealer
from mesh.settings import Config, Environment, ProviderConfig
from mesh.wire import Refused
from routing.health import AILING_S, TELL_S, Outlook, Recorder, Room
from routing.prices import PriceList
from workers import accounts, images
from workers.claiming import Claiming
from workers.fetch import Fetcher
from workers.pipe import Pipe, ask, open_streams
from workers.pipeline import Attempt, Tools
from workers.providers import Provider, open_provider
from workers.publisher import Outbox
from workers.pulls import Pulling
from workers.reaper import reap

log = structlog.get_logger()

RENEW_S = 3.0
HEARTBEAT_S = 2.0
MODELS_S = 60.0
_RETRY_S = 0.5
_CLOSE_S = 2.0  # for the last claims to be answered


@dataclass(frozen=True, slots=True)
class Role:
    """What this worker was started for, by the queues it was given."""

    providers: tuple[str, ...]  # whose lanes it claims from
    stock: tuple[str, ...]  # whose jobs Celery itself hands to it
    system: bool  # reaps, and fetches images


@dataclass(slots=True)
class _Held:
    attempt: Attempt
    renewed_s: float  # by the loop's clock


class Consumer:
    def __init__(
        self,
        environment: Environment,
        settings: Reloaded[Config],
        role: Role,
        fetcher: Fetcher,
        rules: Reloaded[Rulebook],
    ) -> None:
        self.boot = f"worker-{secrets.token_hex(8)}"
        self._environment = environment
        self._settings = settings
        self._role = role
        self._fetcher = fetcher
        self._rules = rules
        self._address = wire.Address.parse(environment.redis_url)
        self._pipe = Pipe(self._address, self.boot)
        self._freight = Pipe(self._address, f"{self.boot}-freight")
        self._held: dict[str, _Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetches: set[asyncio.Task[None]] = set()
        self._retired: set[asyncio.Task[None]] = set()
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._claiming = Claiming(
            self._address,
            self._pipe,
            self.boot,
            served=lambda: [(name, self._is_private(name)) for name in role.providers],
            free=lambda: environment.slots - len(self._tasks),
            max_attempts=lambda: self._config.lanes.max_attempts,
            begin=self._begin,
        )
        self._providers: dict[str, Provider] = {}
        self._tools: Tools | None = None
        self._outlook = Outlook()
        self._recorder = Recorder()

    @property
    def _config(self) -> Config:
        return self._settings.current

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Everything that runs beside the jobs, for as long as the context lasts."""
        served = [name for name in (*self._role.providers, *self._role.stock) if name in self._config.providers]
        self._providers = {name: self._open(name, self._config.providers[name]) for name in served}
        self._tools = Tools(
            pipe=self._pipe,
            outbox=Outbox(self._pipe),
            freight=self._freight,
            sealer=Sealer(self._environment.masters("seal")),
            providers=self._providers,
            rules=self._rules,
            images=images.Images(self._freight, self._config.fetch),
            prices=PriceList(self._config),
            config=self._config,
            outlook=self._outlook,
            recorder=self._recorder,
        )
        self._show_readiness()  # a process before this one may have left its file
        beside: list[Coroutine[Any, Any, None]] = [
            self._pipe.run(), self._freight.run(), self._renew(), self._listen(), self._beat(), self._list_models(),
            self._tell_health(), self._watch_settings(), self._look_at_rules(), self._claiming.run(),
        ]  # fmt: skip
        if self._role.system:
            beside.append(reap(self._pipe, self._settings))
            beside += accounts.duties(self._freight, self._settings, self._fetcher)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in beside]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
        await asyncio.gather(*self._retired)
        for provider in self._providers.values():
            await provider.aclose()

    def _open(self, name: str, config: ProviderConfig) -> Provider:
        def heard(model: str, room: Room) -> None:
            self._recorder.room(Target(name, model), room)

        return open_provider(name, config, self._environment.slots, heard)

    async def _tell_health(self) -> None:
        """Tell what the providers did and hear what others met: once a second whatever the load, of failures sooner."""
        told_s = -TELL_S
        while True:
            await asyncio.sleep(AILING_S)
            if time.monotonic() - told_s < TELL_S and not self._recorder.ailing:
                continue
            told_s = time.monotonic()
            with contextlib.suppress(Refused):  # told again in a second, with what is met until then
                self._outlook.update(await self._pipe.do(store.health(self._config.circuit, (), self._recorder.take())))

    async def _watch_settings(self) -> None:
        """Take up a changed file: jobs that run go on by what they began with."""
        before = self._config
        while True:
            await asyncio.sleep(LOOK_S)
            if self._settings.look():
                await self._take_up(before, self._config)
                await self._claiming.start_over()
                before = self._config

    async def _take_up(self, before: Config, now: Config) -> None:
        assert self._tools is not None
        served = dict(self._providers)
        for name in (*self._role.providers, *self._role.stock):
            if before.providers.get(name) == now.providers.get(name):
                continue
            if name in served:
                self._retire(served.pop(name))
            if name in now.providers:
                served[name] = self._open(name, now.providers[name])
        self._providers = served
        self._tools = dataclasses.replace(
            self._tools,
            providers=served,
            images=images.Images(self._freight, now.fetch),
            prices=PriceList(now),
            config=now,
        )
        mine = {*self._role.providers, *self._role.stock}
        if fresh := sorted(now.providers.keys() - before.providers.keys() - mine):
            log.warning("config_needs_restart", what=fresh, why="a worker serves the lanes that its -Q names")
        self._fetcher.rules = images.rules(now.fetch)

    def _retire(self, provider: Provider) -> None:
        """Close a provider that config has changed, once what runs now has ended."""
        running = set(self._tasks)

        async def close() -> None:
            if running:
                await asyncio.wait(running)
            await provider.aclose()

        task = asyncio.ensure_future(close())
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    def stop_claiming(self) -> None:
        self._claiming.close()
        self._show_readiness()

    def _show_readiness(self) -> None:
        path = self._environment.ready_file
        if path is not None and not self._claiming.closed:
            path.touch()
        elif path is not None:
            path.unlink(missing_ok=True)

    async def drain(self, grace_s: float) -> None:
        """Let what runs end within `grace_s`; then give back what has said nothing, and cut off the rest."""
        self.stop_claiming()
        await asyncio.wait([self._claiming.close()], timeout=_CLOSE_S)
        for pull in self._pulls.values():
            pull.cancel()  # no grace: another worker goes on where it was
        if running := self._tasks | self._fetches:
            await asyncio.wait(running, timeout=grace_s)
        for held in list(self._held.values()):
            held.attempt.stop("shutdown")
        for fetch in self._fetches:
            fetch.cancel()
        if last := self._tasks.union(self._pulls.values()):
            await asyncio.wait(last, timeout=10.0)

    async def take(self, job_id: str) -> None:
        """Do the one job that a stock Celery worker was handed, if it is to be had."""
        private = [name for name, provider in self._config.providers.items() if provider.private]
        asked_s = asyncio.get_running_loop().time()
        claim = await self._pipe.do(
            store.take(self.boot, job_id, private, max_attempts=self._config.lanes.max_attempts)
        )
        if isinstance(claim, Claim):
            await self._begin(claim, asked_s)

    async def fetch(self, fetch_id: str) -> None:
        """Fetch the image that a Celery message named, if anybody still waits for it."""
        assert self._tools is not None
        work = asyncio.ensure_future(images.answer(self._freight, self._tools.sealer, self._fetcher, fetch_id))
        self._fetches.add(work)
        work.add_done_callback(self._fetches.discard)
        await work

    async def pull(self, pull_id: str) -> None:
        """Begin the pull that a Celery message named, unless somebody is at it; it goes on when this has returned."""
        taken = await self._pipe.do(store.pulling(pull_id, self.boot, "running", Progress()))
        if taken is None or pull_id in self._pulls:
            return
        name, model = taken
        provider = self._providers.get(name)
        if provider is None:
            gone = RequestError(f"'{name}' is no provider of this worker's any more.", param="provider")
            await self._pipe.do(store.pulling(pull_id, self.boot, "failed", Progress(), gone))
            return
        pulling = Pulling(self._pipe, self.boot, pull_id, provider, model, self._ask_for_models)
        task = asyncio.get_running_loop().create_task(pulling.run())
        self._pulls[pull_id] = task
        task.add_done_callback(lambda done: self._pulled(done, pull_id))

    def _pulled(self, task: asyncio.Task[None], pull_id: str) -> None:
        del self._pulls[pull_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("pull_broke", pull=pull_id, why=type(error).__name__, frames=frames(error))

    def _begin(self, claim: Claim, asked_s: float) -> asyncio.Task[None]:
        """
        asked_s: when the claim was asked for, by the loop's clock; its lease began no earlier.
        """
        assert self._tools is not None
        attempt = Attempt(claim, self._tools)
        loop = asyncio.get_running_loop()
        self._held[claim.id] = _Held(attempt, asked_s)
        task = loop.create_task(attempt.run())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, attempt))
        return task

    def _ended(self, task: asyncio.Task[None], attempt: Attempt) -> None:
        self._tasks.discard(task)
        held = self._held.get(attempt.claim.id)
        if held is not None and held.attempt is attempt:
            del self._held[attempt.claim.id]
        self._claiming.freed()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("attempt_broke", job=attempt.claim.id, why=type(error).__name__, frames=frames(error))

    def _is_private(self, name: str) -> bool:
        config = self._config.providers.get(name)
        return config is not None and config.private

    async def _listen(self) -> None:
        """Hear on a connection of its own which jobs are to stop."""
        while True:
            try:
                reader, writer = await open_streams(self._address, f"{self.boot}-control")
                parser = hiredis.Reader()
                try:
                    while True:
                        async with asyncio.timeout(store.BLOCK_S * 2):
                            reply = await ask(reader, writer, parser, store.control(self.boot))
                        for word in reply[1] if reply else ():
                            job_id, _, why = word.decode().partition(" ")
                            if job_id in self._held:
                                self._held[job_id].attempt.stop(why)
                finally:
                    writer.close()
            except (OSError, hiredis.HiredisError, TimeoutError) as error:
                log.debug("control_lost", why=str(error))  # the pipe tells of an outage
                await asyncio.sleep(_RETRY_S)

    async def _renew(self) -> None:
        """Prolong every lease; close what could not be renewed for as long as a lease lasts."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            mine = dict(self._held)
            renewing = asyncio.ensure_future(
                self._pipe.do(
                    store.renew(
                        self.boot,
                        self._role.providers,
                        [
                            (held.attempt.claim.id, held.attempt.claim.fence, held.attempt.claim.lane)
                            for held in mine.values()
                        ],
                    )
                )
            )
            while not renewing.done():
                await asyncio.wait([renewing], timeout=1.0)
                for held in list(self._held.values()):
                    if loop.time() - held.renewed_s > store.LEASE_MS / 1000:
                        held.attempt.stop("lost")
            try:
                renewed = renewing.result()
            except Refused as error:
                log.error("renew_refused", why=str(error))
                await asyncio.sleep(1.0)
                continue
            for job_id, held in mine.items():
                if job_id in renewed.lost:
                    held.attempt.stop("lost")
                elif job_id in renewed.stops:
                    held.attempt.stop(renewed.stops[job_id])
                else:
                    held.renewed_s = asked
            self._show_readiness()
            await asyncio.sleep(RENEW_S)

    async def _beat(self) -> None:
        """Touch the heartbeat file: its age is the liveness probe, and only a turning loop touches it."""
        path = self._environment.heartbeat_file
        while path is not None:
            path.touch()
            await asyncio.sleep(HEARTBEAT_S)

    async def _look_at_rules(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self._rules.look)  # a new guard takes a while to make

    async def _list_models(self) -> None:
        while True:
            for provider in list(self._providers.values()):
                await self._ask_for_models(provider)
            await asyncio.sleep(MODELS_S)

    async def _ask_for_models(self, provider: Provider) -> None:
        """Write down what models the provider has, or why it does not say so."""
        models: list[str] | None = None
        failed: GatewayError | None = None
        try:
            models = await provider.models()
        except GatewayError as error:
            failed = error
        except Exception as error:  # noqa: BLE001  # a list for show must not take the worker down
            log.error("models_broke", provider=provider.name, why=type(error).__name__, frames=frames(error))
            failed = GatewayError("The gateway failed at asking for the models; its worker's log has the reason.")
        if failed is not None:
            log.info("models_unknown", provider=provider.name, why=type(failed).__name__)
        with contextlib.suppress(Refused):  # asked again in a minute
            await self._pipe.do(store.listed(provider.name, provider.pulls, models, failed))


def role_of(queues: Sequence[str]) -> Role:
    """What a worker with these Celery queues is for.

    `tasks.<provider>` claims from that provider's lanes, `system` reaps, and a lane's own name makes a stock worker.
    """
    own = {"system", *(queue for queue in queues if queue.startswith("tasks."))}
    return Role(
        providers=tuple(queue.removeprefix("tasks.") for queue in queues if queue.startswith("tasks.")),
        stock=tuple(dict.fromkeys(lanes.named(queue).provider for queue in queues if queue not in own)),
        system="system" in queues,
    )
