"""An operator's patterns, by RE2: whatever stands in one, a text takes time linear in its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from guardrails.policy import compiled
from guardrails.verdicts import Finding

_MOST = 100  # findings of one pattern in one text


class Patterns:
    """patterns: by kind, as the operator wrote them."""

    name = "patterns"

    def __init__(self, patterns: Mapping[str, Iterable[str]]) -> None:
        self._patterns = [(kind, compiled(pattern)) for kind, entries in patterns.items() for pattern in entries]
        self.steps: int = sum(pattern.programsize for _, pattern in self._patterns)  # at one character, at worst

    def find(self, text: str) -> Iterator[Finding]:
        for kind, pattern in self._patterns:
            for count, found in enumerate(pattern.finditer(text)):
                if count == _MOST:
                    break
                if found.end() > found.start():
                    yield Finding(kind, found.start(), found.end(), detector=self.name)
