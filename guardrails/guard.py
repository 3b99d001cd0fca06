"""The place where requests are judged before they are queued, and answers before they are published.

The door calls `judge` with the texts of a request and the worker with those of an answer, so a detector that is added
takes part in every way of use at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardrails.verdicts import ALLOWED, Verdict


class Guard:
    def judge_request(self, body: Mapping[str, Any]) -> Verdict:
        """The verdict on a request body in OpenAI's shape."""
        return ALLOWED

    def judge_answer(self, body: Mapping[str, Any]) -> Verdict:
        """The verdict on an answer or one chunk of it, in OpenAI's shape."""
        return ALLOWED
