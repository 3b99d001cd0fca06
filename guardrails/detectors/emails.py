"""E-mail addresses, by the shape people type (RFC 5321 allows more), also as `ann [at] host [dot] org`."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import Pattern
from guardrails.verdicts import Finding

_LOCAL = r"[\pL\pN._%+'&~-]+"
_AT = r"\s?[\[({]\s?at\s?[\])}]\s?"
_DOT = r"(?:\.|\s?[\[({]\s?dot\s?[\])}]\s?)"
_FILES = ("png", "jpg", "jpeg", "gif", "svg", "webp", "pdf", "js", "css", "html", "tgz", "gz", "zip")  # icon@2x.png


class Emails:
    name = "emails"

    def __init__(self) -> None:
        self._plain = Pattern(rf"{_LOCAL}@[\pL\pN-]+(?:\.[\pL\pN-]+)*\.\pL\pL+")
        self._spelt = Pattern(rf"{_LOCAL}{_AT}[\pL\pN-]+(?:{_DOT}[\pL\pN-]+)*{_DOT}\pL\pL+", ignore_case=True)

    def find(self, text: str) -> Iterator[Finding]:
        if "@" in text:
            for start, end in self._plain.spans(text):
                start = max(_first(text, start, end), text.index("@", start) - 64)
                if text[start] != "@" and text[start:end].rpartition(".")[2].lower() not in _FILES:
                    yield Finding("EMAIL", start, end, 0.99, self.name)
        if "[" in text or "(" in text or "{" in text:
            for start, end in self._spelt.spans(text):
                yield Finding("EMAIL", _first(text, start, end), end, 0.9, self.name)


def _first(text: str, start: int, end: int) -> int:
    """Where the name begins: what stands around an address, as in `'a@b.org'`, is no part of it."""
    return start + len(text[start:end]) - len(text[start:end].lstrip(".'&~-%+"))
