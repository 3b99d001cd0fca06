"""A text as its reader would see it, and what it says once decoded: each with the way back to the original.

Everything here is linear in the text: one view a decoder, all its runs joined, two decoders deep at most.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import codecs
import functools
import itertools
import math
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

DEPTH = 2  # decoders that may lie over each other: base64 of rot13
VIEWS = 10  # of one text, the plain one among them
PLAIN = "plain"  # how a text reads that nobody decoded

_CONFUSABLES = Path(__file__).parent / "confusables.txt"
_TAGS = range(0xE0000, 0xE0080)
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_TAG = re.compile("[\U000e0020-\U000e007f]")
_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}")
_WORD = re.compile(r"[^\W\d_]+")

Segment = tuple[int, int, float]  # start, end, share of the letters in known words
_GOOD = 0.55  # the share from which a segment is language
_GAIN = 0.3  # by which a decoder must raise it
_SOME = 0.05  # by which it must raise that of a whole text: code holds few words, however it is written
_LEAST = 8  # characters of a whole text
_HARDLY = 0.25  # the share below which a whole text is turned, and not its segments alone


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a view and where it stands in what was decoded; `exact` when each character stands for one there."""

    text: str
    start: int
    end: int
    exact: bool = False


class View:
    """One reading of a text."""

    def __init__(self, text: str, how: str, place: Callable[[int, int], tuple[int, int]], written: str = "") -> None:
        self.text = text
        self.written = written or text  # as it was written, where that is as long: look-alikes are not replaced in it
        self.how = how  # plain, or the decoders, the outermost first: base64+rot13
        self.place = place  # from [start, end) here to [start, end) in the original

    @functools.cached_property
    def folded(self) -> str:
        """In lower case, character by character, so that offsets stay."""
        lower = self.text.lower()
        if len(lower) == len(self.text):
            return lower
        return "".join(low if len(low := character.lower()) == 1 else character for character in self.text)


class _Folding(dict[int, str]):
    """For `str.translate`: what each character looks like, made when it is first met."""

    def __init__(self, confusables: Mapping[str, str]) -> None:
        self._confusables = confusables

    def __missing__(self, code: int) -> str:
        if len(self) > 20_000:  # no sender fills the memory with rare characters
            self.clear()
        self[code] = seen = self._seen(chr(code))
        return seen

    def _seen(self, character: str) -> str:
        if character in "\t\n\r":
            return character
        if unicodedata.category(character) in ("Cf", "Cc") or any(ord(character) in known for known in _SELECTORS):
            return ""  # zero-width, bidi, tags, variation selectors: shown by nobody
        if character in self._confusables:
            return self._confusables[character]
        compatible = unicodedata.normalize("NFKC", character)
        if compatible.isascii():
            return compatible
        if unicodedata.combining(character):
            return ""
        base = unicodedata.normalize("NFD", compatible)[0]
        if base.isascii():
            return base
        return self._confusables.get(compatible, compatible)


class Normaliser:
    """Reads texts; may be used from any thread.

    known: words of the language with their rank, the most frequent first; they tell whether a decoded text is one.
    """

    def __init__(self, known: Mapping[str, int]) -> None:
        lines = _CONFUSABLES.read_text().splitlines()
        confusables = {likeness: line[0] for line in lines for likeness in line[2:]}
        self._folding = _Folding(confusables)
        self._known = known
        self._decoders: dict[str, Callable[[str, list[Segment]], Iterable[Piece]]] = {
            "base64": _base64,
            "hex": _hex,
            "escaped": _escaped,
            "spaced": self._spaced,
            "leet": self._leet,
            "rot13": self._rot13,
            "reversed": self._reversed,
        }

    def plain(self, text: str) -> View:
        """The text without what nobody sees, look-alikes replaced by what they look like; case is kept."""
        if text.isascii():
            return View(text, PLAIN, lambda start, end: (start, end))
        starts: list[int] = []

        def place(start: int, end: int) -> tuple[int, int]:
            if not starts:
                for index, character in enumerate(text):
                    starts.extend([index] * len(self._folding[ord(character)]))
                starts.append(len(text))
            last = starts[min(end, len(starts) - 1) - 1] + 1 if end > start else starts[start]
            return starts[start], last

        folded = text.translate(self._folding)
        return View(folded, PLAIN, place, text if len(folded) == len(text) else "")

    def views(self, text: str) -> list[View]:
        """The plain view first, then what decoders found in it, at most `VIEWS` in all."""
        plain = self.plain(text)
        found = [plain]
        for pieces, how in ((_tagged(text), "tags"), (_selected(text), "selectors")):
            if pieces:
                found.append(_joined(pieces, how, lambda start, end: (start, end), ""))
        layer = list(found)
        for _ in range(DEPTH):
            layer = [deeper for view in layer for deeper in self._decoded(view)]
            found += layer
        return found[:VIEWS]

    def _decoded(self, view: View) -> Iterator[View]:
        odd = self._odd(view)
        for name, decode in self._decoders.items():
            if name in _ONCE and name == view.how.rpartition("+")[2]:
                continue
            pieces = [self._legible(piece) for piece in decode(view.written if name in _AS_WRITTEN else view.text, odd)]
            if pieces:
                how = name if view.how == PLAIN else f"{view.how}+{name}"
                yield _joined(pieces, how, view.place, "" if name in _IN_PLACE else "\n")

    def _legible(self, piece: Piece) -> Piece:
        """What was decoded as its reader sees it."""
        if piece.exact or piece.text.isascii():
            return piece
        return replace(piece, text=piece.text.translate(self._folding))

    def _odd(self, view: View) -> list[Segment]:
        """What has words that are for the most part none, with the share of the letters in words that are: the whole
        text first, where it is such a text, then its segments."""
        folded = view.folded
        whole = self._share(folded)
        shares = ((*found.span(), self._share(found.group())) for found in _SEGMENT.finditer(folded))
        segments = [segment for segment in shares if segment[2] < _GOOD]
        return [(0, len(folded), whole), *segments] if len(folded) >= _LEAST and whole < _HARDLY else segments

    def _share(self, folded: str) -> float:
        """Which share of the letters stands in words that are known; a rare word counts less, as it may be none."""
        words = _WORD.findall(folded)
        known, size = self._known, len(self._known)
        found = sum([len(word) * (size - known[word]) for word in words if word in known])
        return found / (size * sum(map(len, words)) or 1)

    def _rot13(self, text: str, odd: list[Segment]) -> Iterator[Piece]:
        return self._turned(text, odd, lambda part: codecs.encode(part, "rot13").translate(self._folding), exact=True)

    def _reversed(self, text: str, odd: list[Segment]) -> Iterator[Piece]:
        backwards = sorted(odd, key=lambda segment: segment[1], reverse=True)
        return self._turned(text, backwards, lambda part: part[::-1], exact=False)

    def _turned(self, text: str, odd: list[Segment], turn: Callable[[str], str], *, exact: bool) -> Iterator[Piece]:
        """The segments that turning makes words of; the whole text alone, where that is one of them."""
        for start, end, before in odd:
            turned = turn(text[start:end])
            whole = start == 0 and end == len(text)
            if self._share(turned.lower()) > (before + _SOME if whole else max(_GOOD, before + _GAIN)):
                yield Piece(turned, start, end, exact)
                if whole:
                    return

    def _leet(self, text: str, odd: list[Segment]) -> Iterator[Piece]:
        if _LEET.search(text) is None:
            return
        sure: list[Piece] = []
        likely: list[Piece] = []
        for found in _LEET_WORD.finditer(text):
            word = found.group().lower()
            if word.isalpha():
                continue
            if letters := self._unleet(word):
                sure.append(Piece(letters, *found.span(), exact=True))
            elif (letters := word.translate(_LETTERS).replace("1", "i").replace("|", "l")).isalpha():
                likely.append(Piece(letters, *found.span(), exact=True))
        signs = sum(self._signs(text, piece) for piece in sure)
        if signs > 1:
            # Among words in leet, one that is rare is a word too: of several, or where it was changed twice itself.
            more = [piece for piece in likely if signs > 2 or self._signs(text, piece) > 1]
            yield from _filled(text, sorted([*sure, *more], key=lambda piece: piece.start))

    @staticmethod
    def _signs(text: str, piece: Piece) -> int:
        """How surely a word was written in leet: one change may be chance, two in a longer word are none.

        Numbers are no sign, nor are words with numbers behind them: a log is full of both.
        """
        changed = sum(not character.isalpha() for character in text[piece.start : piece.end])
        if len(piece.text) < 3 or changed == len(piece.text) or not piece.text.isalpha():
            return 0
        return 2 if changed > 1 and len(piece.text) > 3 else 1

    def _unleet(self, word: str) -> str:
        for one in "il":
            letters = word.translate(_LETTERS).replace("1", one).replace("|", one)
            if letters.isalpha() and letters in self._known:
                return letters
        core = word.strip("!+|")
        if core and core != word:
            return self._unleet(core)
        before, number = word[:-2], word[-2:]  # as in base64
        numbered = len(before) > 2 and number.isdecimal() and not before.isalpha() and not before.isdecimal()
        return f"{letters}{number}" if numbered and (letters := self._unleet(before)) else ""

    def _spaced(self, text: str, odd: list[Segment]) -> Iterator[Piece]:
        for first in (0, 1):
            between = text[first::2]
            if len(between) >= _LEAST and between[0] in _GAPS and between.count(between[0]) > 0.95 * len(between):
                yield Piece(text[1 - first :: 2], 0, len(text))
                return
        replaced = []
        for found in _SPACED.finditer(text):
            run = found.group()
            gaps = [len(gap) for gap in _GAP.findall(run)]
            if min(gaps) < max(gaps):
                words = [_GAP.sub("", word) for word in re.split(f"[^A-Za-z0-9@$]{{{min(gaps) + 1},}}", run)]
            else:
                words = self._cut(_GAP.sub("", run).lower())
            replaced.append(Piece(" ".join(words), *found.span()))
        yield from _filled(text, replaced)

    def _cut(self, letters: str) -> list[str]:
        """The words that most likely were written together, each costing the logarithm of its rank."""
        best: list[tuple[float, int]] = [(0.0, 0)]
        for end in range(1, len(letters) + 1):
            best.append(
                min(
                    (best[start][0] + self._cost(letters[start:end]), start)
                    for start in range(max(0, end - _LONGEST), end)
                )
            )
        words, end = [], len(letters)
        while end:
            start = best[end][1]
            words.append(letters[start:end])
            end = start
        return words[::-1]

    def _cost(self, word: str) -> float:
        rank = self._known.get(word)
        if rank is None:
            return 14.0 * len(word)
        return (math.log(rank + 2) + 2.0) if len(word) > 1 or word in "ai" else 11.0


_LONGEST = 16  # letters of a word that was written together with others
_SEGMENT = re.compile(r"[^\n\"`:;.!?()\[\]{}|<>]{12,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{16,})*={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:(?:\\x|0x)?[0-9A-Fa-f]{2}[ ,:]?){8,}")
_HEX_NOISE = re.compile(r"\\x|0x|[ ,:]")
_ESCAPED = re.compile(r"(?:%[0-9A-Fa-f]{2})+|(?:\\u[0-9A-Fa-f]{4})+|&#x?[0-9A-Fa-f]{2,6};")
_LEET = re.compile(r"[01345-9@$!|€](?=[A-Za-z])|(?<=[A-Za-z])[01345-9@$|€]")
_LEET_WORD = re.compile(r"[A-Za-z0-9@$!|+€]{1,24}")
_LETTERS = str.maketrans("034578@$!+96€", "oeastbasitgge")
_SPACED = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9@$](?:[\s.\-_*|\\]{1,4}[A-Za-z0-9@$]){4,2000}(?![A-Za-z0-9])")
_GAPS = " .-_*|\\"
_GAP = re.compile(r"[\s.\-_*|\\]+")
_ONCE = frozenset({"rot13", "reversed", "leet", "spaced"})  # a second time they undo the first, or do nothing
_AS_WRITTEN = frozenset({"rot13"})  # it turned what was written, and no look-alikes
_IN_PLACE = frozenset({"escaped", "leet", "spaced"})  # the rest of the text stays around what was decoded


def _joined(pieces: list[Piece], how: str, outer: Callable[[int, int], tuple[int, int]], between: str) -> View:
    heads = list(itertools.accumulate((len(piece.text) + len(between) for piece in pieces), initial=0))

    def at(offset: int) -> tuple[int, int]:
        index = min(max(bisect.bisect_right(heads, offset) - 1, 0), len(pieces) - 1)
        piece = pieces[index]
        if not piece.exact:
            return piece.start, piece.end
        start = piece.start + min(offset - heads[index], len(piece.text) - 1)
        return start, start + 1

    def place(start: int, end: int) -> tuple[int, int]:
        first, last = at(start), at(max(start, end - 1))
        return outer(min(first[0], last[0]), max(first[1], last[1]))

    return View(between.join(piece.text for piece in pieces), how, place)


def _filled(text: str, replaced: list[Piece]) -> Iterator[Piece]:
    """The replaced pieces with what stands between them; nothing when nothing is replaced."""
    if not replaced:
        return
    at = 0
    for piece in replaced:
        if piece.start > at:
            yield Piece(text[at : piece.start], at, piece.start, exact=True)
        if piece.text:
            yield piece
        at = piece.end
    if at < len(text):
        yield Piece(text[at:], at, len(text), exact=True)


def _readable(raw: bytes) -> str:
    """The text that these bytes are, or nothing."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    printable = sum(
        character.isprintable() or character.isspace() or unicodedata.category(character) == "Cf" for character in text
    )
    letters = sum(character.isalpha() or character == " " for character in text)
    return text if text and printable == len(text) and letters > 0.2 * len(text) else ""


def _base64(text: str, odd: list[Segment]) -> Iterator[Piece]:
    for found in _BASE64.finditer(text):
        run = "".join(found.group().split()).rstrip("=").replace("-", "+").replace("_", "/")
        run = run[: len(run) - (len(run) % 4 == 1)]
        try:
            raw = base64.b64decode(run + "=" * (-len(run) % 4))
        except (binascii.Error, ValueError):
            continue
        if readable := _readable(raw):
            yield Piece(readable, *found.span())


def _hex(text: str, odd: list[Segment]) -> Iterator[Piece]:
    for found in _HEX.finditer(text):
        digits = _HEX_NOISE.sub("", found.group())
        if readable := _readable(bytes.fromhex(digits[: len(digits) // 2 * 2])):
            yield Piece(readable, *found.span())


def _unescape(run: str) -> str:
    if run[0] == "%":
        return urllib.parse.unquote(run, errors="ignore")
    digits = run[2:].split("\\u") if run[0] == "\\" else [run[2:-1].replace("x", "")]
    base = 16 if run[0] == "\\" or run[2] in "xX" else 10
    codes = [int(digit, base) for digit in digits if digit and (base == 16 or digit.isdigit())]
    return "".join(chr(code) for code in codes if code < 0xD800 or 0xDFFF < code < 0x110000)


def _escaped(text: str, odd: list[Segment]) -> Iterator[Piece]:
    if "%" not in text and "\\u" not in text and "&#" not in text:
        return iter(())
    return _filled(text, [Piece(_unescape(found.group()), *found.span()) for found in _ESCAPED.finditer(text)])


def _tagged(text: str) -> list[Piece]:
    """What is written in tag characters (U+E0000 to U+E007F), which no screen shows."""
    if text.isascii() or _TAG.search(text) is None:
        return []
    hidden = [(index, ord(character)) for index, character in enumerate(text) if ord(character) in _TAGS]
    return [Piece(chr(code - 0xE0000), at, at + 1, exact=True) for at, code in hidden if code > 0xE001F]


def _selected(text: str) -> list[Piece]:
    """What is written in variation selectors, a byte each."""
    if text.isascii() or _SELECTOR.search(text) is None:
        return []
    raw, places = bytearray(), []
    for index, character in enumerate(text):
        for base, known in zip((0, 16), _SELECTORS, strict=True):
            if ord(character) in known:
                raw.append(base + ord(character) - known.start)
                places.append(index)
    readable = _readable(bytes(raw)) if len(raw) > 3 else ""
    return [Piece(readable, places[0], places[-1] + 1)] if readable else []
