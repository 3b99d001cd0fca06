"""Personal data in a text."""

from __future__ import annotations

import re
from collections.abc import Collection

from guardrails.verdicts import Finding

_PATTERNS = {
    "EMAIL": re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    "SSN": re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),
}


class PersonalData:
    def __init__(self, kinds: Collection[str]) -> None:
        self._patterns = {kind: pattern for kind, pattern in _PATTERNS.items() if kind in kinds}

    def find(self, text: str) -> list[Finding]:
        found = [
            Finding(kind, match.start(), match.end(), detector="pattern")
            for kind, pattern in self._patterns.items()
            for match in pattern.finditer(text)
        ]
        return sorted(found, key=lambda finding: finding.start)
