"""Price × expected seconds, waiting and service together. Unknown prices come last; of the free ones the fastest is
first."""

from __future__ import annotations

import math

from routing.rules.rule import Choice
from routing.sight import Sight

_LEAST_USD = 1e-9  # stands for nothing, so that free targets differ by their time


def figure(choice: Choice, sight: Sight) -> float:
    usd = sight.usd(choice.target)
    if usd is None:
        return math.inf
    return max(float(usd), _LEAST_USD) * (sight.wait_s(choice.target) + sight.service_s(choice.target))
