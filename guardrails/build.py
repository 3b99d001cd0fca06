"""A guard from its policy."""

from __future__ import annotations

from guardrails.guard import Guard
from guardrails.personal import PersonalData
from guardrails.policy import Policy


def build(policy: Policy, *, sentences: bool = True) -> Guard:
    return Guard(policy, PersonalData())
