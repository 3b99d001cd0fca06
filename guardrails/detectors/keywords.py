"""An operator's keywords: all of them in one pass (Aho-Corasick), as whole words, without regard to case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import ahocorasick

from guardrails.verdicts import Finding


class Keywords:
    """words: by category, as the operator wrote them; `fold` is what the texts went through."""

    name = "keywords"

    def __init__(self, words: Mapping[str, Iterable[str]]) -> None:
        kinds: dict[str, list[str]] = {}
        for kind, entries in words.items():
            for entry in entries:
                kinds.setdefault(" ".join(entry.split()), []).append(kind)
        self._automaton = ahocorasick.Automaton()
        for word, owners in kinds.items():
            self._automaton.add_word(word, (len(word), tuple(owners)))
        if kinds:
            self._automaton.make_automaton()

    def find(self, text: str) -> Iterator[Finding]:
        """What stands in a folded text."""
        if not len(self._automaton):
            return
        for last, (length, kinds) in self._automaton.iter(text):
            start, end = last - length + 1, last + 1
            if _bounded(text, start, end):
                for kind in kinds:
                    yield Finding(kind, start, end, detector=self.name)


def _bounded(text: str, start: int, end: int) -> bool:
    """Whether no word goes on over either end; an end that is itself no letter or digit bounds itself."""
    before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    after = end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    return not before and not after
