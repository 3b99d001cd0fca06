"""A job from inside: claimed, renewed, spoken of, given back, ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from mesh import lanes
from mesh.job import Claim, Hold, Spec, State, told
from mesh.store.call import Call, as_text, script
from mesh.wire import Arg

LEASE_MS = 15_000


def _claim_row(row: Sequence[Any]) -> Claim:
    return Claim(
        id=as_text(row[0]),
        fence=row[1],
        attempt=row[2],
        seq=row[3],
        left_ms=row[4],
        waited_ms=row[5],
        lane=as_text(row[6]),
        tenant=as_text(row[7]),
        spec=Spec.load(row[8]),
        request=row[9],
        large=row[10] == b"1",
        stop=as_text(row[11]),
        private=row[12] == b"1",
        key=as_text(row[13]),
        reserved_usd=as_text(row[14]),
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
    return script("claim", args, _claimed)


def take(boot: str, job_id: str, private: Sequence[str], *, max_attempts: int) -> Call[Claim | str | None]:
    """Lease the one job that a Celery message named; its state when it is not to be had, None when there is none.

    private: the providers that are.
    """

    def read(reply: Any) -> Claim | str | None:
        if reply is None:
            return None
        return _claim_row(reply) if isinstance(reply, list) else as_text(reply)

    return script("take", (boot, job_id, LEASE_MS, max_attempts, *private), read)


@dataclass(frozen=True, slots=True)
class Renewed:
    lost: list[str]
    stops: dict[str, str]  # job id → why


def _renewed(reply: Any) -> Renewed:
    lost, stops = reply
    words = [as_text(word) for word in stops]
    return Renewed([as_text(job_id) for job_id in lost], dict(zip(words[::2], words[1::2], strict=True)))


def renew(boot: str, providers: Sequence[str], held: Iterable[tuple[str, int, str]]) -> Call[Renewed]:
    """Prolong the leases of these (job id, fence, lane)."""
    args: list[Arg] = [boot, LEASE_MS, len(providers), *providers]
    for job_id, fence, lane in held:
        args += (job_id, fence, lane)
    return script("renew", args, _renewed)


class Said(NamedTuple):
    """What a worker has to say of one job: records in their order, each with the number of its last event."""

    job_id: str
    fence: int
    first: int  # the number of the first event in them
    said: bool  # a client may have seen something of the answer after this
    records: Sequence[tuple[int, bytes]]  # sealed

    @property
    def events(self) -> int:
        return self.records[-1][0] + 1 - self.first


def append(saying: Sequence[Said]) -> Call[list[str]]:
    """Add events to the logs of jobs.

    The reply has a word for each: "ok", "lost" (somebody else holds the job now; stop talking to the provider), or why
    the job should stop.
    """
    args: list[Arg] = []
    for said in saying:
        args += (said.job_id, said.fence, said.first, int(said.said), len(said.records))
        for record in said.records:
            args += record
    return script("append", args, lambda reply: [as_text(word) for word in reply])


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
    return script("finish", args, as_text)


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
        int(undo), len(let_go), *let_go, told(hold.template for hold in take),
    )  # fmt: skip
    return script("release", args, as_text)


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
        return Holding(as_text(outcome), *(as_text(each) if isinstance(each, bytes) else each for each in more))  # type: ignore[arg-type]  # as the script says it

    return script("hold", (claim.id, claim.fence, told(hold.template for hold in holds)), read)


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
    return script("reap", (limit, max_attempts, *names), lambda reply: Reaped(*reply))
