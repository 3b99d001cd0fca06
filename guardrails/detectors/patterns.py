"""Searching in linear time, and the words around what was found.

RE2 has no look-around: what may stand beside a match is asked of the text afterwards, within a few characters.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator

import re2


class Pattern:
    """A regular expression as RE2 reads it; with a group in it, what the group caught is what counts."""

    def __init__(self, pattern: str, ignore_case: bool = False) -> None:
        options = re2.Options()
        options.case_sensitive = not ignore_case
        options.log_errors = False
        self._compiled = re2.compile(pattern, options)
        self._group = min(self._compiled.groups, 1)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        for match in self._compiled.finditer(text):
            yield match.span(self._group)

    def within(self, text: str) -> bool:
        return self._compiled.search(text) is not None


class Context:
    """Words whose presence before or after a find says what it is; an underscore counts as a blank.

    words: regular expressions, divided by `|`.
    before, after: how many characters away they may stand.
    """

    def __init__(self, words: str, before: int = 36, after: int = 0) -> None:
        self.pattern = Pattern(rf"\b({words})(?:[^a-z]|$)", ignore_case=True)
        self.before, self.after = before, after

    def anywhere(self, text: str) -> bool:
        """Whether one of the words is in the text at all; a text without any need not be looked at further."""
        return self.pattern.within(text.replace("_", " "))

    def on(self, text: str) -> Around:
        return Around(self, text)


class Around:
    """Where a context's words stand in one text: looked for once, when the first find asks."""

    def __init__(self, context: Context, text: str) -> None:
        self._context = context
        self._text = text

    @functools.cached_property
    def _words(self) -> tuple[list[int], list[int]]:
        spans = list(self._context.pattern.spans(self._text.replace("_", " ")))
        return [start for start, _ in spans], [end for _, end in spans]

    def near(self, start: int, end: int) -> bool:
        if self.distance(start) < FAR:
            return True
        after = self._context.after
        return after > 0 and self._context.anywhere(self._text[end : end + after])

    def distance(self, start: int) -> int:
        """How many characters before start the nearest word ends; FAR where there is none."""
        starts, ends = self._words
        place = bisect.bisect_right(ends, start) - 1
        within = place >= 0 and starts[place] >= start - self._context.before
        return start - ends[place] if within else FAR


FAR = 1 << 30


def alone(text: str, start: int, end: int, joiners: str = "") -> bool:
    """Whether [start, end) is no part of a longer word; joiners continue a word when a letter or digit follows them."""
    return not (_joined(text, start - 1, -1, joiners) or _joined(text, end, 1, joiners))


def _joined(text: str, place: int, step: int, joiners: str) -> bool:
    char = text[place : place + 1] if place >= 0 else ""
    if not char or char.isalnum() or char == "_":
        return bool(char)
    beyond = text[place + step : place + step + 1] if place + step >= 0 else ""
    return char in joiners and beyond.isalnum()


def digits(text: str) -> str:
    return "".join([char for char in text if "0" <= char <= "9"])
