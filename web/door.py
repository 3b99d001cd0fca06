"""What one web process is made of; put together once, in `create_app`, and handed to whatever needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import gevent
import structlog

from mesh import errors, lanes, store
from mesh.reload import Reloaded
from mesh.seal import JobSeal, SealBroken, Sealer
from mesh.settings import Config, Environment
from mesh.wire import Refused
from routing.choose import Router
from routing.health import TELL_S, Outlook
from routing.limits import counters
from web import reloading, spending
from web.auth import Gatekeeper
from web.guardian import Guardian
from web.pipe import Pipe
from web.replies import Follower, Replies
from web.restoring import UNMASKED, Masked, opened
from web.setup import Setup

log = structlog.get_logger()

_MEMORY_EVERY_S = 2.0
_CLOSE_S = 2.0


class Conversation(Protocol):
    """An open WebSocket, as much of it as the end of the process needs."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Pressure:
    """Whether Redis has room for more jobs, looked at every two seconds."""

    share: Callable[[], float]  # of maxmemory, above which it has not
    high: bool = False

    def watch(self, pipe: Pipe) -> None:
        while True:
            try:
                used, most = pipe.do(store.memory())
            except (errors.StoreUnavailable, Refused) as error:
                log.warning("memory_unknown", why=str(error))
            else:
                self.high = bool(most) and used > most * self.share()
            gevent.sleep(_MEMORY_EVERY_S)


@dataclass(slots=True, kw_only=True)
class Door:
    environment: Environment
    settings: Reloaded[Setup]
    pipe: Pipe  # for everything small
    freight: Pipe  # for large requests, so that nobody waits behind them
    replies: Replies
    sealer: Sealer
    guardian: Guardian
    secrets: Sealer | None  # under the second master, which no worker has; none where nothing is masked
    gatekeeper: Gatekeeper
    pressure: Pressure
    outlook: Outlook = field(default_factory=Outlook)  # which providers are well, and how long their lanes are
    conversations: set[Conversation] = field(default_factory=set)  # open WebSockets
    stopping: bool = False
    started: float = field(default_factory=time.time)

    @property
    def setup(self) -> Setup:
        """What is in force now. Whoever needs two things of it takes it once."""
        return self.settings.current

    @property
    def config(self) -> Config:
        return self.setup.config

    @property
    def live(self) -> Sequence[str]:
        return self.setup.live

    @property
    def router(self) -> Router:
        return self.setup.router

    def start(self) -> None:
        """Connect, in the process that serves."""
        self.pipe.start()
        self.freight.start()
        self.replies.start()
        self.guardian.start()
        gevent.spawn(self.pressure.watch, self.pipe)
        gevent.spawn(spending.watch, self.pipe)
        gevent.spawn(self._look_out)
        gevent.spawn(reloading.watch, self.settings)

    def _look_out(self) -> None:
        """Hear once a second what the workers have met, and how much of each target's limits is taken."""
        while True:
            config = self.config
            lanes_ = [lane.name for provider in self.live for lane in lanes.of_provider(provider)]
            try:
                self.outlook.update(self.pipe.do(store.health(config.circuit, lanes_, {}, counters(config.limits))))
            except (errors.StoreUnavailable, Refused) as error:
                log.warning("health_unknown", why=str(error))
            gevent.sleep(TELL_S)

    def drain(self) -> None:
        """Take nothing new, and close the WebSockets: their clients come back through another process."""
        self.stopping = True
        # One that does not read must not hold up the others.
        gevent.joinall([gevent.spawn(conversation.close) for conversation in self.conversations], timeout=_CLOSE_S)

    def dismiss(self) -> None:
        """Tell everybody who still waits that this process ends; their jobs go on."""
        self.replies.stop()

    def seal(self, tenant: str, job_id: str) -> JobSeal:
        return self.sealer.job(tenant, job_id)

    def masked(self, tenant: str, job_id: str, sealed: bytes) -> Masked:
        """What was hidden from a job's providers, from what is stored with it.

        Raises:
            SealBroken: it was sealed under a master that this door does not have.
        """
        if not sealed:
            return UNMASKED
        if self.secrets is None:
            raise SealBroken("what was masked is sealed under GATEWAY_DOOR_KEY, which is not set here")
        return opened(sealed, self.secrets.job(tenant, job_id))

    def follow(self, tenant: str, job_id: str, after: int = 0, masked: Masked = UNMASKED) -> Follower:
        return Follower(self.replies, self.pipe, self.seal(tenant, job_id), job_id, tenant, after, masked)
