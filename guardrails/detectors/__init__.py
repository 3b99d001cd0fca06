"""One file a detector, each found here by its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from guardrails.verdicts import Finding


class Detector(Protocol):
    """Looks for one kind of thing; decides nothing."""

    name: str

    def find(self, text: str) -> Iterable[Finding]:
        """What is in the text, at offsets of the text as it is given; empty for an empty one, never an error."""
