"""The mesh's words: for each thing that is said to Redis, the command and how its reply is read.

Nothing here owns a connection. A `Call` is handed to whatever does: the door's pipe, a worker's pipe, or `run` with a
redis-py client. Every call may be sent twice (a lost reply says nothing about whether it ran).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from mesh import lanes, wire
from mesh.job import Claim, Spec, State, Status, Step, Submission
from mesh.wire import Arg

T = TypeVar("T")

LEASE_MS = 15_000
LARGE_BYTES = 64_000  # a sealed request above this lies in a key of its own
LARGE_LIFE_MS = 60_000  # for as long as its submit may take
DOOR_LIFE_MS = 15_000
MOST_FETCHES = 1_000  # that wait for worker-system
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

    outcome: queued (`waiting` before it, `gap_ms` between two of them, where that is known) | again (this id was
    accepted before) | same, conflict (the idempotency key is another job's, whose id is `other`) | full (`waiting` in
    the lane) | held (by the hold named `other`) | missing (the large request has gone)
    """

    outcome: Literal["queued", "again", "same", "conflict", "full", "held", "missing"]
    waiting: int = 0
    created_ms: int = 0
    gap_ms: float = 0.0
    other: str = ""


def _gap_ms(pace: bytes | None) -> float | None:
    """From a lane's pace, `<ms between two jobs or -> <when> <backlog 0|1>`."""
    gap = (pace or b"-").partition(b" ")[0]
    return None if gap == b"-" else float(gap)


def _submitted(reply: Any) -> Submitted:
    outcome = _text(reply[0])
    match outcome:
        case "queued":
            return Submitted("queued", waiting=reply[1], created_ms=reply[2], gap_ms=_gap_ms(reply[3]) or 0.0)
        case "full":
            return Submitted("full", waiting=reply[1])
        case "held":
            return Submitted("held", waiting=reply[2], other=_text(reply[1]))
        case "same" | "conflict":
            return Submitted("same" if outcome == "same" else "conflict", other=_text(reply[1]))
        case "again" | "missing":
            return Submitted("again" if outcome == "again" else "missing")
    raise ValueError(f"submit answered {outcome!r}")


def submit(job: Submission, *, lane_limit: int, idempotency_ms: int, index_ms: int) -> Call[Submitted]:
    """Accept a job.

    index_ms: how long the tenant's list of jobs remembers it.
    """
    holds: list[Arg] = []
    for hold in job.holds:
        holds += (hold.name, hold.amount, hold.ceiling)
    target = job.spec.target
    args: list[Arg] = [
        job.id, job.lane.name, job.tenant, job.idempotency_key, job.fingerprint, idempotency_ms, job.timeout_ms,
        lane_limit, index_ms, int(job.large), len(job.holds), *holds, "key", job.key, "endpoint", job.spec.endpoint,
        "provider", target.provider, "model", target.model, "spec", job.spec.dump(), "retention", job.retention_ms,
        "doors", job.door, "request", job.request,
    ]  # fmt: skip
    if job.private:
        args += ("private", "1")
    if not job.rerun:
        args += ("rerun", "0")
    if job.reserved_usd:
        args += ("reserved", job.reserved_usd)
    return _call("submit", args, _submitted)


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
) -> Call[str]:  # fmt: skip
    """End a job; the reply is "ok", "already" or "lost".

    last: the number of its last event.
    """
    return _call("finish", (job_id, fence, state.value, end, result, attempt, usage, cost_usd, reason, last), _text)


def release(
    claim: Claim,
    spec: Spec,
    *,
    why: str,
    delay_ms: int = 0,
    refund: bool = False,
    parked: bool = False,
    attempt: bytes = b"",
) -> Call[str]:
    """Give a job back, to the lane of the target that `spec` points at, in the class it was in.

    refund: nothing was sent, so the attempt does not count. The reply is "ok", "already", "lost", or why the job should
    stop.
    """
    lane = lanes.Lane(spec.target.provider, lanes.named(claim.lane).priority)
    args: tuple[Arg, ...] = (
        claim.id, claim.fence, State.PARKED.value if parked else State.QUEUED.value, delay_ms, int(refund), lane.name,
        spec.target.provider, spec.target.model, spec.dump() if spec != claim.spec else b"", attempt, why,
    )  # fmt: skip
    return _call("release", args, _text)


def cancel(job_id: str, tenant: str, why: str = "cancelled") -> Call[str | None]:
    """End a waiting job, or ask a running one to stop: "cancelled", "stopping", the state it had ended in, or None."""
    return _call("cancel", (job_id, tenant, why), lambda reply: None if reply is None else _text(reply))


@dataclass(frozen=True, slots=True)
class Watched:
    state: State
    seq: int


def watch(job_id: str, tenant: str, boot: str) -> Call[Watched | None]:
    """Have a job's further events sent to this door; None when the tenant has no such job."""

    def read(reply: Any) -> Watched | None:
        return None if reply is None else Watched(State(_text(reply[0])), reply[1])

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
        position=position,
        gap_ms=_gap_ms(pace),
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

    def __bool__(self) -> bool:
        return bool(self.leases_ended or self.retries_rung or self.overdue_closed or self.messages_rung)


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


def set_models(provider: str, models: Sequence[str]) -> Call[Any]:
    return Call(("HSET", f"{lanes.PREFIX}providers:models", provider, orjson.dumps(list(models))), _same)


def get_models() -> Call[dict[str, list[str]]]:
    def read(reply: Any) -> dict[str, list[str]]:
        return {_text(name): orjson.loads(models) for name, models in zip(reply[::2], reply[1::2], strict=True)}

    return Call(("HGETALL", f"{lanes.PREFIX}providers:models"), read)


@dataclass(frozen=True, slots=True)
class LaneLoad:
    waiting: int
    running: int


def lane_load(lane: lanes.Lane) -> tuple[Call[int], Call[int]]:
    """What waits and what runs in a lane: the two figures that KEDA adds."""
    return Call(("LLEN", lane.messages), int), Call(("ZCARD", lane.running), int)


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
