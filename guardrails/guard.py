"""The place where requests are judged before they are queued, and answers before they are published.

No detector is here yet: every text is allowed. The door calls `judge_request` and the worker `judge_answer` on
everything that passes, so a detector that is added takes part in every way of use at once.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Action(enum.StrEnum):
    ALLOW = "allow"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Verdict:
    action: Action
    category: str = ""


ALLOWED = Verdict(Action.ALLOW)


class Guard:
    def judge_request(self, body: Mapping[str, Any]) -> Verdict:
        """The verdict on a request body in OpenAI's shape."""
        return ALLOWED

    def judge_answer(self, body: Mapping[str, Any]) -> Verdict:
        """The verdict on an answer or one chunk of it, in OpenAI's shape."""
        return ALLOWED
