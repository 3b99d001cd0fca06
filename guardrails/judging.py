"""A verdict on several texts, and the place of the one that decided it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from guardrails.guard import Guard
from guardrails.policy import PERSONAL
from guardrails.rulebook import Stance
from guardrails.texts import Text
from guardrails.verdicts import ALLOWED, Action, Stage, Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    place: str = ""  # of the text that was blocked; empty where all of them together were


_TOLD = (Action.LOG, Action.WARN)
FINE = Judgement(ALLOWED)


def judge(guard: Guard, texts: Sequence[Text], stage: Stage, *, tenant: str, key: str) -> Judgement:
    verdict = guard.judge(texts, stage, tenant=tenant, key=key)
    each = guard.verdicts(texts, stage, tenant=tenant, key=key)  # which it remembers
    place = ""
    if verdict.action is Action.BLOCK:
        place = next((text.place for text, alone in each if alone.category == verdict.category), "")
    return Judgement(dataclasses.replace(verdict, unsure=any(alone.unsure for _, alone in each)), place)


def told(verdict: Verdict, stance: Stance) -> list[tuple[Action, str]]:
    """What is to be logged or warned of, by kind. Personal data is another matter: see hiding.py."""
    said = []
    for kind in verdict.flagged:
        action = verdict.action if kind == verdict.category else stance.actions.get(kind, Action.ALLOW)
        if kind not in PERSONAL and action in _TOLD:
            said.append((action, kind))
    return said
