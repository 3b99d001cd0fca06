"""Hides findings behind placeholders, and puts them back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping

from guardrails.verdicts import Finding

PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]{0,30}_[0-9]{1,6}>")
_BEGUN = re.compile(r"<(?:[A-Z][A-Z_]{0,30}(?:_[0-9]{0,6})?)?\Z")


class Masker:
    """
    taken: all texts of the request: what looks like a placeholder there is no placeholder of ours.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {match for text in taken if "<" in text for match in PLACEHOLDER.findall(text)}
        self._names: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self.values: dict[str, str] = {}

    def mask(self, text: str, findings: Iterable[Finding], strategies: Mapping[str, str]) -> str:
        out, at = [], 0
        for found in sorted(findings, key=lambda each: (each.start, -each.end)):
            if found.start < at:
                continue
            value = text[found.start : found.end]
            out += [text[at : found.start], self._hidden(found.kind, value, strategies.get(found.kind, "placeholder"))]
            at = found.end
        return "".join([*out, text[at:]])

    def _hidden(self, kind: str, value: str, strategy: str) -> str:
        if strategy == "full":
            return f"[{kind}]"
        if strategy == "hash":
            return f"[{kind}:{hashlib.sha256(value.encode()).hexdigest()[:8]}]"
        if strategy == "partial":
            return "*" * max(0, len(value) - 2) + value[-2:]
        name = self._names.get((kind, value))
        while name is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            fresh = f"<{kind}_{self._counts[kind]}>"
            if fresh not in self._taken:
                name = self._names[kind, value] = fresh
                self.values[fresh] = value
        return name


def restore(text: str, values: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda match: values.get(match[0], match[0]), text)


def restore_json(text: str, values: Mapping[str, str]) -> str:
    """The same where the text is a piece of JSON and placeholders stand in its strings."""
    return PLACEHOLDER.sub(
        lambda match: json.dumps(values[match[0]], ensure_ascii=False)[1:-1] if match[0] in values else match[0], text
    )


class HoldBack:
    """A text in pieces, none of which ends inside what may become a placeholder."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        text = self._held + piece
        begun = _BEGUN.search(text)
        at = begun.start() if begun else len(text)
        self._held = text[at:]
        return text[:at]

    def flush(self) -> str:
        held, self._held = self._held, ""
        return held
