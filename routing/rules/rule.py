"""What a rule is, and what it orders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mesh.job import Target
from routing.sight import Sight


@dataclass(frozen=True, slots=True)
class Choice:
    """A target that may answer."""

    target: Target
    name: str  # under which it was asked for: a key that may use an alias may use its targets
    weight: float = 1.0
    place: int = 0  # in config's order


Rule = Callable[[Choice, Sight], float]
