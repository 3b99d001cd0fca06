"""Passport numbers where the text says passport, and the machine-readable lines of one (ICAO 9303)."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import Context, Pattern, alone, digits
from guardrails.verdicts import Finding


class Passports:
    name = "passports"

    def __init__(self) -> None:
        self._lines = Pattern(r"P[A-Z<][A-Z<]{42}\r?\n[A-Z0-9<]{44}")
        self._numbers = Pattern(r"[A-Z]{0,3}\d{5,9}[A-Z]{0,2}|[A-Z]\d[A-Z0-9]{6,7}", ignore_case=True)
        self._named = Context(
            r"passports?(?: ?(?:no|nums?|numbers?|nr|id|#))?|reisepass(?:nummer)?|passeport|pasaporte|passportnum",
            before=30,
        )
        self._contrary = Context(
            "id|ssn|social|phone|tel|born|dob|date|zip|account|licen[sc]e|visa|policy|otp|pin", before=30
        )

    def find(self, text: str) -> Iterator[Finding]:
        for start, end in self._lines.spans(text):
            yield Finding("PASSPORT", start, end, 0.99, self.name)
        if not self._named.anywhere(text):
            return
        named, contrary = self._named.on(text), self._contrary.on(text)
        for start, end in self._numbers.spans(text):
            if (
                len(digits(text[start:end])) >= 5
                and alone(text, start, end, "-/.")
                and named.distance(start) < contrary.distance(start)
            ):
                yield Finding("PASSPORT", start, end, 0.95, self.name)
