"""From a checked request to an accepted job: guard, route, seal, submit."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import gevent
import orjson
import structlog

from mesh import errors, store
from mesh.job import Endpoint, Hold, Spec, Submission, Target, new_id
from mesh.lanes import Lane
from mesh.seal import JobSeal
from mesh.settings import Config
from mesh.wire import Refused
from routing import prices
from routing.choose import Decision
from routing.share import Share, lane_hold, share
from web import guarding, metrics, wishes
from web.auth import Caller
from web.door import Door
from web.guarding import Cleared, Guarded
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS, GatewayFields, Parsed
from web.restoring import UNMASKED, Masked
from web.setup import Setup

log = structlog.get_logger()

ENDPOINTS: dict[str, Endpoint] = {CHAT: "chat.completions", COMPLETIONS: "completions", EMBEDDINGS: "embeddings"}

_CROWDED_MS = 5_000  # a lane that waits longer gives no tenant more than half of its places
_LONGEST_KEY = 255
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5  # between two tries while it is not known when a limit will be free
_MOST_TRIES = 3  # at writing a large request whose first copy expired


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that the mesh has taken on, perhaps earlier under the same idempotency key."""

    id: str
    spec: Spec
    position: int | None
    eta_ms: int | None
    masked: Masked = UNMASKED  # what its follower puts back; of an earlier job the store knows it
    headers: Mapping[str, str] = field(default_factory=dict)  # what is left of the caller's limits


@dataclass(frozen=True, slots=True)
class _Draft:
    """A job before it is accepted."""

    job: Submission
    sealed: bytes  # its request
    decision: Decision
    taking: Share  # of limits and budgets
    guarded: Guarded  # what the guard did to it


Wait = Literal["answer", "stream", "async"]


def submit(
    door: Door,
    caller: Caller,
    parsed: Parsed,
    *,
    job_id: str,
    seal: JobSeal,
    wait: Wait,
    idempotency_key: str = "",
    shadow_of: str = "",
) -> Accepted:
    """Accept a request as the job `job_id`, whose follower, where anybody waits, has joined before.

    shadow_of: the job that this one only follows, to be compared with.

    Raises:
        ContentBlocked, NotFound, RequestError: the request cannot be done.
        Limited, Overloaded: not now.
        IdempotencyConflict: the key was used for another request.
    """
    if len(idempotency_key) > _LONGEST_KEY:
        raise errors.RequestError(
            f"The Idempotency-Key is longer than {_LONGEST_KEY} characters.", param="Idempotency-Key"
        )
    if door.stopping:
        raise errors.Stopping("This process of the gateway is shutting down.", retry_after_s=1)
    if door.pressure.high:
        raise errors.Overloaded("The gateway's memory is nearly full; no new jobs are taken.", retry_after_s=10)
    setup = door.setup
    cleared = guarding.clear(door, caller, parsed.body, job_id)

    def drafted() -> _Draft:
        draft = _draft(door, setup, caller, parsed, job_id, seal, wait, idempotency_key, cleared)
        if not shadow_of and draft.decision.shadow is None:
            return draft
        told = dataclasses.replace(draft.job, shadow_of=shadow_of, shadow="" if shadow_of else new_id())
        return dataclasses.replace(draft, job=told)

    draft, outcome, taking = _send_somewhere(door, setup.config, drafted, (parsed.fields.max_wait or 0) / 1000)
    job, guarded = draft.job, draft.guarded
    match outcome.outcome:
        case "queued":
            eta_ms = outcome.gap_ms * (outcome.waiting + 1)
            door.outlook.waits_ms[job.lane.name] = eta_ms
            door.outlook.chosen(job.spec.target)
            door.outlook.taken.update(taking.taken_of_targets(outcome.taken))
            if job.shadow and draft.decision.shadow is not None:
                gevent.spawn(_shadow, door, caller, parsed, job, draft.decision.shadow)
            guarding.note(door, guarded.records)
            eta = round(eta_ms) if outcome.gap_ms else None
            return Accepted(job.id, job.spec, outcome.waiting, eta, guarded.masked, taking.headers(outcome.taken))
        case "again":
            return Accepted(job.id, job.spec, None, None, guarded.masked)
        case "same":
            return Accepted(outcome.other, job.spec, None, None)
        case "conflict":
            raise errors.IdempotencyConflict(
                f"The Idempotency-Key '{idempotency_key}' was used before, for another request (job '{outcome.other}')."
            )
        case "full":
            raise errors.Overloaded(
                f"The queue of '{job.lane.name}' is full ({outcome.waiting} jobs wait).",
                retry_after_s=_retry_after_s(door, job),
            )
        case "held":
            if (refusal := taking.refusal(outcome.other, outcome.waiting, outcome.wait_ms)) is not None:
                metrics.refused(refusal.headers["x-gateway-limit"])
                raise refusal
            raise errors.LaneFull(
                f"You have {outcome.waiting} open jobs in the queue of '{job.lane.name}', your share while it is full.",
                retry_after_s=_retry_after_s(door, job),
            )
        case "broken":
            raise errors.StoreUnavailable(f"The counter '{outcome.other}' cannot be read in Redis.", retry_after_s=30)
        case "missing":
            raise errors.StoreUnavailable("The request could not be stored.", retry_after_s=5)


def _retry_after_s(door: Door, job: Submission) -> float:
    return min(60.0, max(1.0, door.outlook.waits_ms.get(job.lane.name, 0) / 1000))


def _send_somewhere(
    door: Door, config: Config, drafted: Callable[[], _Draft], patience_s: float
) -> tuple[_Draft, store.Submitted, Share]:
    """Send it to the first of its targets; where that one's own limit has just been reached, to the next that has room.

    drafted: makes the job, routed by what is known of the targets at that moment.
    """
    draft = drafted()
    for _ in range(draft.decision.main - 1):
        outcome, taking = _send_in_time(door, config, draft, patience_s, elsewhere=True)
        if outcome.outcome != "held" or not taking.of_target(outcome.other):
            return draft, outcome, taking
        door.outlook.taken[outcome.other] = outcome.waiting
        full, draft = draft, drafted()
        if draft.job.spec.target == full.job.spec.target:
            break  # so are all the others
    return draft, *_send_in_time(door, config, draft, patience_s)


def _send_in_time(
    door: Door, config: Config, draft: _Draft, patience_s: float, *, elsewhere: bool = False
) -> tuple[store.Submitted, Share]:
    """Send it; while a limit is reached, again and again for as long as the request would rather wait.

    A counter that cannot be read is left out where the configuration says so.
    elsewhere: it may have another target, so it does not wait for this one's limit.
    """
    job, taking = draft.job, draft.taking
    until = time.monotonic() + patience_s
    pause_s = _FIRST_PAUSE_S
    while True:
        outcome = _send(door, config, job, draft.sealed)
        if outcome.outcome == "broken":
            log.error("counter_unreadable", hold=outcome.other)
            if config.limits.unreadable == "allow":
                taking = taking.without(outcome.other)
                job = dataclasses.replace(job, holds=taking.holds)
                continue
        left_s = until - time.monotonic()
        final = outcome.outcome != "held" or outcome.wait_ms < 0 or not taking.waits(outcome.other)
        final = final or (elsewhere and taking.of_target(outcome.other))
        if final or left_s <= 0 or outcome.wait_ms / 1000 > left_s or door.stopping:
            return outcome, taking
        gevent.sleep(min(outcome.wait_ms / 1000 or pause_s, left_s))
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _shadow(door: Door, caller: Caller, parsed: Parsed, job: Submission, target: Target) -> None:
    """Ask another model the same, for comparison: an ordinary job in the batch lane. The caller never hears of it."""
    body = {name: value for name, value in parsed.body.items() if name not in ("stream", "stream_options")}
    fields = GatewayFields(
        private=parsed.fields.private, max_cost=parsed.fields.max_cost, provider=target.provider, fallbacks=()
    )
    same = dataclasses.replace(parsed, body=body | {"model": target.model}, fields=fields)
    try:
        seal = door.seal(caller.tenant, job.shadow)
        submit(door, caller, same, job_id=job.shadow, seal=seal, wait="async", shadow_of=job.id)
        door.pipe.do(store.add_shadow(job.id, job.shadow, caller.tenant, job.spec.model))
    except (errors.GatewayError, Refused) as error:
        log.info("shadow_refused", job=job.id, why=str(error))


def _send(door: Door, config: Config, job: Submission, sealed: bytes) -> store.Submitted:
    call = store.submit(
        job,
        lane_limit=config.lanes.max_waiting,
        idempotency_ms=config.retention.idempotency_s * 1000,
        index_ms=config.retention.async_s * 1000,
    )
    try:
        if not job.large:
            return door.pipe.do(call)
        for _ in range(_MOST_TRIES):
            door.freight.do(store.put_request(job.id, sealed))
            outcome = door.pipe.do(call)
            if outcome.outcome != "missing":
                break
        return outcome
    except Refused as error:
        if str(error).startswith("OOM"):
            raise errors.Overloaded("The gateway's memory is full; no new jobs are taken.", retry_after_s=10) from error
        raise


def _draft(
    door: Door,
    setup: Setup,
    caller: Caller,
    parsed: Parsed,
    job_id: str,
    seal: JobSeal,
    wait: Wait,
    idempotency_key: str,
    cleared: Cleared,
) -> _Draft:
    """The job, its sealed request, how its route came about, what the guard did, and what it takes of limits."""
    config, fields = setup.config, parsed.fields
    later = wait == "async"
    priority = wishes.priority(caller, fields.priority, later=later)
    allowance = caller.allowance
    body = wishes.bounded(parsed, priced=allowance.hard or fields.max_cost is not None)
    request = orjson.dumps(body)
    asked = wishes.wish(caller, config, body, fields, len(request), private=cleared.private, priority=priority)
    decision = setup.router.route(asked, door.outlook)
    targets = decision.targets
    leaves = any(not config.providers[target.provider].private for target in targets)
    guarded = guarding.strip(door, caller, body, cleared, job_id, leaves=leaves)
    stored = request if guarded.body is body else orjson.dumps(guarded.body)
    reserved = setup.router.prices.dearest_usd(targets, asked.most, batch=priority == "batch")
    place = _lane_share(door, config, caller, Lane(targets[0].provider, priority))
    taking = share(config, allowance, targets[0], asked.most.tokens, reserved, place)
    stream = body.get("stream") is True
    spec = Spec(
        endpoint=ENDPOINTS[parsed.endpoint],
        model=body["model"],
        targets=targets,
        stream=stream,
        include_usage=stream and (body.get("stream_options") or {}).get("include_usage") is True,
        created_unix_s=int(time.time()),
        masked=bool(guarded.masked),
        noted=guarded.noted,
        main=decision.main,
        chains=decision.chains,
        tokens=asked.most.tokens if config.limits.of_targets and len(targets) > 1 else 0,
    )
    default_ms = config.requests.async_timeout_ms if later else config.requests.timeout_ms
    large = len(stored) > store.LARGE_BYTES
    sealed = seal.seal("request", stored)
    job = Submission(
        id=job_id,
        tenant=caller.tenant,
        key=caller.key_id,
        spec=spec,
        request=b"" if large else sealed,
        large=large,
        timeout_ms=fields.timeout_ms or default_ms,
        retention_ms=1000 * (config.retention.async_s if later else config.retention.blocking_s),
        priority=priority,
        door="" if later else door.replies.boot,
        private=asked.private,
        rerun=fields.rerun is not False,
        reserved_usd="" if reserved is None else prices.plain(reserved),
        idempotency_key=hashlib.sha256(idempotency_key.encode()).hexdigest()[:32] if idempotency_key else "",
        fingerprint=_fingerprint(door, caller, parsed, request) if idempotency_key else "",
        holds=taking.holds,
        tags=caller.tags,
        mask=_sealed_mask(door, caller, job_id, guarded.masked),
        route=decision.line,
    )
    return _Draft(job, sealed, decision, taking, guarded)


def _fingerprint(door: Door, caller: Caller, parsed: Parsed, request: bytes) -> str:
    """Of everything that tells this request from another."""
    told = orjson.dumps([parsed.endpoint, dataclasses.asdict(parsed.fields)], default=str)
    return door.sealer.fingerprint(caller.tenant, told + request)


def _sealed_mask(door: Door, caller: Caller, job_id: str, masked: Masked) -> bytes:
    if not masked:
        return b""
    assert door.secrets is not None  # no policy that masks comes into force without
    return masked.sealed(door.secrets.job(caller.tenant, job_id))


def _lane_share(door: Door, config: Config, caller: Caller, lane: Lane) -> Hold:
    most = config.lanes.max_waiting
    crowded = door.outlook.waits_ms.get(lane.name, 0) > _CROWDED_MS
    return lane_hold(lane, caller.tenant, max(1, most // 2) if crowded else most)
