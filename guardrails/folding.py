"""A text as the detectors of personal data read it: digits, dashes and blanks of any script as ASCII, none invisible.

A card number in Arabic digits, or one with a zero-width space inside, is the same card number. Every character becomes
one character or none, so that what is found leads back to offsets of the text as it was given.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_PLAIN = (
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full width
    | {code: ord("-") for code in (*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63)}
    | {code: ord(" ") for code in (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)}
    | {code: ord("?") for code in range(0xD800, 0xE000)}  # half of a surrogate pair has no UTF-8
    | {code: ord("0") + digit for code in range(0x660, 0x20000) if (digit := unicodedata.decimal(chr(code), -1)) >= 0}
)
_HIDDEN = frozenset("\u00ad\u034f\u061c\u180e\u2060\ufeff") | {
    chr(code)
    for code in (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080))
}


@dataclass(frozen=True, slots=True)
class Folded:
    text: str
    _kept: Sequence[int] | None  # the place of each character in the original, where any was left out

    def span(self, start: int, end: int) -> tuple[int, int]:
        """[start, end) of the original for [start, end) of this text; not for an empty one."""
        if self._kept is None:
            return start, end
        return self._kept[start], self._kept[end - 1] + 1


def fold(text: str) -> Folded:
    if text.isascii():
        return Folded(text, None)
    plain = text.translate(_PLAIN)
    if _HIDDEN.isdisjoint(plain):
        return Folded(plain, None)
    kept = [place for place, char in enumerate(plain) if char not in _HIDDEN]
    return Folded("".join([plain[place] for place in kept]), kept)
