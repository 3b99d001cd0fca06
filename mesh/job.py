"""A job: one request on its way through the mesh."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import orjson

from mesh import errors, lanes
from mesh.routes import Cause

Endpoint = Literal["chat.completions", "completions", "embeddings"]


class State(enum.StrEnum):
    QUEUED = "queued"  # waits in a lane, or for the end of a back-off
    RUNNING = "running"  # leased to a worker
    PARKED = "parked"  # every target of its route cools down
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # past its deadline

    @property
    def ended(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING, State.PARKED)


def new_id() -> str:
    """`job-` and 128 random bits."""
    return "job-" + secrets.token_hex(16)


UNBOUNDED = 2**53 - 1  # as a hold's ceiling; the largest whole number that Lua knows exactly


@dataclass(frozen=True, slots=True)
class Hold:
    """What a job takes of a counter. What that counts is routing's business.

    kind: open (given back when the job ends) | spent (a counter that lives for `life_ms`, and is settled) | window
    (what was taken within the last `life_ms`, and is settled). To settle is to put what the job has measured of `unit`
    in the place of `amount`; without a unit it stays as it was taken.
    """

    name: str  # `<counter>:<owner>`, in one line; an owner's counters lie together in Redis
    amount: int | None  # None: what the job may take of `unit` at most
    ceiling: int
    kind: Literal["open", "spent", "window"] = "open"
    unit: str = "-"
    life_ms: int = 0

    @property
    def template(self) -> str:
        """What the scripts are told of it, for `told`."""
        words = orjson.dumps([self.kind, *counter_and_owner(self.name)]).decode()[1:-1].replace("%", "%%")
        amount = f"%({self.unit})d" if self.amount is None else self.amount
        return f'{words},{amount},{self.ceiling},"{self.unit}",{self.life_ms}'


_WORDS = 7  # of a hold, as the scripts are told of it


def counter_and_owner(name: str) -> tuple[str, str]:
    """The parts of a hold's name."""
    counter, _, owner = name.partition(":")
    return counter, owner


def told(templates: Iterable[str], most: Mapping[str, int] = MappingProxyType({})) -> str:
    """Holds as the scripts read them: one flat JSON array. An owner's are told one after the other.

    most: what the job may take of a unit, where a hold leaves that to it.
    """
    return "[" + ",".join(templates) % most + "]"


def without(holds: str, name: str) -> str:
    """All of these but the one of this name."""
    words = orjson.loads(holds)
    each = [words[first : first + _WORDS] for first in range(0, len(words), _WORDS)]
    left = [hold for hold in each if tuple(hold[1:3]) != counter_and_owner(name)]
    return orjson.dumps([word for hold in left for word in hold]).decode()


@dataclass(frozen=True, slots=True)
class Target:
    """A provider and its model name."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a worker is told about a job in plain text; nothing here comes from a prompt."""

    endpoint: Endpoint
    model: str  # as the caller named it
    targets: tuple[Target, ...]  # the route
    at: int = 0  # the target to try now
    stream: bool = False
    include_usage: bool = False  # the stream's last chunk bears the usage
    created_unix_s: int = 0
    masked: bool = False  # placeholders stand in its texts
    noted: str = ""  # what the guard warned of at the door
    main: int = 0  # how many of the targets are the route itself; 0: all. The others are reached by chains only
    chains: Mapping[Cause, Sequence[int]] = field(default_factory=dict)  # by a failure's cause: where to go next
    tried: tuple[int, ...] = ()  # the targets that have failed it
    tokens: int = 0  # that it may take at most, where a target has a limit of them
    moved: bool = False  # the first target's holds were let go: whoever asks another takes that one's

    @property
    def target(self) -> Target:
        return self.targets[self.at]

    def dump(self) -> bytes:
        targets = [[target.provider, target.model] for target in self.targets]
        told: list[Any] = [
            self.endpoint, self.model, targets, self.at, self.stream, self.include_usage, self.created_unix_s,
            self.masked, self.noted,
        ]  # fmt: skip
        if self.chains or self.tried or self.tokens or self.moved:
            told += (self.main, self.chains, self.tried, self.tokens, self.moved)
        return orjson.dumps(told)

    @classmethod
    def load(cls, data: bytes) -> Spec:
        endpoint, model, targets, at, stream, include_usage, created, masked, noted, *more = orjson.loads(data)
        main, chains, tried, tokens, moved = (*tuple(more), *_UNSAID[len(more) :])
        return cls(
            endpoint=endpoint,
            model=model,
            targets=tuple(Target(*target) for target in targets),
            at=at,
            stream=stream,
            include_usage=include_usage,
            created_unix_s=created,
            masked=masked,
            noted=noted,
            main=main,
            chains=chains,
            tried=tuple(tried),
            tokens=tokens,
            moved=moved,
        )


_UNSAID: tuple[Any, ...] = (0, {}, (), 0, False)  # main, chains, tried, tokens, moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """All that the door writes about a new job."""

    id: str
    tenant: str
    key: str  # the id of the key that asked
    spec: Spec
    request: bytes  # sealed; empty when `large`
    timeout_ms: int
    retention_ms: int
    priority: lanes.Priority = "interactive"
    large: bool = False  # the sealed request lies in a key of its own
    door: str = ""  # the boot id of the web process that waits, if one does
    private: bool = False
    rerun: bool = True  # may be sent again when an attempt's outcome is unknown and the client has seen nothing
    reserved_usd: str = ""  # what one attempt may cost at most
    holds: str = ""  # what it takes of counters, as `told`
    tags: str = ""  # JSON, for the ledger
    mask: bytes = b""  # what its placeholders stand for, sealed under the door's own master
    idempotency_key: str = ""
    fingerprint: str = ""  # of the request, to tell a repeated key from a reused one
    route: str = ""  # how its route came about, in a line
    shadow: str = ""  # the job that asks another model the same
    shadow_of: str = ""  # the job whose shadow this one is

    @property
    def lane(self) -> lanes.Lane:
        return lanes.Lane(self.spec.target.provider, self.priority)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job as its worker holds it."""

    id: str
    fence: int
    attempt: int
    seq: int  # the number of the last event that an earlier attempt wrote
    left_ms: int  # until the deadline, by Redis' clock
    waited_ms: int
    lane: str
    tenant: str
    spec: Spec
    request: bytes
    large: bool
    stop: str  # why it should stop, if it should
    private: bool
    key: str = ""  # the id of the key that asked
    reserved_usd: str = ""  # what one attempt may cost at most


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a job's timeline."""

    at_ms: int
    state: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A job as its owner may see it; `end` and `result` are still sealed."""

    id: str
    state: State
    lane: str
    endpoint: Endpoint
    provider: str
    model: str  # the provider's
    spec: Spec
    attempt: int
    attempts: list[dict[str, Any]]
    seq: int
    created_ms: int
    deadline_ms: int
    ended_ms: int | None
    timeline: list[Step]
    end: bytes
    result: bytes
    reason: str
    usage: dict[str, Any] | None
    cost_usd: str | None
    private: bool
    mask: bytes  # sealed for the door; empty where nothing was masked
    position: int | None
    gap_ms: float | None
    route: str = ""  # how its route came about, in a line
    shadow: str = ""  # the job that asks another model the same
    shadow_of: str = ""  # the job whose shadow this one is

    @property
    def eta_ms(self) -> int | None:
        """How long it will wait at the lane's present pace; None while that is not known."""
        if self.position is None or self.gap_ms is None:
            return None
        return round((self.position + 1) * self.gap_ms)


# Endings that a script wrote by itself, with no worker to seal a message.
_REASONS: dict[str, tuple[type[errors.GatewayError], str]] = {
    "deadline": (errors.DeadlineExceeded, "The job's deadline passed before it was done."),
    "worker_lost": (
        errors.WorkerLost,
        "Every worker that took this job was lost; it was given up after its last attempt.",
    ),
    "outcome_unknown": (
        errors.OutcomeUnknown,
        "The worker was lost after the request had been sent; it may have been done and billed, and was not repeated.",
    ),
    "not_private": (errors.GatewayError, "A private job was refused by a worker whose provider is not private."),
}


def ending(reason: str) -> errors.GatewayError:
    """The error of a job that ended without a worker's word."""
    kind, message = _REASONS.get(reason, (errors.Cancelled, "The job was cancelled."))
    return kind(message)
