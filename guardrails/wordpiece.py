"""Words cut into the pieces of BERT's uncased vocabulary, longest first."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

_FILE = Path(__file__).parent / "weights" / "vocabulary.txt.gz"
_HAN = "\u3400-\u9fff\uf900-\ufaff"  # written without blanks: each sign is a word
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+|[^\w\s]|_")
_UNKNOWN = 100  # [UNK]
_LONGEST = 24  # characters; what is longer is cut there, so that no word costs more than its length
_REMEMBERED = 50_000  # words


class WordPiece:
    """Cuts folded texts; may be used from any thread."""

    def __init__(self) -> None:
        words = gzip.decompress(_FILE.read_bytes()).decode().split("\n")
        self.ranks = {word: rank for rank, word in enumerate(words)}
        self._cut: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.ranks)

    def pieces(self, folded: str) -> list[int]:
        """The pieces' numbers, in the order of the text."""
        found: list[int] = []
        cut = self._cut
        for word in _WORD.findall(folded):
            known = cut.get(word)
            found += known if known is not None else self._word(word)
        return found

    def spans(self, folded: str) -> list[tuple[int, int]]:
        """Where the word of each piece stands."""
        return [found.span() for found in _WORD.finditer(folded) for _ in self._word(found.group())]

    def _word(self, word: str) -> tuple[int, ...]:
        known = self._cut.get(word)
        if known is not None:
            return known
        pieces = tuple(
            piece for at in range(0, len(word), _LONGEST) for piece in self._short(word[at : at + _LONGEST], at > 0)
        )
        if len(word) <= _LONGEST:
            if len(self._cut) >= _REMEMBERED:
                self._cut.clear()
            self._cut[word] = pieces
        return pieces

    def _short(self, word: str, inside: bool) -> list[int]:
        found, start = [], 0
        while start < len(word):
            head = "##" if start or inside else ""
            for end in range(len(word), start, -1):
                number = self.ranks.get(head + word[start:end])
                if number is not None:
                    found.append(number)
                    start = end
                    break
            else:
                return [_UNKNOWN]
        return found
