"""By lot, each as often as its weight says: the first of the order is a target with the probability weight / sum.

(Efraimidis and Spirakis: draw u for each, and order by u^(1/weight).)
"""

from __future__ import annotations

import math

from routing.rules.rule import Choice
from routing.sight import Sight


def figure(choice: Choice, sight: Sight) -> float:
    lot = sight.draw(f"weighted {choice.target.provider}/{choice.target.model}")
    return -math.log(lot) / choice.weight
