"""The shortest wait in the lane, at its present pace. Waits within a tenth of a second are equal."""

from __future__ import annotations

from routing.rules.rule import Choice
from routing.sight import Sight


def figure(choice: Choice, sight: Sight) -> float:
    return round(sight.wait_s(choice.target), 1)
