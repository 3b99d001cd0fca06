"""From a checked request to an accepted job: guard, route, seal, submit."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Literal

import orjson

from guardrails.guard import Action
from mesh import errors, store
from mesh.job import Endpoint, Hold, Spec, Submission
from mesh.seal import JobSeal
from routing import prices
from routing.choose import Wish
from web.auth import Caller
from web.door import Door
from web.pipe import Refused
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS, Parsed

ENDPOINTS: dict[str, Endpoint] = {CHAT: "chat.completions", COMPLETIONS: "completions", EMBEDDINGS: "embeddings"}

_CROWDED_MS = 5_000  # a lane that waits longer gives no tenant more than half of its places
_LONGEST_KEY = 255
_MOST_TRIES = 3  # at writing a large request whose first copy expired


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that the mesh has taken on, perhaps earlier under the same idempotency key."""

    id: str
    spec: Spec
    position: int | None
    eta_ms: int | None


Wait = Literal["answer", "stream", "async"]


def submit(
    door: Door, caller: Caller, parsed: Parsed, *, job_id: str, seal: JobSeal, wait: Wait, idempotency_key: str = ""
) -> Accepted:
    """Accept a request as the job `job_id`, whose follower, where anybody waits, has joined before.

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
    verdict = door.guard.judge_request(parsed.body)
    if verdict.action is Action.BLOCK:
        raise errors.ContentBlocked(f"The request was refused by the content policy ({verdict.category}).")
    job = _submission(door, caller, parsed, job_id, seal, wait, idempotency_key)
    outcome = _send(door, job, parsed, seal)
    match outcome.outcome:
        case "queued":
            eta_ms = outcome.gap_ms * (outcome.waiting + 1)
            door.waits_ms[job.lane.name] = eta_ms
            return Accepted(job.id, job.spec, outcome.waiting, round(eta_ms) if outcome.gap_ms else None)
        case "again":
            return Accepted(job.id, job.spec, None, None)
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
    return min(60.0, max(1.0, door.waits_ms.get(job.lane.name, 0) / 1000))


def _send(door: Door, job: Submission, parsed: Parsed, seal: JobSeal) -> store.Submitted:
    limits = door.config
    call = store.submit(
        job,
        lane_limit=limits.lanes.max_waiting,
        idempotency_ms=limits.retention.idempotency_s * 1000,
        index_ms=limits.retention.async_s * 1000,
    )
    try:
        if not job.large:
            return door.pipe.do(call)
        sealed = seal.seal("request", orjson.dumps(parsed.body))
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
    door: Door, caller: Caller, parsed: Parsed, job_id: str, seal: JobSeal, wait: Wait, idempotency_key: str
) -> Submission:
    config, fields, body = door.config, parsed.fields, parsed.body
    private = caller.private or fields.private is True
    request = orjson.dumps(body)
    max_tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    targets = door.router.route(
        Wish(
            model=body["model"],
            provider=fields.provider,
            fallbacks=fields.fallbacks or (),
            private=private,
            max_cost_usd=fields.max_cost,
            prompt_chars=len(request),
            max_tokens=max_tokens,
        )
    )
    stream = body.get("stream") is True
    spec = Spec(
        endpoint=ENDPOINTS[parsed.endpoint],
        model=body["model"],
        targets=targets,
        stream=stream,
        include_usage=stream and (body.get("stream_options") or {}).get("include_usage") is True,
        created_unix_s=int(time.time()),
    )
    later = wait == "async"
    priority = fields.priority or ("batch" if later else "interactive")
    default_ms = config.requests.async_timeout_ms if later else config.requests.timeout_ms
    large = len(request) > store.LARGE_BYTES
    reserved = door.router.prices.ceiling_usd(targets[0], len(request), max_tokens)
    return Submission(
        id=job_id,
        tenant=caller.tenant,
        key=caller.key_id,
        spec=spec,
        request=b"" if large else seal.seal("request", request),
        large=large,
        timeout_ms=fields.timeout_ms or default_ms,
        retention_ms=1000 * (config.retention.async_s if later else config.retention.blocking_s),
        priority=priority,
        door="" if later else door.replies.boot,
        private=private,
        reserved_usd="" if reserved is None else prices.plain(reserved),
        idempotency_key=hashlib.sha256(idempotency_key.encode()).hexdigest()[:32] if idempotency_key else "",
        fingerprint=hashlib.sha256(parsed.endpoint.encode() + request).hexdigest()[:32] if idempotency_key else "",
        holds=(_share(door, caller, targets[0].provider, priority),),
    )


def _share(door: Door, caller: Caller, provider: str, priority: str) -> Hold:
    lane = provider if priority == "interactive" else f"{provider}.batch"
    most = door.config.lanes.max_waiting
    crowded = door.waits_ms.get(lane, 0) > _CROWDED_MS
    return Hold(f"lane:{lane}:{caller.tenant}", 1, max(1, most // 2) if crowded else most)
