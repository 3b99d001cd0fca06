"""What a job holds of its target's own limits, and how that moves with it to another target."""

from __future__ import annotations

import structlog

from mesh import errors, lanes, store
from mesh.errors import Limited
from mesh.job import Claim
from mesh.settings import Config
from routing import share
from routing.limits import limits_at
from workers.onward import Onward
from workers.pipe import Pipe

log = structlog.get_logger()


async def take(pipe: Pipe, claim: Claim, config: Config) -> Limited | None:
    """Take what this target's limits count, where the job was submitted for another; why not, where there is no place.

    Raises:
        WorkerLost: somebody else holds the job now.
        StoreUnavailable: a counter cannot be read.
    """
    spec = claim.spec
    wanted = {limit.one.name: limit for limit in limits_at(config.limits, spec.target)} if spec.moved else {}
    while wanted:
        had = await pipe.do(store.hold(claim, [limit.hold(spec.tokens) for limit in wanted.values()]))
        match had.outcome:
            case "ok":
                break
            case "lost":
                raise errors.WorkerLost("Another worker holds this job now.")
            case "held":
                return wanted[had.other].refusal(had.taken, had.wait_ms, spec.tokens)
        log.error("counter_unreadable", hold=had.other)
        if config.limits.unreadable == "refuse":
            raise errors.StoreUnavailable(f"The counter '{had.other}' cannot be read in Redis.", retry_after_s=30)
        del wanted[had.other]
    return None


def released(
    claim: Claim, way: Onward, config: Config, *, why: str, sent: bool, refund: bool, attempt: bytes = b""
) -> store.Call[str]:
    """The word that gives a job back, with what it held of a target that it leaves.

    sent: whether the provider may have seen the request; else the target's holds are undone.
    """
    leaves = way.spec.at != claim.spec.at
    lane = lanes.named(claim.lane)
    ahead = lanes.Lane(way.spec.target.provider, lane.priority)
    return store.release(
        claim,
        way.spec,
        why=why,
        delay_ms=way.delay_ms,
        refund=refund,
        parked=way.parked,
        attempt=attempt,
        let_go=share.bound_to(config, lane, claim.tenant, claim.spec.target) if leaves else (),
        undo=not sent,
        take=(share.lane_hold(ahead, claim.tenant),) if leaves else (),
    )
