"""A text as the tagger of names reads it: tokens, what a token is by itself, and the features of each place.

A token's attributes are hashes; a feature is a template of attributes at offsets, hashed again. So the features of a
whole text are arithmetic on a matrix, and training and tagging read the same ones.
"""

from __future__ import annotations

import bisect
import gzip
import re
import struct
import zlib
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

BUCKETS = 1 << 20
FIRST, LAST, TOWN, PLACE, KNOWN, COMMON, FREQUENT = (1 << bit for bit in range(7))

TOKENS = re.compile(r"[^\W\d_]+|\d+|\n|[^\w\s]|_")  # words, numbers, line ends and single marks
_KINDS_OF_WORD: Mapping[str, str] = {
    word: kind
    for kind, words in {
        "street": "street road rd avenue ave lane ln drive boulevard blvd court ct place way close crescent terrace"
        " parkway pkwy hill square highway hwy trail view gardens walk row circle mews park flats meadow"
        " ridge alley plaza loop rua rue via calle avenida strada ul ulica straße strasse str weg gasse"
        " platz laan straat gatan gata vej utca út tér katu sokak jalan corso piazza chemin",
        "particle": "st van von der den de la del di da dos el al bin ibn mac mc san santa",
        "title": "dr mr mrs ms miss prof professor sir madam madame mister herr frau señor señora lord lady judge"
        " officer sergeant captain capt rev president senator king queen prince princess aunt uncle nurse",
        "unit": "apt apartment suite ste unit floor flat box po psc building bldg room",
        "firm": "inc ltd llc gmbh ag plc corp corporation company co group holdings bank university college"
        " institute department ministry foundation association hospital school council committee agency"
        " airlines industries solutions technologies club museum",
        "month": "january february march april may june july august september october november december jan feb mar"
        " apr jun jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday",
    }.items()
    for word in words.split()
}

# Attributes of a token, by their place in its row.
_WORD, _SHAPE, _SUFFIX, _PREFIX, _ENDING, _LISTS, _ROLE, _STEM = range(8)
_TEMPLATES: Sequence[tuple[tuple[int, int], ...]] = (
    *(((attribute, 0),) for attribute in (_WORD, _SHAPE, _SUFFIX, _PREFIX, _ENDING, _LISTS, _ROLE)),
    *(((_ROLE, offset),) for offset in (-4, -3, -2, -1, 1, 2, 3, 4)),
    *(((_LISTS, offset),) for offset in (-2, -1, 1, 2)),
    *(((_SHAPE, offset),) for offset in (-2, -1, 1, 2)),
    *(((_WORD, offset),) for offset in (-1, 1)),
    ((_ROLE, -1), (_ROLE, 0)),
    ((_ROLE, 0), (_ROLE, 1)),
    ((_ROLE, -2), (_ROLE, -1)),
    ((_ROLE, 1), (_ROLE, 2)),
    ((_ROLE, -1), (_ROLE, 1)),
    ((_SHAPE, -1), (_SHAPE, 0)),
    ((_SHAPE, 0), (_SHAPE, 1)),
    ((_SHAPE, -1), (_SHAPE, 0), (_SHAPE, 1)),
    ((_SHAPE, 0), (_SHAPE, 1), (_SHAPE, 2)),
    ((_SHAPE, -2), (_SHAPE, -1), (_SHAPE, 0)),
    ((_LISTS, -1), (_LISTS, 0)),
    ((_LISTS, 0), (_LISTS, 1)),
    ((_LISTS, -1), (_LISTS, 0), (_LISTS, 1)),
    ((_LISTS, 0), (_ROLE, -1)),
    ((_LISTS, 0), (_ROLE, 1)),
    ((_SUFFIX, 0), (_ROLE, -1)),
    ((_STEM, -1), (_STEM, 1), (_LISTS, 0)),
    ((_ROLE, -2), (_ROLE, -1), (_LISTS, 0)),
    ((_ROLE, 1), (_ROLE, 2), (_LISTS, 0)),
)
REACH = max(abs(offset) for template in _TEMPLATES for _, offset in template)


class Lists:
    """What is known of words, asked by hash: which are names, towns or countries, and how common each is."""

    def __init__(self, flags: Mapping[str, int]) -> None:
        hashed = {zlib.crc32(word.encode()): flag for word, flag in flags.items()}
        self._hashes = array("I", sorted(hashed))
        self._flags = bytes([hashed[number] for number in self._hashes])
        # Where those with the same upper half begin: one or two, so that next to nothing is left to search.
        self._begin = array("I", np.searchsorted(np.array(self._hashes) >> 16, np.arange(0x10001)).tolist())

    @classmethod
    def read(cls, path: Path) -> Lists:
        """path: gzipped lines of a word and, after a tab, its flags added up."""
        pairs = (line.split("\t") for line in gzip.decompress(path.read_bytes()).decode().splitlines())
        return cls({word: int(flags) for word, flags in pairs})

    def flags(self, word: str) -> int:
        """The flags of a word in small letters."""
        number = zlib.crc32(word.encode())
        begin, end = self._begin[number >> 16], self._begin[(number >> 16) + 1]
        place = bisect.bisect_left(self._hashes, number, begin, end)
        return self._flags[place] if place < end and self._hashes[place] == number else 0


class Reader:
    """Turns tokens into features; remembers the attributes of the tokens it saw last."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._row = lru_cache(16_384)(self._attributes)

    def features(self, tokens: Sequence[str]) -> npt.NDArray[np.int64]:
        """A row a token, a bucket a template."""
        around = [self._row("")] * REACH
        rows = np.frombuffer(b"".join([*around, *map(self._row, tokens), *around]), np.uint64)
        places = np.arange(REACH, REACH + len(tokens))[:, None] * _WIDTH
        mixed = _SEEDS
        for part in _PARTS:
            mixed = (mixed ^ rows[places + part]) * _FACTOR
        return (mixed >> _SHIFT).astype(np.int64)

    def flags(self, token: str) -> int:
        return self._lists.flags(token.lower())

    def _attributes(self, token: str) -> bytes:
        word, flags = token.lower(), self._lists.flags(token.lower())
        shape, lists, kind = _shape(token), str(flags), _KINDS_OF_WORD.get(word, "")
        telling = kind or (word if flags & FREQUENT or not token.isalpha() else "")
        attributes = (
            word,
            shape,
            word[-3:],
            word[:3],
            word[-2:],
            f"{lists}{kind}{shape[:1]}",
            f"{telling}{shape[:1]}" if telling and not token.isdigit() else f"{lists}{shape}",
            telling or shape,
        )
        return struct.pack("9Q", *[zlib.crc32(text.encode()) for text in attributes], 0)


# The templates as arithmetic: where each one's parts stand from a token's row on; a part that is missing is a zero.
_WIDTH = 9
_PARTS = [
    np.array(
        [
            template[part][1] * _WIDTH + template[part][0] if part < len(template) else _WIDTH - 1
            for template in _TEMPLATES
        ]
    )
    for part in range(max(map(len, _TEMPLATES)))
]
_SEEDS = np.array([(number + 1) * 0x9E3779B97F4A7C15 % (1 << 64) for number in range(len(_TEMPLATES))], np.uint64)
_FACTOR, _SHIFT = np.uint64(0xD6E8FEB86659FD93), np.uint64(44)


def tokens(text: str) -> list[tuple[str, int, int]]:
    """Words, numbers, single marks and line ends, with where they stand."""
    return [(match.group(), match.start(), match.end()) for match in TOKENS.finditer(text)]


def _shape(token: str) -> str:
    if token.isdigit():
        return f"9{min(len(token), 6)}"
    if not token.isalpha():
        return token
    if token.islower():
        return "a" if len(token) == 1 else "aa"
    if token.isupper():
        return "A" if len(token) == 1 else "AA" if len(token) == 2 else "AAA"
    return "Aa" if token[0].isupper() and token[1:].islower() else "aA" if token[0].islower() else "AaA"
