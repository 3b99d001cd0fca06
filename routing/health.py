"""Which providers are well, how fast they answer and what room they have left, shared by all replicas through Redis.

Workers note what they meet and tell it once a second, all of it in one call; doors ask in the same call. Nobody asks
Redis for one request: what is known lies in memory, a second old at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mesh import errors
from mesh.errors import GatewayError
from mesh.job import Target
from mesh.store import Known, Outcomes

TELL_S = 1.0  # how often doors and workers ask and tell
AILING_S = 0.25  # how soon failures are told: until then others run into them
TRIAL_S = 1.0  # one process tries an ill target once in so long, when its time is over

# Which failures mean that the provider is ill. Any other that came from it shows that it answers.
ILL = (
    errors.ProviderUnavailable,
    errors.ProviderTimeout,
    errors.ProviderKeyRefused,
    errors.ProviderLimited,
    errors.ProviderBrokeOff,
)
EVERYWHERE = (errors.ProviderKeyRefused,)  # and all its models with it; one model may be down while others answer
ANSWERED = (errors.ProviderError, errors.ContextTooLong)


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a provider's own limits, as it said with an answer."""

    requests: int | None
    tokens: int | None
    whole_s: float  # until both are whole again


@dataclass(slots=True)
class Health:
    """What is known of one provider or target; moments are this process's monotonic seconds."""

    open_until_s: float = 0.0  # its circuit is open until then and half-open after; 0: closed
    alone_until_s: float = 0.0  # it asked to be left alone
    first_ms: float | None = None  # from the request to the first token
    tokens_per_s: float | None = None
    requests_left: int | None = None
    tokens_left: int | None = None
    whole_at_s: float = 0.0
    tried_s: float = float("-inf")  # when this process last tried it while half-open
    spent: int = 0  # requests of this process since the provider told what is left

    def cooling_s(self, now_s: float) -> float:
        """How long it should not be asked; 0: it may."""
        left_s = max(self.open_until_s, self.alone_until_s) - now_s
        if left_s <= 0 and self.open_until_s:
            left_s = self.tried_s + TRIAL_S - now_s
        return max(0.0, left_s)

    def has_room(self, tokens: int, now_s: float) -> bool:
        """Whether a request of so many tokens fits into what the provider said is left."""
        if now_s >= self.whole_at_s:
            return True
        if self.requests_left is not None and self.requests_left - self.spent <= 0:
            return False
        return self.tokens_left is None or tokens <= self.tokens_left


class Outlook:
    """What one process knows of all providers and lanes at the moment."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str | Target, Health] = {}
        self.waits_ms: dict[str, float] = {}  # by lane: how long a newcomer will wait
        self.taken: dict[str, int] = {}  # by the hold's name: of the limits that config gives a model or a provider
        self.calm = True  # nobody is ill, and nobody has said what room is left

    def update(self, known: Known) -> None:
        now_s = self._clock()

        def moment_s(at_ms: float) -> float:
            return now_s + (at_ms - known.now_ms) / 1000 if at_ms else 0.0

        fresh: dict[str | Target, Health] = {}
        for name, record in known.records.items():
            before = self._known.get(_key(name))
            fresh[_key(name)] = self._health(record, moment_s, before)
        self._known = fresh
        self.waits_ms.update(known.waits_ms)
        self.taken = dict(known.taken)
        self.calm = not any(
            each.open_until_s or each.alone_until_s > now_s or each.whole_at_s > now_s for each in fresh.values()
        )

    @staticmethod
    def _health(record: dict[str, Any], moment_s: Callable[[float], float], before: Health | None) -> Health:
        health = Health(
            open_until_s=moment_s(record["open_until"]),
            alone_until_s=moment_s(record["alone_until"]),
            first_ms=record.get("first_ms"),
            tokens_per_s=record.get("tokens_per_s"),
            requests_left=record.get("requests_left"),
            tokens_left=record.get("tokens_left"),
            whole_at_s=moment_s(record.get("whole_at", 0)),
        )
        if before is not None:
            health.tried_s = before.tried_s
            same = (before.requests_left, before.tokens_left) == (health.requests_left, health.tokens_left)
            health.spent = before.spent if same else 0
        return health

    def of(self, target: Target) -> Health | None:
        return self._known.get(target)

    def cooling_s(self, target: Target) -> float:
        """How long a target should not be asked, its own circuit and its provider's taken together; 0: it may."""
        if self.calm:
            return 0.0
        now_s = self._clock()
        return max((each.cooling_s(now_s) for each in self._both(target)), default=0.0)

    def has_room(self, target: Target, tokens: int) -> bool:
        if self.calm:
            return True
        now_s = self._clock()
        return all(each.has_room(tokens, now_s) for each in self._both(target))

    def chosen(self, target: Target) -> None:
        """A request goes to this target now: it counts against what is left, and it is the trial of an ill one."""
        if not self.calm:
            now_s = self._clock()
            for each in self._both(target):
                each.spent += 1
                if each.open_until_s and now_s >= each.open_until_s:
                    each.tried_s = now_s

    def states(self) -> list[dict[str, Any]]:
        """Every provider and target that is not well, for who runs the gateway."""
        now_s = self._clock()
        return [
            {
                "name": key if isinstance(key, str) else f"{key.provider}/{key.model}",
                "circuit": "open" if each.open_until_s > now_s else "half-open" if each.open_until_s else "closed",
                "cooling_s": round(each.cooling_s(now_s), 1),
            }
            for key, each in self._known.items()
            if each.open_until_s or each.alone_until_s > now_s
        ]

    def _both(self, target: Target) -> list[Health]:
        return [each for key in (target.provider, target) if (each := self._known.get(key)) is not None]


def _key(name: str) -> str | Target:
    provider, slash, model = name.partition("/")
    return Target(provider, model) if slash else provider


class Recorder:
    """What one worker met since it last told."""

    def __init__(self) -> None:
        self._met: dict[str, Outcomes] = {}

    @property
    def ailing(self) -> bool:
        return any(seen.ills for seen in self._met.values())

    def take(self) -> dict[str, Outcomes]:
        """All of it; the next begins afresh."""
        met, self._met = self._met, {}
        return met

    def answered(self, target: Target, *, first_s: float | None, tokens: int, took_s: float) -> None:
        """
        first_s: to the first token, where that is known.
        tokens, took_s: of the answer alone.
        """
        for name in _names(target):
            seen = self._of(name)
            seen.oks, seen.trailing = seen.oks + 1, 0
        # A target's figures are its own: a provider's models are as different as models are.
        if first_s is not None:
            seen.first_ms = _mean(seen.first_ms, first_s * 1000)
        if tokens and took_s > 0:
            seen.tokens_per_s = _mean(seen.tokens_per_s, tokens / took_s)

    def failed(self, target: Target, error: GatewayError) -> None:
        if not isinstance(error, ILL + ANSWERED):
            return  # it never got there
        for name in _names(target):
            seen = self._of(name)
            if not isinstance(error, ILL):
                seen.oks, seen.trailing = seen.oks + 1, 0
            elif name != target.provider or isinstance(error, EVERYWHERE):
                seen.ills, seen.trailing = seen.ills + 1, seen.trailing + 1
        if isinstance(error, errors.ProviderLimited) and error.retry_after_s:
            seen.alone_ms = round(error.retry_after_s * 1000)

    def room(self, target: Target, room: Room) -> None:
        seen = self._of(f"{target.provider}/{target.model}")
        seen.requests_left, seen.tokens_left, seen.whole_ms = room.requests, room.tokens, round(room.whole_s * 1000)

    def _of(self, name: str) -> Outcomes:
        return self._met.setdefault(name, Outcomes())


def _names(target: Target) -> tuple[str, str]:
    return target.provider, f"{target.provider}/{target.model}"


def _mean(before: float | None, seen: float) -> float:
    return seen if before is None else before * 0.7 + seen * 0.3
