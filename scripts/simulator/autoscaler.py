"""KEDA's and the HPA's rules, as their documentation and sources have them.

KEDA's operator polls: it wakes a Deployment from zero, and sends it back after the cooldown. Everything between one pod
and many is the HPA's, which asks KEDA for the value at each of its own rounds (15 s).
"""

from __future__ import annotations

import math
from collections import deque

from simulator.scaling import Policy, Scaling

SYNC_S = 15.0  # kube-controller-manager's --horizontal-pod-autoscaler-sync-period
TOLERANCE = 0.1  # its --horizontal-pod-autoscaler-tolerance


class Keda:
    """Whether there are any pods."""

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling
        self._last_active_s = -math.inf

    def poll(self, now_s: float, value: float, replicas: int) -> int:
        """The replicas after one poll that read `value`."""
        scaling = self._scaling
        if value > scaling.activation:
            self._last_active_s = now_s
            return max(1, scaling.least) if replicas == 0 else replicas
        if scaling.least == 0 and now_s - self._last_active_s > scaling.cooldown_s:
            return 0
        return max(replicas, scaling.least)


class Hpa:
    """How many pods there are, once there is one."""

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling
        self._advice: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()

    def sync(self, now_s: float, value: float, replicas: int) -> int:
        """The replicas after one round that read `value`; it leaves a Deployment at zero alone."""
        if replicas == 0:
            self._advice.clear()
            return 0
        scaling = self._scaling
        wanted = self._stabilized(now_s, recommended(value, scaling.target, replicas), replicas)
        if wanted > replicas:
            wanted = min(wanted, self._limit_up(now_s, replicas))
        elif wanted < replicas:
            wanted = max(wanted, self._limit_down(now_s, replicas))
        wanted = min(max(wanted, max(1, scaling.least)), scaling.most)
        if wanted != replicas:
            self._changes.append((now_s, wanted - replicas))
        return wanted

    def _stabilized(self, now_s: float, advice: int, replicas: int) -> int:
        """Up to the least that was advised within its window, down to the most within its."""
        up, down = self._scaling.up, self._scaling.down
        self._advice.append((now_s, advice))
        while self._advice[0][0] <= now_s - max(up.window_s, down.window_s, SYNC_S):
            self._advice.popleft()
        lowest = min([advice, *(each for at, each in self._advice if at > now_s - up.window_s)])
        highest = max([advice, *(each for at, each in self._advice if at > now_s - down.window_s)])
        return min(max(replicas, lowest), highest)

    def _limit_up(self, now_s: float, replicas: int) -> int:
        return max(self._reach(now_s, replicas, policy, +1) for policy in self._scaling.up.policies)

    def _limit_down(self, now_s: float, replicas: int) -> int:
        return min(self._reach(now_s, replicas, policy, -1) for policy in self._scaling.down.policies)

    def _reach(self, now_s: float, replicas: int, policy: Policy, sign: int) -> int:
        """How far one policy lets it go, counted from what there was when the policy's period began."""
        done = sum(by for at, by in self._changes if at > now_s - policy.period_s and by * sign > 0)
        began = replicas - done
        if policy.kind == "Pods":
            return began + sign * policy.value
        share = began * (1 + sign * policy.value / 100)
        return math.ceil(share) if sign > 0 else int(share)


def recommended(value: float, target: float, replicas: int) -> int:
    """An external metric of type AverageValue: value ÷ target, rounded up, unless it is about right already."""
    if abs(value / (target * replicas) - 1) <= TOLERANCE:
        return replicas
    return math.ceil(value / target)
