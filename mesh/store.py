"""The mesh's words: for each thing that is said to Redis, the command and how its reply is read.

Nothing here owns a connection. A `Call` is handed to whatever does: the door's pipe, a worker's pipe, or `run` with a
redis-py client. Every call may be sent twice (a lost reply says nothing about whether it ran).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from mesh import errors, lanes, wire
from mesh.errors import GatewayError
from mesh.job import Claim, Hold, Spec, State, Status, Step, Submission
from mesh.pull import Progress, Pull, PullState, pull_id
from mesh.settings import CircuitLimits
from mesh.wire import Arg

T = TypeVar("T")

LEASE_MS = 15_000
LARGE_BYTES = 64_000  # a sealed request above this lies in a key of its own
LARGE_LIFE_MS = 60_000  # for as long as its submit may take
DOOR_LIFE_MS = 15_000
MOST_SHADOWS = 10_000  # pairs that are remembered
MOST_FETCHES = 1_000  # that wait for worker-system
MOST_PULLS = 20  # that wait or run
PULL_LEASE_MS = 30_000
BLOCK_S = 5  # a blocking read answers at least this often, so that a dead connection is noticed

_FOLDER = Path(__file__).parent / "lua"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command, and how its reply is read."""

    args: tuple[Arg, ...]
    read: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    text: str
    sha: str


def _script(path: Path) -> Script:
    def part(match: re.Match[str]) -> str:
        return (_FOLDER / "parts" / f"{match[1]}.lua").read_text()

    text = re.sub(r"^-- include (\w+)$", part, path.read_text(), flags=re.MULTILINE)
    return Script(path.stem, text, hashlib.sha1(text.encode()).hexdigest())


SCRIPTS = {path.stem: _script(path) for path in sorted(_FOLDER.glob("*.lua"))}
BY_SHA = {script.sha: script for script in SCRIPTS.values()}


def loading() -> list[tuple[Arg, ...]]:
    """What a new connection says so that every script is known."""
    return [("SCRIPT", "LOAD", script.text) for script in SCRIPTS.values()]


def in_full(args: tuple[Arg, ...]) -> tuple[Arg, ...]:
    """The same call with the script's text instead of its digest, for a server that has forgotten it."""
    return ("EVAL", BY_SHA[str(args[1])].text, *args[2:])


def _call(name: str, args: Iterable[Arg], read: Callable[[Any], T]) -> Call[T]:
    return Call(("EVALSHA", SCRIPTS[name].sha, 1, lanes.PREFIX, *args), read)


def connect(url: str, *, patience_s: float = 5.0) -> redis.Redis:
    """A redis-py client for what is not hot: replies as they come on the wire, and no retries of its own."""
    address = wire.Address.parse(url)
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": patience_s,
        "socket_connect_timeout": patience_s,
        "retry": Retry(NoBackoff(), 0),
    }
    if (sentinels := address.sentinels) is None:
        return redis.Redis.from_url(url, **options)
    primary: redis.Redis = Sentinel(sentinels.hosts, sentinel_kwargs={**options, **sentinels.options()}).master_for(
        sentinels.primary,
        username=address.username or None,
        password=address.password or None,
        db=address.database,
        **options,
    )
    return primary


def run(client: redis.Redis, call: Call[T]) -> T:
    """Say it over a client from `connect`.

    Raises:
        redis.RedisError: refused, or not reached.
    """
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([wire.pack(call.args)])
        try:
            return call.read(connection.read_response())
        except redis.exceptions.NoScriptError:
            connection.send_packed_command([wire.pack(in_full(call.args))])
            return call.read(connection.read_response())
    finally:
        client.connection_pool.release(connection)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission.

    outcome: queued (`waiting` before it, `gap_ms` between two of them, where that is known, `taken` of each window) |
    again (this id was accepted before) | same, conflict (the idempotency key is another job's, whose id is `other`) |
    full (`waiting` in the lane) | held (by the hold named `other`, of which `waiting` is taken, for `wait_ms`: 0 is not
    known, -1 for ever) | broken (the counter of the hold named `other` cannot be read) | missing (the large request has
    gone)
    """

    outcome: Literal["queued", "again", "same", "conflict", "full", "held", "broken", "missing"]
    waiting: int = 0
    created_ms: int = 0
    gap_ms: float = 0.0
    other: str = ""
    taken: tuple[int, ...] = ()
    wait_ms: int = 0


def _gap_ms(pace: bytes | None) -> float | None:
    """From a lane's pace, `<ms between two jobs or -> <when> <backlog 0|1>`."""
    gap = (pace or b"-").partition(b" ")[0]
    return None if gap == b"-" else float(gap)


def _submitted(reply: Any) -> Submitted:
    outcome = _text(reply[0])
    match outcome:
        case "queued":
            gap_ms = _gap_ms(reply[3]) or 0.0
            return Submitted("queued", waiting=reply[1], created_ms=reply[2], gap_ms=gap_ms, taken=tuple(reply[4]))
        case "full":
            return Submitted("full", waiting=reply[1])
        case "held":
            return Submitted("held", waiting=reply[2], other=_text(reply[1]), wait_ms=reply[3])
        case "broken":
            return Submitted("broken", other=_text(reply[1]))
        case "same" | "conflict":
            return Submitted("same" if outcome == "same" else "conflict", other=_text(reply[1]))
        case "again" | "missing":
            return Submitted("again" if outcome == "again" else "missing")
    raise ValueError(f"submit answered {outcome!r}")


def _told(holds: Iterable[Hold]) -> Iterator[Arg]:
    for hold in holds:
        yield from (hold.kind, hold.name, hold.amount, hold.ceiling, hold.unit, hold.life_ms)


def submit(job: Submission, *, lane_limit: int, idempotency_ms: int, index_ms: int) -> Call[Submitted]:
    """Accept a job.

    index_ms: how long the tenant's list of jobs remembers it.
    """
    target = job.spec.target
    args: list[Arg] = [
        job.id, job.lane.name, job.tenant, job.idempotency_key, job.fingerprint, idempotency_ms, job.timeout_ms,
        lane_limit, index_ms, int(job.large), len(job.holds), *_told(job.holds), "key", job.key,
        "endpoint", job.spec.endpoint, "provider", target.provider, "model", target.model, "spec", job.spec.dump(),
        "retention", job.retention_ms,
        "doors", job.door, "request", job.request,
    ]  # fmt: skip
    if job.private:
        args += ("private", "1")
    if not job.rerun:
        args += ("rerun", "0")
    if job.reserved_usd:
        args += ("reserved", job.reserved_usd)
    if job.tags:
        args += ("tags", job.tags)
    if job.mask:
        args += ("mask", job.mask)
    for name in ("route", "shadow", "shadow_of"):
        if told := getattr(job, name):
            args += (name, told)
    return _call("submit", args, _submitted)


def add_shadow(job_id: str, shadow_id: str, tenant: str, model: str) -> Call[Any]:
    """Remember that one job is the shadow of another, for who compares their answers."""
    fields = ("job", job_id, "shadow", shadow_id, "tenant", tenant, "model", model)
    return Call(("XADD", f"{lanes.PREFIX}shadows", "MAXLEN", "~", MOST_SHADOWS, "*", *fields), _same)


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A job and its shadow."""

    at_ms: int
    job: str
    shadow: str
    tenant: str
    model: str  # as the caller named it


def list_shadows(limit: int) -> Call[list[Shadowed]]:
    """The newest first."""

    def read(reply: Any) -> list[Shadowed]:
        return [
            Shadowed(int(entry.partition(b"-")[0]), *(_text(value) for value in fields[1::2]))
            for entry, fields in reply
        ]

    return Call(("XREVRANGE", f"{lanes.PREFIX}shadows", "+", "-", "COUNT", limit), read)


def put_request(job_id: str, sealed: bytes) -> Call[Any]:
    """Write a large request, to be done before its submit."""
    return Call(("SET", f"{lanes.PREFIX}request:{job_id}", sealed, "PX", LARGE_LIFE_MS), _same)


def get_request(job_id: str) -> Call[bytes]:
    """A large request; empty when its job has ended."""
    return Call(("GET", f"{lanes.PREFIX}request:{job_id}"), lambda reply: reply or b"")


def _same(reply: Any) -> Any:
    return reply


def _claim_row(row: Sequence[Any]) -> Claim:
    return Claim(
        id=_text(row[0]),
        fence=row[1],
        attempt=row[2],
        seq=row[3],
        left_ms=row[4],
        waited_ms=row[5],
        lane=_text(row[6]),
        tenant=_text(row[7]),
        spec=Spec.load(row[8]),
        request=row[9],
        large=row[10] == b"1",
        stop=_text(row[11]),
        private=row[12] == b"1",
        key=_text(row[13]),
        reserved_usd=_text(row[14]),
    )


@dataclass(frozen=True, slots=True)
class Claimed:
    jobs: list[Claim]
    turn: int  # jobs since the last one from a batch lane; handed to the next claim


def _claimed(reply: Any) -> Claimed:
    return Claimed([_claim_row(row) for row in reply[1:]], reply[0])


def claim(
    boot: str, number: int, free: int, turn: int, providers: Sequence[tuple[str, bool]], *, max_attempts: int
) -> Call[Claimed]:
    """Lease up to `free` waiting jobs of these providers (name, private).

    number: counts this worker's claims; a repeated number is answered with the same jobs.
    """
    args: list[Arg] = [boot, number, free, LEASE_MS, max_attempts, turn]
    for name, private in providers:
        args += (name, int(private))
    args.append("|")
    for name, private in providers:
        args += (f"{name}.batch", int(private))
    return _call("claim", args, _claimed)


def take(boot: str, job_id: str, private: Sequence[str], *, max_attempts: int) -> Call[Claim | str | None]:
    """Lease the one job that a Celery message named; its state when it is not to be had, None when there is none.

    private: the providers that are.
    """

    def read(reply: Any) -> Claim | str | None:
        if reply is None:
            return None
        return _claim_row(reply) if isinstance(reply, list) else _text(reply)

    return _call("take", (boot, job_id, LEASE_MS, max_attempts, *private), read)


@dataclass(frozen=True, slots=True)
class Renewed:
    lost: list[str]
    stops: dict[str, str]  # job id → why


def _renewed(reply: Any) -> Renewed:
    lost, stops = reply
    words = [_text(word) for word in stops]
    return Renewed([_text(job_id) for job_id in lost], dict(zip(words[::2], words[1::2], strict=True)))


def renew(boot: str, providers: Sequence[str], held: Iterable[tuple[str, int, str]]) -> Call[Renewed]:
    """Prolong the leases of these (job id, fence, lane)."""
    args: list[Arg] = [boot, LEASE_MS, len(providers), *providers]
    for job_id, fence, lane in held:
        args += (job_id, fence, lane)
    return _call("renew", args, _renewed)


class Said(NamedTuple):
    """What a worker has to say of one job: events in their order, the first with the number `first`."""

    job_id: str
    fence: int
    first: int
    said: bool  # a client may have seen something of the answer after this
    sealed: Sequence[bytes]


def append(saying: Sequence[Said]) -> Call[list[str]]:
    """Add events to the logs of jobs.

    The reply has a word for each: "ok", "lost" (somebody else holds the job now; stop talking to the provider), or why
    the job should stop.
    """
    args: list[Arg] = []
    for said in saying:
        args += (said.job_id, said.fence, said.first, int(said.said), len(said.sealed), *said.sealed)
    return _call("append", args, lambda reply: [_text(word) for word in reply])


def finish(
    job_id: str, fence: int, state: State, *, end: bytes, result: bytes = b"", attempt: bytes = b"",
    usage: bytes = b"", cost_usd: str = "", reason: str = "", last: int = 0,
    measured: Mapping[str, int] = MappingProxyType({}),
) -> Call[str]:  # fmt: skip
    """End a job; the reply is "ok", "already" or "lost".

    last: the number of its last event. measured: by unit, what its holds are settled by.
    """
    args: list[Arg] = [job_id, fence, state.value, end, result, attempt, usage, cost_usd, reason, last]
    for unit, amount in measured.items():
        args += (unit, amount)
    return _call("finish", args, _text)


def release(
    claim: Claim,
    spec: Spec,
    *,
    why: str,
    delay_ms: int = 0,
    refund: bool = False,
    parked: bool = False,
    attempt: bytes = b"",
    let_go: Sequence[str] = (),
    undo: bool = False,
    take: Sequence[Hold] = (),
) -> Call[str]:
    """Give a job back, to the lane of the target that `spec` points at, in the class it was in.

    refund: the attempt does not count. let_go, take: names of the holds that end with the target which it leaves, and
    those that come with the next; undo: they end as if they had never been taken. The reply is "ok", "already", "lost",
    or why the job should stop.
    """
    lane = lanes.Lane(spec.target.provider, lanes.named(claim.lane).priority)
    args: tuple[Arg, ...] = (
        claim.id, claim.fence, State.PARKED.value if parked else State.QUEUED.value, delay_ms, int(refund), lane.name,
        spec.target.provider, spec.target.model, spec.dump() if spec != claim.spec else b"", attempt, why,
        int(undo), len(let_go), *let_go, *_told(take),
    )  # fmt: skip
    return _call("release", args, _text)


@dataclass(frozen=True, slots=True)
class Holding:
    """What became of holds that a running job wanted.

    outcome: ok | lost | held, broken (by the hold named `other`, as in `Submitted`; `taken` of it)
    """

    outcome: Literal["ok", "lost", "held", "broken"]
    other: str = ""
    taken: int = 0
    wait_ms: int = 0


def hold(claim: Claim, holds: Sequence[Hold]) -> Call[Holding]:
    """Take holds for a job that runs, all or none."""

    def read(reply: Any) -> Holding:
        outcome, *more = reply
        return Holding(_text(outcome), *(_text(each) if isinstance(each, bytes) else each for each in more))  # type: ignore[arg-type]  # as the script says it

    return _call("hold", (claim.id, claim.fence, *_told(holds)), read)


def cancel(job_id: str, tenant: str, why: str = "cancelled") -> Call[str | None]:
    """End a waiting job, or ask a running one to stop: "cancelled", "stopping", the state it had ended in, or None."""
    return _call("cancel", (job_id, tenant, why), lambda reply: None if reply is None else _text(reply))


@dataclass(frozen=True, slots=True)
class Watched:
    state: State
    seq: int
    mask: bytes  # sealed for the door; empty where nothing was masked


def watch(job_id: str, tenant: str, boot: str) -> Call[Watched | None]:
    """Have a job's further events sent to this door; None when the tenant has no such job."""

    def read(reply: Any) -> Watched | None:
        return None if reply is None else Watched(State(_text(reply[0])), reply[1], reply[2] or b"")

    return _call("watch", (job_id, tenant, boot), read)


def _steps(timeline: str) -> list[Step]:
    steps = []
    for line in timeline.split("\n")[:-1]:
        at, state, *detail = line.split(" ", 2)
        steps.append(Step(int(at), state, detail[0] if detail else ""))
    return steps


def _status(job_id: str, reply: Any) -> Status | None:
    if reply is None:
        return None
    position, pace, pairs = reply
    fields = {_text(name): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}

    def text(name: str) -> str:
        return _text(fields.get(name, b""))

    return Status(
        id=job_id,
        state=State(text("state")),
        lane=text("lane"),
        endpoint=text("endpoint"),  # type: ignore[arg-type]  # written by submit from an Endpoint
        provider=text("provider"),
        model=text("model"),
        spec=Spec.load(fields["spec"]),
        attempt=int(fields["attempt"]),
        attempts=orjson.loads(f"[{text('attempts')}]"),
        seq=int(fields["seq"]),
        created_ms=int(fields["created"]),
        deadline_ms=int(fields["deadline"]),
        ended_ms=int(fields["ended"]) if "ended" in fields else None,
        timeline=_steps(text("timeline")),
        end=fields.get("end", b""),
        result=fields.get("result", b""),
        reason=text("reason"),
        usage=orjson.loads(fields["usage"]) if fields.get("usage") else None,
        cost_usd=text("cost") or None,
        private=text("private") == "1",
        mask=fields.get("mask", b""),
        position=position,
        gap_ms=_gap_ms(pace),
        route=text("route"),
        shadow=text("shadow"),
        shadow_of=text("shadow_of"),
    )


def status(job_id: str, tenant: str, *, result: bool = False) -> Call[Status | None]:
    """
    result: with the whole answer, which may be megabytes.
    """
    return _call("status", (job_id, tenant, int(result)), lambda reply: _status(job_id, reply))


def events(job_id: str, after: int, count: int = 1000) -> Call[list[tuple[int, bytes]]]:
    """Sealed events of a job's log with numbers above `after`; the end event is not in the log but in its status."""

    def read(reply: Any) -> list[tuple[int, bytes]]:
        return [(int(entry_id.partition(b"-")[0]), fields[1]) for entry_id, fields in reply]

    return Call(("XRANGE", f"{lanes.PREFIX}events:{job_id}", f"({after}-0", "+", "COUNT", count), read)


@dataclass(frozen=True, slots=True)
class Page:
    ids: list[str]
    onward: str  # the id to go on after; empty when there are no more


def list_jobs(tenant: str, *, state: str = "", after: str = "", limit: int = 20) -> Call[Page | None]:
    """A tenant's jobs, newest first; None when `after` is none of them."""

    def read(reply: Any) -> Page | None:
        return None if reply is None else Page([_text(job_id) for job_id in reply[1:]], _text(reply[0]))

    return _call("list", (tenant, state, after, limit), read)


@dataclass(frozen=True, slots=True)
class Reaped:
    leases_ended: int
    retries_rung: int
    overdue_closed: int
    messages_rung: int
    pulls_rung: int

    def __bool__(self) -> bool:
        return any((self.leases_ended, self.retries_rung, self.overdue_closed, self.messages_rung, self.pulls_rung))


def reap(providers: Iterable[str], *, max_attempts: int, limit: int = 100) -> Call[Reaped]:
    names = [lane.name for provider in providers for lane in lanes.of_provider(provider)]
    return _call("reap", (limit, max_attempts, *names), lambda reply: Reaped(*reply))


def fetch(claim: Claim, fetch_id: str, sealed_url: bytes, life_ms: int) -> Call[str]:
    """Ask worker-system for what lies behind a URL: "ok", "lost", "private" or "full"."""
    return _call("fetch", (claim.id, claim.fence, fetch_id, sealed_url, life_ms, MOST_FETCHES), _text)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A URL that a job's worker waits for, still sealed."""

    tenant: str
    job_id: str
    url: bytes


def get_fetch(fetch_id: str) -> Call[Fetch | None]:
    """None when nobody waits for it any more."""

    def read(reply: Any) -> Fetch | None:
        tenant, job_id, url = reply
        return None if url is None else Fetch(_text(tenant), _text(job_id), url)

    return Call(("HMGET", f"{lanes.PREFIX}fetch:{fetch_id}", "tenant", "job", "url"), read)


def put_fetched(fetch_id: str, sealed: bytes) -> Call[bool]:
    """Hand over what was fetched; False when nobody waits for it any more."""
    return _call("fetched", (fetch_id, sealed), bool)


def get_fetched(fetch_id: str) -> Call[bytes]:
    """What was fetched, still sealed; empty while it has not come."""
    return Call(("GET", f"{lanes.PREFIX}fetched:{fetch_id}"), lambda reply: reply or b"")


def forget_fetches(fetch_ids: Iterable[str]) -> Call[Any]:
    """Take back what was asked and throw away what has come."""
    keys = [f"{lanes.PREFIX}{kind}:{fetch_id}" for fetch_id in fetch_ids for kind in ("fetch", "fetched")]
    return Call(("UNLINK", *keys), _same)


def audit(fields: Mapping[str, str]) -> Call[Any]:
    """Add a row to what is kept of the guard's and the operators' doings. Said twice it stands there twice."""
    return _call("audit", [part for pair in fields.items() for part in pair], _same)


def door_beat(boot: str) -> Call[Any]:
    """Say that this web process lives: workers write only to reply channels of living ones."""
    return _call("beat", (boot, DOOR_LIFE_MS), _same)


def door_leave(boot: str) -> Call[Any]:
    return Call(("DEL", f"{lanes.PREFIX}door:{boot}", f"{lanes.PREFIX}replies:{boot}"), _same)


def replies(boot: str) -> tuple[Arg, ...]:
    """The blocking read of a door's reply channel; an entry is `<job id> <number> <sealed event>`.

    A job's end is `<job id> <number>!<length of the end event> <sealed end event><sealed answer>`; the event is empty
    when a script ended the job, and the answer when the job was streamed.
    """
    return ("BLMPOP", BLOCK_S, 1, f"{lanes.PREFIX}replies:{boot}", "LEFT", "COUNT", 512)


def control(boot: str) -> tuple[Arg, ...]:
    """The blocking read of a worker's control list; an entry is `<job id> <why>`."""
    return ("BLMPOP", BLOCK_S, 1, f"{lanes.PREFIX}control:{boot}", "LEFT", "COUNT", 64)


def look(lane: lanes.Lane) -> tuple[Arg, ...]:
    """Wait until a lane has a message, and leave it there. It wakes every waiter; with a full lane it returns at
    once."""
    return ("BLMOVE", lane.messages, lane.messages, "RIGHT", "RIGHT", BLOCK_S)


def listed(provider: str, pulls: bool, models: Sequence[str] | None, error: GatewayError | None) -> Call[Any]:
    """What a worker heard when it asked a provider for its models.

    pulls: whether it fetches models when it is told to.
    """
    found = b"" if models is None else orjson.dumps(list(models))
    failed = b"" if error is None else orjson.dumps(errors.dump(error))
    return _call("listed", (provider, int(pulls), found, failed), _same)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the workers heard when they last asked a provider for its models; None is what none has heard yet."""

    pulls: bool | None = None  # whether it fetches models when it is told to
    listed_ms: int | None = None  # when it last answered with its list
    error: dict[str, Any] | None = None  # the last one, as `errors.dump` writes it
    error_ms: int | None = None


def get_asked() -> Call[dict[str, Asked]]:
    """By provider; those that were never asked are absent."""

    def read(reply: Any) -> dict[str, Asked]:
        facts: dict[str, dict[str, Any]] = {}
        for name, value in zip(reply[::2], reply[1::2], strict=True):
            provider, _, fact = _text(name).partition(":")
            facts.setdefault(provider, {})[fact] = value
        return {provider: _asked(each) for provider, each in facts.items()}

    return Call(("HGETALL", f"{lanes.PREFIX}providers:asked"), read)


def _asked(facts: dict[str, Any]) -> Asked:
    at, _, error = facts.get("error", b"").partition(b" ")
    return Asked(
        pulls=facts["pulls"] == b"1" if "pulls" in facts else None,
        listed_ms=int(facts["listed"]) if "listed" in facts else None,
        error=orjson.loads(error) if error else None,
        error_ms=int(at) if at else None,
    )


def get_models() -> Call[dict[str, list[str]]]:
    def read(reply: Any) -> dict[str, list[str]]:
        return {_text(name): orjson.loads(models) for name, models in zip(reply[::2], reply[1::2], strict=True)}

    return Call(("HGETALL", f"{lanes.PREFIX}providers:models"), read)


def pull(provider: str, model: str) -> Call[Pull | None]:
    """Have a provider fetch a model; None when as many as may be are open. One that is open is answered as it is."""

    def read(reply: Any) -> Pull | None:
        return None if reply is None else _pull(reply)

    return _call("pull", (pull_id(provider, model), provider, model, MOST_PULLS), read)


def pulls() -> Call[list[Pull]]:
    """The last pull of each model, newest first."""
    return _call("pulls", (), lambda reply: [_pull(fields) for fields in reply])


def pulling(
    pull: str, boot: str, state: PullState, progress: Progress, error: GatewayError | None = None
) -> Call[tuple[str, str] | None]:
    """A worker's word about a pull: it takes it or goes on (running), gives it back (queued), or it has ended.

    The reply is its provider and model; None: it has ended, or another worker has it.
    """

    def read(reply: Any) -> tuple[str, str] | None:
        return None if reply is None else (_text(reply[0]), _text(reply[1]))

    total = "" if progress.total_bytes is None else progress.total_bytes
    failed = b"" if error is None else orjson.dumps(error.body())
    args = (pull, boot, PULL_LEASE_MS, state, progress.status, progress.completed_bytes, total, failed)
    return _call("pulling", args, read)


def _pull(reply: Any) -> Pull:
    fields = {_text(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}

    def number(name: str) -> int | None:
        return int(fields[name]) if fields.get(name) else None

    return Pull(
        id=_text(fields["id"]),
        provider=_text(fields["provider"]),
        model=_text(fields["model"]),
        state=_text(fields["state"]),  # type: ignore[arg-type]  # written by scripts from a PullState
        progress=Progress(_text(fields.get("status", b"")), number("completed") or 0, number("total")),
        error=orjson.loads(fields["error"]) if fields.get("error") else None,
        created_ms=int(fields["created"]),
        started_ms=number("started"),
        ended_ms=number("ended"),
    )


@dataclass(frozen=True, slots=True)
class LaneLoad:
    waiting: int
    running: int


def lane_load(lane: lanes.Lane) -> tuple[Call[int], Call[int]]:
    """What waits and what runs in a lane: the two figures that KEDA adds."""
    return Call(("LLEN", lane.messages), int), Call(("ZCARD", lane.running), int)


@dataclass(slots=True)
class Outcomes:
    """What a worker met at one provider or target since it last told."""

    oks: int = 0
    ills: int = 0
    trailing: int = 0  # ills since the last ok
    first_ms: float | None = None
    tokens_per_s: float | None = None
    requests_left: int | None = None  # of the provider's own limits
    tokens_left: int | None = None
    whole_ms: int | None = None  # until those are whole again
    alone_ms: int = 0  # as long as the provider asked to be left alone


@dataclass(frozen=True, slots=True)
class Known:
    """What all workers have met, by provider or provider/model, how long a newcomer waits in each lane, and how much is
    taken of each counter."""

    now_ms: int
    waits_ms: dict[str, float]
    records: dict[str, dict[str, Any]]
    taken: Mapping[str, int] = field(default_factory=dict)


def health(
    policy: CircuitLimits, lanes_: Sequence[str], met: Mapping[str, Outcomes], counters: Sequence[Hold] = ()
) -> Call[Known]:
    """Tell what was met, and hear what is known; with nothing met it only asks."""
    failures = policy.failures if policy.enabled else 0
    spans = [round(1000 * span_s) for span_s in (policy.window_s, policy.open_s, policy.max_open_s)]
    args: list[Arg] = [failures, str(policy.ratio), policy.least, *spans, len(lanes_), *lanes_, len(counters)]
    for counter in counters:
        args += (counter.kind, counter.name, counter.life_ms)
    for name, seen in met.items():
        told = (seen.first_ms, seen.tokens_per_s, seen.requests_left, seen.tokens_left, seen.whole_ms)
        args += (name, seen.oks, seen.ills, seen.trailing, *("" if fact is None else str(fact) for fact in told))
        args.append(seen.alone_ms)

    def read(reply: Any) -> Known:
        now_ms, *loads, taken, pairs = reply
        waits = {}
        for lane, (waiting, pace) in zip(lanes_, loads, strict=True):
            waits[lane] = (waiting + 1) * (_gap_ms(pace) or 0.0) if waiting else 0.0
        records = {_text(name): orjson.loads(held) for name, held in zip(pairs[::2], pairs[1::2], strict=True)}
        return Known(now_ms, waits, records, dict(zip((each.name for each in counters), taken, strict=True)))

    return _call("health", args, read)


def live_workers(provider: str, since_ms: int) -> Call[int]:
    return Call(("ZCOUNT", f"{lanes.PREFIX}workers:{provider}", since_ms, "+inf"), int)


def memory() -> Call[tuple[int, int]]:
    """Bytes used and Redis' maxmemory (0: none)."""

    def read(reply: Any) -> tuple[int, int]:
        facts = dict(line.split(":", 1) for line in _text(reply).splitlines() if ":" in line)
        return int(facts["used_memory"]), int(facts["maxmemory"])

    return Call(("INFO", "memory"), read)


def ping() -> Call[Any]:
    return Call(("PING",), _same)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key's record.

    now_s: by Redis' clock. tenant: JSON of what its tenant has of its own, or empty.
    """

    now_s: int
    tenant: bytes
    fields: Mapping[str, str]


def _fields(reply: Sequence[bytes]) -> dict[str, str]:
    words = [word.decode() for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


def get_caller(key_id: str) -> Call[Key | None]:
    """Who asks with this key; None when there is no such key."""

    def read(reply: Any) -> Key | None:
        return None if reply is None else Key(reply[0], reply[1], _fields(reply[2]))

    return _call("caller", (key_id,), read)


def get_key(key_id: str) -> Call[dict[str, str]]:
    """A key's record; empty when there is none."""
    return Call(("HGETALL", f"{lanes.PREFIX}key:{key_id}"), _fields)


def set_key(key_id: str, fields: Mapping[str, Arg]) -> Call[Any]:
    pairs = [part for pair in fields.items() for part in pair]
    return Call(("HSET", f"{lanes.PREFIX}key:{key_id}", *pairs), _same)


def list_key(key_id: str, created_s: int) -> Call[Any]:
    """Add a key to the list of all."""
    return Call(("ZADD", f"{lanes.PREFIX}keys", created_s, key_id), _same)


def get_keys() -> Call[list[str]]:
    """The ids of all keys, newest first."""
    return Call(("ZREVRANGE", f"{lanes.PREFIX}keys", 0, -1), lambda reply: [_text(key_id) for key_id in reply])


def set_tenant(tenant: str, own: bytes) -> Call[Any]:
    """Write down what a tenant has of its own."""
    return Call(("SET", f"{lanes.PREFIX}own:{tenant}", own), _same)


def get_tenant(tenant: str) -> Call[bytes]:
    return Call(("GET", f"{lanes.PREFIX}own:{tenant}"), lambda reply: reply or b"")


def list_tenant(tenant: str) -> Call[Any]:
    return Call(("SADD", f"{lanes.PREFIX}tenants", tenant), _same)


def get_tenants() -> Call[list[str]]:
    """Every tenant that has a key or something of its own."""
    return Call(("SMEMBERS", f"{lanes.PREFIX}tenants"), lambda reply: sorted(_text(name) for name in reply))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger."""

    id: str  # of the stream: when it was written, in ms, and a number
    fields: Mapping[str, str]


def ledger(after: str, *, upto: str = "+", count: int = 1000) -> Call[list[Row]]:
    """Ledger rows with ids above `after` (empty: from the first), oldest first."""

    def read(reply: Any) -> list[Row]:
        return [Row(_text(row_id), _fields(fields)) for row_id, fields in reply]

    first = f"({after}" if after else "-"
    return Call(("XRANGE", f"{lanes.PREFIX}ledger:rows", first, upto, "COUNT", count), read)


def booked() -> Call[str]:
    """The id of the last ledger row that is in the counters; empty: none is."""
    return Call(("GET", f"{lanes.PREFIX}usage:booked"), lambda reply: _text(reply or b""))


def book(before: str, upto: str, life_ms: int, amounts: Iterable[tuple[str, str, int]]) -> Call[bool]:
    """Add rows to the counters of their days (day, field, amount); False when another has booked since `before`."""
    args: list[Arg] = [before, upto, life_ms]
    for amount in amounts:
        args += amount
    return _call("book", args, bool)


@dataclass(frozen=True, slots=True)
class Booked:
    upto: str  # the last row that is in them; empty: none
    days: list[dict[str, int]]  # fields of each day


def usage(days: Sequence[str]) -> Call[Booked]:
    def read(reply: Any) -> Booked:
        return Booked(
            _text(reply[0]), [{name: int(amount) for name, amount in _fields(day).items()} for day in reply[1:]]
        )

    return _call("usage", days, read)


def spending() -> Call[dict[str, int]]:
    """What was ever booked in all, by field."""
    return Call(
        ("HGETALL", f"{lanes.PREFIX}usage:all"),
        lambda reply: {name: int(amount) for name, amount in _fields(reply).items()},
    )


def exported() -> Call[str]:
    """The id of the last ledger row that has been exported; empty: none has."""
    return Call(("GET", f"{lanes.PREFIX}ledger:exported"), lambda reply: _text(reply or b""))


def begin_export(exported: str, first: str, last: str) -> Call[tuple[str, str] | None]:
    """The range of rows that leave now; None when it is to be asked anew what is left."""

    def read(reply: Any) -> tuple[str, str] | None:
        first, _, last = _text(reply).partition(" ")
        return (first, last) if last else None

    return _call("export", ("begin", exported, first, last), read)


def end_export(first: str, last: str) -> Call[bool]:
    """These rows are safe elsewhere: drop them."""
    return _call("export", ("end", first, last), bool)


def now_ms() -> Call[int]:
    """Redis' own clock."""
    return Call(("TIME",), lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def claim_alert(name: str, life_ms: int) -> Call[bool]:
    """Whether nobody else has sent this alert, or is about to."""
    return Call(("SET", f"{lanes.PREFIX}alerted:{name}", 1, "NX", "PX", life_ms), lambda reply: reply is not None)


def keep_alert(name: str, life_ms: int) -> Call[Any]:
    """It is sent: remember it for so long."""
    return Call(("SET", f"{lanes.PREFIX}alerted:{name}", 1, "PX", life_ms), _same)


def forget_alert(name: str) -> Call[Any]:
    """It could not be sent: somebody may try again."""
    return Call(("DEL", f"{lanes.PREFIX}alerted:{name}"), _same)


def spent(name: str) -> Call[int]:
    """What a `spent` hold's counter says now."""
    return Call(("GET", f"{lanes.PREFIX}spent:{name}"), lambda reply: int(reply or 0))
