"""Dates of birth: a date where the text speaks of somebody's birth."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.detectors.patterns import Context, Pattern, alone
from guardrails.verdicts import Finding

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:(?:18|19|20)\d{2})"
_DATES = "|".join(
    (
        rf"{_YEAR}[-/.]\d{{1,2}}[-/.]\d{{1,2}}",
        rf"\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:{_YEAR}|\d{{2}})",
        rf"{_DAY}(?:st|nd|rd|th)?[ -](?:of )?{_MONTH}\.?,?[ -](?:{_YEAR}|\d{{2}})",
        rf"{_MONTH}\.?[ -]{_DAY}(?:st|nd|rd|th)?,?[ -]{_YEAR}",
        rf"{_MONTH}[/ ](?:{_YEAR}|\d{{2}})",
        r"(?:19|20)\d{2}[01]\d[0-3]\d",
    )
)


class DatesOfBirth:
    name = "births"

    def __init__(self) -> None:
        self._dates = Pattern(_DATES, ignore_case=True)
        self._birth = Context(
            r"d\.?o\.?b\.?|date[ _]?of[ _]?birth|birth[ _]?(?:date|day)|born|birth|geboren(?: am)?|geburtsdatum|née? le"
            r"|fecha de nacimiento|nacid[oa]|data di nascita",
            before=32,
            after=14,
        )
        self._another = Context(
            r"founded|issued?|expir[a-z]+|admi[a-z]+|visit|collected|reported|created|updated|due|deadline|since",
            before=14,
        )

    def find(self, text: str) -> Iterator[Finding]:
        if not self._birth.anywhere(text):
            return
        birth, another = self._birth.on(text), self._another.on(text)
        for start, end in self._dates.spans(text):
            if alone(text, start, end, "-/.") and birth.near(start, end) and not another.near(start, end):
                yield Finding("DOB", start, end, 0.95, self.name)
