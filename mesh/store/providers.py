"""What the workers know of providers: models, health, how full a lane is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from mesh import errors, lanes
from mesh.errors import GatewayError
from mesh.job import Hold
from mesh.settings import CircuitLimits
from mesh.store.call import Call, as_is, as_text, pace_gap_ms, script
from mesh.wire import Arg


def listed(provider: str, pulls: bool, models: Sequence[str] | None, error: GatewayError | None) -> Call[Any]:
    """What a worker heard when it asked a provider for its models.

    pulls: whether it fetches models when it is told to.
    """
    found = b"" if models is None else orjson.dumps(list(models))
    failed = b"" if error is None else orjson.dumps(errors.dump(error))
    return script("listed", (provider, int(pulls), found, failed), as_is)


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
            provider, _, fact = as_text(name).partition(":")
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
        return {as_text(name): orjson.loads(models) for name, models in zip(reply[::2], reply[1::2], strict=True)}

    return Call(("HGETALL", f"{lanes.PREFIX}providers:models"), read)


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
            waits[lane] = (waiting + 1) * (pace_gap_ms(pace) or 0.0) if waiting else 0.0
        records = {as_text(name): orjson.loads(held) for name, held in zip(pairs[::2], pairs[1::2], strict=True)}
        return Known(now_ms, waits, records, dict(zip((each.name for each in counters), taken, strict=True)))

    return script("health", args, read)


def live_workers(provider: str, since_ms: int) -> Call[int]:
    return Call(("ZCOUNT", f"{lanes.PREFIX}workers:{provider}", since_ms, "+inf"), int)
