"""The lowest price of the whole request: its prompt and the longest answer that it allows. Unknown prices come last."""

from __future__ import annotations

import math

from routing.rules.rule import Choice
from routing.sight import Sight


def figure(choice: Choice, sight: Sight) -> float:
    usd = sight.usd(choice.target)
    return math.inf if usd is None else float(usd)
