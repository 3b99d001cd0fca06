r"""Hiding what was found, and putting it back.

A placeholder is `<KIND_N>`: a kind of 1 to 20 capital letters, underscores among them, and a number of 1 to 9 digits
that does not begin with 0, such as `<EMAIL_1>` or `<CREDIT_CARD_12>`. Text that looks like one before anything is
masked is itself masked, as `<LITERAL_1>`, so that in a masked text every placeholder is the masker's own and
restoring cannot be led astray.

Models rewrite what they are given. A placeholder also counts in other letters (`<email_1>`), with a blank inside its
brackets (`< EMAIL_1 >`), with Markdown's backslash (`<EMAIL\_1>`) and with HTML's brackets (`&lt;EMAIL_1&gt;`).
Nothing else does: a bare EMAIL_1 is a word. In any form it has at most LONGEST characters. What has the shape but no
value stays as it is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from guardrails.verdicts import Finding

Strategy = Literal["placeholder", "partial", "full", "hash"]

LONGEST = 48
_LONGEST_KIND = 20
_LITERAL = "LITERAL"

# Between two brackets nothing can be read in two ways, so that these take linear time although `re` tracks back.
_KIND = r"[A-Za-z]{1,20}(?:\\{0,2}_[A-Za-z]{1,20}){0,6}"
_WHOLE = re.compile(rf"(?:<|&lt;) ?({_KIND}\\{{0,2}}_[1-9][0-9]{{0,8}}) ?(?:>|&gt;)")
_BEGUN = re.compile(
    rf"(?:&(?:lt?)?|(?:<|&lt;) ?(?:{_KIND}(?:_?\\{{0,2}}|\\{{0,2}}_(?:[1-9][0-9]{{0,8}} ?(?:&(?:gt?)?)?)?))?)\Z"
)


class Masker:
    """Masks the texts of one job or one conversation; never to be shared by two.

    taken: placeholder → original of what was masked before, whose placeholders go on being used.
    key: makes hashes comparable with those made elsewhere under it; without one they are so within this masker.
    """

    def __init__(self, taken: Mapping[str, str] | None = None, key: bytes | None = None) -> None:
        self._values = dict(taken or {})
        self._placeholders = {value: placeholder for placeholder, value in self._values.items()}
        self._numbers: dict[str, int] = {}
        for placeholder in self._values:
            kind, _, number = placeholder.strip("<>").rpartition("_")
            self._numbers[kind] = max(self._numbers.get(kind, 0), int(number))
        self._key = key or secrets.token_bytes(32)

    @property
    def values(self) -> Mapping[str, str]:
        """Placeholder → original of everything that `restore` can put back."""
        return self._values

    def mask(self, text: str, findings: Iterable[Finding], strategies: Mapping[str, Strategy] | None = None) -> str:
        """The text without what was found in it.

        findings: at offsets of this text; where two overlap both are hidden, the earlier or else the longer one whole.
        strategies: by kind; a kind that is not named gets a placeholder. Only placeholders can be restored.
        """
        ways, parts, done = strategies or {}, [], 0
        for kind, start, end in _places(text, findings):
            parts.append(text[done:start])
            parts.append(self._hidden(kind, text[start:end], ways.get(kind, "placeholder")))
            done = end
        parts.append(text[done:])
        return "".join(parts)

    def _hidden(self, kind: str, value: str, strategy: Strategy) -> str:
        match strategy:
            case "placeholder":
                return self._placeholder(kind, value)
            case "partial":
                return _PARTIAL.get(kind, _last_four)(value)
            case "full":
                return f"[{kind}]"
            case "hash":
                digest = hmac.new(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256)
                return f"[{kind}:{digest.hexdigest()[:16]}]"

    def _placeholder(self, kind: str, value: str) -> str:
        known = self._placeholders.get(value)
        if known is not None:
            return known
        kind = _in_letters(kind)
        number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
        placeholder = f"<{kind}_{number}>"
        self._values[placeholder] = value
        self._placeholders[value] = placeholder
        return placeholder


def restore(text: str, values: Mapping[str, str]) -> str:
    """The text with the originals of its placeholders: exactly what was masked, where nothing was rewritten."""
    return _replaced(text, values, lambda value: value)


def restore_json(text: str, values: Mapping[str, str]) -> str:
    """As `restore`, for text that stands inside a JSON document's strings, such as the arguments of a tool call."""
    return _replaced(text, values, lambda value: json.dumps(value, ensure_ascii=False)[1:-1])


class HoldBack:
    """Cuts a stream so that no piece ends inside a possible placeholder; holds back less than LONGEST characters.

    Each piece can then be restored by itself, anywhere and at any time.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """What may leave now; may be empty."""
        text = self._held + text
        tail = max(0, len(text) - LONGEST + 1)
        begun = _BEGUN.search(text, tail)
        cut = begun.start() if begun else len(text)
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """What is left when nothing more will come."""
        held, self._held = self._held, ""
        return held


def _places(text: str, findings: Iterable[Finding]) -> Iterator[tuple[str, int, int]]:
    """What is to be hidden, in the text's order and apart: the findings, and what looks like a placeholder."""
    found = [(finding.start, finding.end, finding.kind) for finding in findings]
    found += [(match.start(), match.end(), _LITERAL) for match in _shapes(text)]
    done = 0
    for start, end, kind in sorted(found, key=lambda place: (place[0], -place[1])):
        start, end = max(start, done), min(end, len(text))
        if start < end:
            yield kind, start, end
            done = end


def _shapes(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _WHOLE.finditer(text) if match.end() - match.start() <= LONGEST)


def _replaced(text: str, values: Mapping[str, str], written: Callable[[str], str]) -> str:
    parts, done = [], 0
    for match in _shapes(text):
        value = values.get(f"<{match[1].replace(chr(92), '').upper()}>")
        if value is not None:
            parts += [text[done : match.start()], written(value)]
            done = match.end()
    return "".join([*parts, text[done:]])


def _in_letters(kind: str) -> str:
    """A kind as a placeholder may name it."""
    letters = re.sub("[^A-Z]+", "_", kind.upper())[:_LONGEST_KIND].strip("_")
    return letters or "VALUE"


def _last_four(value: str) -> str:
    """The last four letters or digits of a long value, the last two of a short one, nothing of a very short one."""
    count = sum(map(str.isalnum, value))
    shown = 4 if count >= 12 else 2 if count >= 6 else 0
    return _starred(value, lambda place: place >= count - shown)


def _initials(value: str) -> str:
    return " ".join([_starred(word, lambda place: place == 0) for word in value.split()])


def _mailbox(value: str) -> str:
    name, _, host = value.partition("@")
    return f"{_starred(name, lambda place: place == 0)}@{_starred(host, lambda place: False)}"


def _nothing(value: str) -> str:
    return _starred(value, lambda place: False)


def _starred(value: str, shown: Callable[[int], bool]) -> str:
    """A value with a star for each letter or digit that is not shown, and of the rest only blanks and plain marks."""
    stars, place = [], 0
    for char in value:
        if char.isalnum():
            stars.append(char if shown(place) else "*")
            place += 1
        elif char in " -.@":
            stars.append(char)
    return "".join(stars) if "*" in stars else "*"


_PARTIAL: Mapping[str, Callable[[str], str]] = {
    "EMAIL": _mailbox,
    "NAME": _initials,
    "LOCATION": _initials,
    "ADDRESS": _nothing,
    "DOB": _nothing,
}
