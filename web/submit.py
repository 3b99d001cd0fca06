"""From a checked request to an accepted job: guard, route, seal, submit."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gevent
import orjson
import structlog

from mesh import errors, store
from mesh.job import Endpoint, Hold, Spec, Submission, Target, new_id
from mesh.lanes import Priority
from mesh.seal import JobSeal
from mesh.settings import Config
from mesh.wire import Refused
from routing import needs, prices
from routing.choose import Decision, Wish
from routing.prices import DEFAULT_ANSWER_TOKENS, Most
from web import guarding
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
_BEGINNING = 4096  # bytes of a conversation's first messages, by which one is told from another
_MOST_TRIES = 3  # at writing a large request whose first copy expired


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that the mesh has taken on, perhaps earlier under the same idempotency key."""

    id: str
    spec: Spec
    position: int | None
    eta_ms: int | None
    masked: Masked = UNMASKED  # what its follower puts back; of an earlier job the store knows it


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
        LaneFull, Overloaded: not now.
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
    job, sealed, decision, guarded = _submission(
        door, setup, caller, parsed, job_id, seal, wait, idempotency_key, cleared
    )
    if shadow_of or decision.shadow is not None:
        job = dataclasses.replace(job, shadow_of=shadow_of, shadow="" if shadow_of else new_id())
    outcome = _send(door, setup.config, job, sealed)
    match outcome.outcome:
        case "queued":
            eta_ms = outcome.gap_ms * (outcome.waiting + 1)
            door.outlook.waits_ms[job.lane.name] = eta_ms
            door.outlook.chosen(job.spec.target)
            if job.shadow and decision.shadow is not None:
                gevent.spawn(_shadow, door, caller, parsed, job, decision.shadow)
            guarding.note(door, guarded.records)
            eta = round(eta_ms) if outcome.gap_ms else None
            return Accepted(job.id, job.spec, outcome.waiting, eta, guarded.masked)
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
            raise errors.LaneFull(
                f"You have {outcome.waiting} open jobs in the queue of '{job.lane.name}', your share while it is full.",
                retry_after_s=_retry_after_s(door, job),
            )
        case "missing":
            raise errors.StoreUnavailable("The request could not be stored.", retry_after_s=5)


def _retry_after_s(door: Door, job: Submission) -> float:
    return min(60.0, max(1.0, door.outlook.waits_ms.get(job.lane.name, 0) / 1000))


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


def wish(
    caller: Caller,
    body: Mapping[str, Any],
    fields: GatewayFields,
    chars: int,
    *,
    private: bool = False,
    priority: Priority = "interactive",
) -> Wish:
    """What a request says about where it may go.

    chars: of the whole body.
    private: what is found in its texts may be seen only by private providers.
    priority: of the lane where the request itself does not say.
    """
    return Wish(
        model=body["model"],
        provider=fields.provider,
        fallbacks=fields.fallbacks,
        private=private or caller.private or fields.private is True,
        max_cost_usd=fields.max_cost,
        most=Most(chars, _most_tokens(body), answers=max(_count(body, "n"), _count(body, "best_of"), 1)),
        needs=needs.of(body, chars),
        priority=fields.priority or priority,
        conversation=lambda: _conversation(caller.tenant, body),
    )


def _conversation(tenant: str, body: Mapping[str, Any]) -> bytes:
    """A digest of how the conversation begins, which stays the same when it goes on."""
    begins = (body.get("messages") or [body.get("prompt") or body.get("input")])[:2]
    return hashlib.sha256(tenant.encode() + orjson.dumps(begins)[:_BEGINNING]).digest()


def _send(door: Door, limits: Config, job: Submission, sealed: bytes) -> store.Submitted:
    call = store.submit(
        job,
        lane_limit=limits.lanes.max_waiting,
        idempotency_ms=limits.retention.idempotency_s * 1000,
        index_ms=limits.retention.async_s * 1000,
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


def _submission(
    door: Door,
    setup: Setup,
    caller: Caller,
    parsed: Parsed,
    job_id: str,
    seal: JobSeal,
    wait: Wait,
    idempotency_key: str,
    cleared: Cleared,
) -> tuple[Submission, bytes, Decision, Guarded]:
    """The job, its sealed request, how its route came about, and what the guard did to it."""
    config, fields = setup.config, parsed.fields
    body = _bounded(parsed)
    request = orjson.dumps(body)
    later = wait == "async"
    priority = fields.priority or ("batch" if later else "interactive")
    asked = wish(caller, body, fields, len(request), private=cleared.private, priority=priority)
    decision = setup.router.route(asked, door.outlook)
    targets = decision.targets
    leaves = any(not config.providers[target.provider].private for target in targets)
    guarded = guarding.strip(door, caller, body, cleared, job_id, leaves=leaves)
    stored = request if guarded.body is body else orjson.dumps(guarded.body)
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
    )
    default_ms = config.requests.async_timeout_ms if later else config.requests.timeout_ms
    large = len(stored) > store.LARGE_BYTES
    sealed = seal.seal("request", stored)
    told = orjson.dumps([parsed.endpoint, dataclasses.asdict(fields)], default=str)
    reserved = setup.router.prices.ceiling_usd(targets[0], asked.most)
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
        reserved_usd="" if reserved is None else prices.plain(reserved),
        idempotency_key=hashlib.sha256(idempotency_key.encode()).hexdigest()[:32] if idempotency_key else "",
        fingerprint=door.sealer.fingerprint(caller.tenant, told + request) if idempotency_key else "",
        holds=(_share(door, caller, targets[0].provider, priority),),
        mask=_sealed_mask(door, caller, job_id, guarded.masked),
        route=decision.line,
    )
    return job, sealed, decision, guarded


def _sealed_mask(door: Door, caller: Caller, job_id: str, masked: Masked) -> bytes:
    if not masked:
        return b""
    assert door.secrets is not None  # no policy that masks comes into force without
    return masked.sealed(door.secrets.job(caller.tenant, job_id))


def _count(body: Mapping[str, Any], name: str) -> int:
    """A parameter that is a number where the endpoint knows it; elsewhere it was passed on unread."""
    value = body.get(name)
    return value if type(value) is int else 0


def _most_tokens(body: Mapping[str, Any]) -> int:
    return _count(body, "max_completion_tokens") or _count(body, "max_tokens")


def _bounded(parsed: Parsed) -> dict[str, Any]:
    """The body; whoever names a price without a length gets the length that the price was reckoned with."""
    if parsed.fields.max_cost is None or parsed.endpoint == EMBEDDINGS or _most_tokens(parsed.body):
        return parsed.body
    name = "max_completion_tokens" if parsed.endpoint == CHAT else "max_tokens"
    return parsed.body | {name: DEFAULT_ANSWER_TOKENS}


def _share(door: Door, caller: Caller, provider: str, priority: str) -> Hold:
    lane = provider if priority == "interactive" else f"{provider}.batch"
    most = door.config.lanes.max_waiting
    crowded = door.outlook.waits_ms.get(lane, 0) > _CROWDED_MS
    return Hold(f"lane:{lane}:{caller.tenant}", 1, max(1, most // 2) if crowded else most)
