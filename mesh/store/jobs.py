"""A job from outside: accepted, followed, listed, cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from mesh import lanes
from mesh.job import Spec, State, Status, Step, Submission
from mesh.store.call import Call, as_is, as_text, pace_gap_ms, script
from mesh.wire import Arg

LARGE_BYTES = 64_000  # a sealed request above this lies in a key of its own
LARGE_LIFE_MS = 60_000  # for as long as its submit may take
MOST_SHADOWS = 10_000  # pairs that are remembered


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


def _submitted(reply: Any) -> Submitted:
    outcome = as_text(reply[0])
    match outcome:
        case "queued":
            gap_ms = pace_gap_ms(reply[3]) or 0.0
            return Submitted("queued", waiting=reply[1], created_ms=reply[2], gap_ms=gap_ms, taken=tuple(reply[4]))
        case "full":
            return Submitted("full", waiting=reply[1])
        case "held":
            return Submitted("held", waiting=reply[2], other=as_text(reply[1]), wait_ms=reply[3])
        case "broken":
            return Submitted("broken", other=as_text(reply[1]))
        case "same" | "conflict":
            return Submitted("same" if outcome == "same" else "conflict", other=as_text(reply[1]))
        case "again" | "missing":
            return Submitted("again" if outcome == "again" else "missing")
    raise ValueError(f"submit answered {outcome!r}")


def submit(job: Submission, *, lane_limit: int, idempotency_ms: int, index_ms: int) -> Call[Submitted]:
    """Accept a job.

    index_ms: how long the tenant's list of jobs remembers it.
    """
    target = job.spec.target
    args: list[Arg] = [
        job.id, job.lane.name, job.tenant, job.idempotency_key, job.fingerprint, idempotency_ms, job.timeout_ms,
        lane_limit, index_ms, int(job.large), job.holds, "key", job.key,
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
    return script("submit", args, _submitted)


def add_shadow(job_id: str, shadow_id: str, tenant: str, model: str) -> Call[Any]:
    """Remember that one job is the shadow of another, for who compares their answers."""
    fields = ("job", job_id, "shadow", shadow_id, "tenant", tenant, "model", model)
    return Call(("XADD", f"{lanes.PREFIX}shadows", "MAXLEN", "~", MOST_SHADOWS, "*", *fields), as_is)


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
            Shadowed(int(entry.partition(b"-")[0]), *(as_text(value) for value in fields[1::2]))
            for entry, fields in reply
        ]

    return Call(("XREVRANGE", f"{lanes.PREFIX}shadows", "+", "-", "COUNT", limit), read)


def put_request(job_id: str, sealed: bytes) -> Call[Any]:
    """Write a large request, to be done before its submit."""
    return Call(("SET", f"{lanes.PREFIX}request:{job_id}", sealed, "PX", LARGE_LIFE_MS), as_is)


def get_request(job_id: str) -> Call[bytes]:
    """A large request; empty when its job has ended."""
    return Call(("GET", f"{lanes.PREFIX}request:{job_id}"), lambda reply: reply or b"")


def cancel(job_id: str, tenant: str, why: str = "cancelled") -> Call[str | None]:
    """End a waiting job, or ask a running one to stop: "cancelled", "stopping", the state it had ended in, or None."""
    return script("cancel", (job_id, tenant, why), lambda reply: None if reply is None else as_text(reply))


@dataclass(frozen=True, slots=True)
class Watched:
    state: State
    seq: int
    mask: bytes  # sealed for the door; empty where nothing was masked


def watch(job_id: str, tenant: str, boot: str) -> Call[Watched | None]:
    """Have a job's further events sent to this door; None when the tenant has no such job."""

    def read(reply: Any) -> Watched | None:
        return None if reply is None else Watched(State(as_text(reply[0])), reply[1], reply[2] or b"")

    return script("watch", (job_id, tenant, boot), read)


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
    fields = {as_text(name): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}

    def text(name: str) -> str:
        return as_text(fields.get(name, b""))

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
        gap_ms=pace_gap_ms(pace),
        route=text("route"),
        shadow=text("shadow"),
        shadow_of=text("shadow_of"),
    )


def status(job_id: str, tenant: str, *, result: bool = False) -> Call[Status | None]:
    """
    result: with the whole answer, which may be megabytes.
    """
    return script("status", (job_id, tenant, int(result)), lambda reply: _status(job_id, reply))


def events(job_id: str, after: int, count: int = 1000) -> Call[list[tuple[int, bytes]]]:
    """Sealed records of a job's log with events above `after`; the end event is not in the log but in its status.

    Each with the number of its last event; the first may begin before.
    """

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
        return None if reply is None else Page([as_text(job_id) for job_id in reply[1:]], as_text(reply[0]))

    return script("list", (tenant, state, after, limit), read)
