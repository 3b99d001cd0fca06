"""As config lists them."""

from __future__ import annotations

from routing.rules.rule import Choice
from routing.sight import Sight


def figure(choice: Choice, sight: Sight) -> float:
    return choice.place
