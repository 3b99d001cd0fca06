"""What a guard says of a text: findings with their places, and the verdict that follows from them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Stage(enum.StrEnum):
    REQUEST = "request"  # on its way to a provider
    RESPONSE = "response"  # on its way back


class Action(enum.StrEnum):
    """What is done about a finding, the mildest first."""

    ALLOW = "allow"
    LOG = "log"  # an audit record
    WARN = "warn"  # an audit record, and a header
    MASK = "mask"  # hidden from the provider, restored in the answer
    REDACT = "redact"  # hidden for good
    BLOCK = "block"

    @property
    def weight(self) -> int:
        return _WEIGHTS[self]


_WEIGHTS = {action: weight for weight, action in enumerate(Action)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a detector saw: what, where in the original text, [start, end) in code points, and how surely."""

    kind: str  # a category (VIOLENCE) or a type of personal data (EMAIL)
    start: int
    end: int
    score: float = 1.0
    detector: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows for one text, or for all texts of one request."""

    action: Action
    category: str = ""  # the kind that decided, where anything but ALLOW did
    scores: Mapping[str, float] = field(default_factory=dict)  # by category, 0..1
    flagged: tuple[str, ...] = ()  # kinds whose action is LOG or more
    findings: tuple[Finding, ...] = ()
    private: bool = False  # the text is of a kind that only private providers may see
    unsure: bool = False  # a score is near its threshold, and the sentence model was not there to be asked


ALLOWED = Verdict(Action.ALLOW)
