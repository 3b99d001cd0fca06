"""The rules that order an alias's targets: one file a rule, and the one dict that names them.

A rule gives each target a figure, and the smallest goes first. Among equal figures config's order counts, or, where the
alias is sticky, a draw by the conversation.
"""

from __future__ import annotations

from collections.abc import Mapping

from mesh.routes import RuleName
from routing.rules import best_value, cheapest, fastest, least_waiting, ordered, weighted
from routing.rules.rule import Choice, Rule
from routing.sight import Sight

__all__ = ["RULES", "Choice", "Rule", "arrange"]

RULES: Mapping[RuleName, Rule] = {
    "ordered": ordered.figure,
    "cheapest": cheapest.figure,
    "fastest": fastest.figure,
    "weighted": weighted.figure,
    "least_waiting": least_waiting.figure,
    "best_value": best_value.figure,
}


def arrange(rule: RuleName, choices: list[Choice], sight: Sight) -> list[Choice]:
    if len(choices) < 2:
        return choices
    figure = RULES[rule]

    def place(choice: Choice) -> tuple[float, float]:
        among = sight.draw(f"{choice.target.provider}/{choice.target.model}") if sight.sticky else float(choice.place)
        return figure(choice, sight), among

    return sorted(choices, key=place)
