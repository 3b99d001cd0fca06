"""From a checked request to an accepted job: guard, route, seal, submit."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import gevent
import orjson
import structlog

from guardrails.verdicts import Action
from mesh import errors, store
from mesh.job import Endpoint, Hold, Spec, Submission, Target
from mesh.lanes import Priority
from mesh.seal import JobSeal
from mesh.wire import Refused
from routing import prices
from routing.choose import Wish
from routing.prices import DEFAULT_ANSWER_TOKENS, Most
from routing.share import Share, priced, share
from web import metrics
from web.auth import Caller
from web.door import Door
from web.requests import CHAT, COMPLETIONS, EMBEDDINGS, Parsed

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
    headers: Mapping[str, str] = field(default_factory=dict)  # what is left of the caller's limits


Wait = Literal["answer", "stream", "async"]


def submit(
    door: Door, caller: Caller, parsed: Parsed, *, job_id: str, seal: JobSeal, wait: Wait, idempotency_key: str = ""
) -> Accepted:
    """Accept a request as the job `job_id`, whose follower, where anybody waits, has joined before.

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
    verdict = door.guard.judge_request(parsed.body)
    if verdict.action is Action.BLOCK:
        raise errors.ContentBlocked(f"The request was refused by the content policy ({verdict.category}).")
    job, sealed, taking = _submission(door, caller, parsed, job_id, seal, wait, idempotency_key)
    outcome, taking = _send_in_time(door, job, sealed, taking, (parsed.fields.max_wait or 0) / 1000)
    match outcome.outcome:
        case "queued":
            eta_ms = outcome.gap_ms * (outcome.waiting + 1)
            door.waits_ms[job.lane.name] = eta_ms
            left = taking.headers(outcome.taken)
            return Accepted(job.id, job.spec, outcome.waiting, round(eta_ms) if outcome.gap_ms else None, left)
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
    return min(60.0, max(1.0, door.waits_ms.get(job.lane.name, 0) / 1000))


def _send_in_time(
    door: Door, job: Submission, sealed: bytes, taking: Share, patience_s: float
) -> tuple[store.Submitted, Share]:
    """Send it; while a limit is reached, again and again for as long as the request would rather wait.

    A counter that cannot be read is left out where the configuration says so.
    """
    until = time.monotonic() + patience_s
    pause_s = _FIRST_PAUSE_S
    while True:
        outcome = _send(door, job, sealed)
        if outcome.outcome == "broken":
            log.error("counter_unreadable", hold=outcome.other)
            if door.config.limits.unreadable == "allow":
                job = dataclasses.replace(job, holds=[hold for hold in job.holds if hold.name != outcome.other])
                taking = taking.without(outcome.other)
                continue
        left_s = until - time.monotonic()
        final = outcome.outcome != "held" or outcome.wait_ms < 0 or not taking.waits(outcome.other)
        if final or left_s <= 0 or outcome.wait_ms / 1000 > left_s or door.stopping:
            return outcome, taking
        gevent.sleep(min(outcome.wait_ms / 1000 or pause_s, left_s))
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _send(door: Door, job: Submission, sealed: bytes) -> store.Submitted:
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
) -> tuple[Submission, bytes, Share]:
    """The job, its sealed request, and what it takes of limits and budgets."""
    config, fields = door.config, parsed.fields
    later = wait == "async"
    priority = _priority(caller, fields.priority, later)
    allowance = caller.allowance
    body = _bounded(parsed, priced=allowance.hard or fields.max_cost is not None)
    private = caller.private or fields.private is True
    request = orjson.dumps(body)
    most = Most(len(request), _most_tokens(body), answers=max(_count(body, "n"), _count(body, "best_of"), 1))
    targets = door.router.route(
        Wish(
            model=body["model"],
            provider=fields.provider,
            fallbacks=fields.fallbacks or (),
            private=private,
            max_cost_usd=fields.max_cost,
            most=most,
        )
    )
    targets = _allowed(caller, body["model"], targets)
    must = allowance.hard and config.budgets.unknown_price == "refuse"
    targets, reserved = priced(door.router.prices, targets, most, batch=priority == "batch", must=must)
    taking = share(config, allowance, targets[0], _tokens_at_most(parsed.endpoint, most), reserved)
    stream = body.get("stream") is True
    spec = Spec(
        endpoint=ENDPOINTS[parsed.endpoint],
        model=body["model"],
        targets=targets,
        stream=stream,
        include_usage=stream and (body.get("stream_options") or {}).get("include_usage") is True,
        created_unix_s=int(time.time()),
    )
    default_ms = config.requests.async_timeout_ms if later else config.requests.timeout_ms
    large = len(request) > store.LARGE_BYTES
    sealed = seal.seal("request", request)
    told = orjson.dumps([parsed.endpoint, dataclasses.asdict(fields)], default=str)
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
        private=private,
        reserved_usd="" if reserved is None else prices.plain(reserved),
        idempotency_key=hashlib.sha256(idempotency_key.encode()).hexdigest()[:32] if idempotency_key else "",
        fingerprint=door.sealer.fingerprint(caller.tenant, told + request) if idempotency_key else "",
        holds=(_lane_share(door, caller, targets[0].provider, priority), *taking.holds),
        tags=caller.tags,
    )
    return job, sealed, taking


def _priority(caller: Caller, asked: Priority | None, later: bool) -> Priority:
    """The class of lane that the request names, or else its way of asking; the key may have only one of them.

    Raises:
        Forbidden: it names one that the key does not have.
    """
    if asked is not None and caller.priorities is not None and asked not in caller.priorities:
        raise errors.Forbidden(
            f"This key may not use the priority '{asked}'.", param="priority", code="priority_not_allowed"
        )
    usual: Priority = "batch" if later else "interactive"
    return asked or (usual if caller.priorities is None or usual in caller.priorities else caller.priorities[0])


def _allowed(caller: Caller, model: str, targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """The targets that the key may use.

    Raises:
        Forbidden: none.
    """
    if caller.models is not None:
        names = caller.models
        targets = tuple(
            target
            for target in targets
            if any(_fits(each, names) for each in (model, target.model, f"{target.provider}/{target.model}"))
        )
        if not targets:
            raise errors.Forbidden(
                f"This key may not use the model '{model}'.", param="model", code="model_not_allowed"
            )
    if caller.providers is not None:
        targets = tuple(target for target in targets if target.provider in caller.providers)
        if not targets:
            raise errors.Forbidden(
                f"This key may not use a provider of the model '{model}'.", param="model", code="provider_not_allowed"
            )
    return targets


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns)


def _tokens_at_most(endpoint: str, most: Most) -> int:
    answers = 0 if endpoint == EMBEDDINGS else (most.answer_tokens or DEFAULT_ANSWER_TOKENS) * most.answers
    return most.prompt_tokens + answers


def _count(body: Mapping[str, Any], name: str) -> int:
    """A parameter that is a number where the endpoint knows it; elsewhere it was passed on unread."""
    value = body.get(name)
    return value if type(value) is int else 0


def _most_tokens(body: Mapping[str, Any]) -> int:
    return _count(body, "max_completion_tokens") or _count(body, "max_tokens")


def _bounded(parsed: Parsed, *, priced: bool) -> dict[str, Any]:
    """The body; where a price is reckoned with and no length is named, it gets the length that was reckoned with."""
    if not priced or parsed.endpoint == EMBEDDINGS or _most_tokens(parsed.body):
        return parsed.body
    name = "max_completion_tokens" if parsed.endpoint == CHAT else "max_tokens"
    return parsed.body | {name: DEFAULT_ANSWER_TOKENS}


def _lane_share(door: Door, caller: Caller, provider: str, priority: str) -> Hold:
    lane = provider if priority == "interactive" else f"{provider}.batch"
    most = door.config.lanes.max_waiting
    crowded = door.waits_ms.get(lane, 0) > _CROWDED_MS
    return Hold(f"lane:{lane}:{caller.tenant}", 1, max(1, most // 2) if crowded else most)
