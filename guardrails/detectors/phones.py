"""Phone numbers: with a country code, in a shape that only phone numbers have, or where the text speaks of a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guardrails.detectors.patterns import FAR, Around, Context, Pattern, alone, digits
from guardrails.verdicts import Finding

_EXTENSION = r"(?: ?(?:x|ext\.?|extension|#) ?\d{1,6})"
_DIGIT = r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
_SPOKEN_OF = (
    r"(?:tele?)?phones?(?: ?(?:no|number|num|nr|#))?|tele|tel|telefon|teléfono|téléphone|telephonic|ph|mobile|cell"
    r"|cellular|handy|fax|whats ?app|signal|sms|text(?:s|ed|ing)?|messages? to|call(?:s|ed|ing|back)?"
    r"|dial(?:s|ed|ing)?|contact(?:s|ed|ing)?|reach(?:ed|able|ing)?|ring|hotline|helpline|line|answering(?: at)?"
    r"|registered|toll[- ]?free|(?:my|his|her|their|our) number is|desk|emergency|directed to|communicat[a-z]+"
)
_CONTRARY = (
    r"npi|ids?|identifier|order|invoice|cards?|account|acct|routing|policy|imei|phoneimei|ssn|social|passport"
    r"|licen[sc]e|plate|pin|otp|ref|reference|ticket|version|isbn|serial|vin|mrn|record|coordinates|lat|lon|dea"
    r"|iban|sku|tracking|part|case|visa|tax|code|amount|balance|total|price|salary|suite|apt|zip|employee|customer"
    r"|member|between|population"
)


class Phones:
    name = "phones"

    def __init__(self) -> None:
        self._candidates = Pattern(rf"(?:\+ ?)?\(?\d(?:[ .()/-]{{0,2}}\d){{5,15}}{_EXTENSION}?", ignore_case=True)
        # What is a candidate is short, so that these may track back.
        self._american = re.compile(
            rf"(?:(?:\+|00)?1[-. ]?)?(?:\(\d{{3}}\)[-. ]?|\d{{3}}[-. ])\d{{3}}[-. ]?\d{{4}}{_EXTENSION}?\Z",
            re.ASCII | re.IGNORECASE,
        )
        self._national = re.compile(r"\(?0\d{1,4}\)?(?:[ ./-]\d{2,8}){1,4}\Z", re.ASCII)
        self._other = re.compile(
            r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:\D|\Z)"  # dates
            r"|[1-9]\d*\.\d+\Z"  # decimals
            r"|(?:.*\D)?\d\D.*\D\d(?:\D|\Z)",  # lists of small numbers
            re.ASCII,
        )
        self._spoken = Pattern(rf"(?:^|\W)({_DIGIT}(?:[ ,-]{{1,2}}{_DIGIT}){{6,14}})(?:\W|$)", ignore_case=True)
        self._before = Context(_SPOKEN_OF)
        self._after = Context("office|fax|mobile|cell|home|work|phone|tel|direct|main", before=0, after=9)
        self._contrary = Context(_CONTRARY, before=18)

    def find(self, text: str) -> Iterator[Finding]:
        before, contrary = self._before.on(text), self._contrary.on(text)
        for start, end in self._candidates.spans(text):
            score = self._score(text, start, end, before, contrary)
            if score:
                yield Finding("PHONE", start, end, score, self.name)
        for start, end in self._spoken.spans(text):
            yield Finding("PHONE", start, end, 0.8, self.name)

    def _score(self, text: str, start: int, end: int, words: Around, others: Around) -> float:
        shape, count = text[start:end], len(digits(text[start:end]))
        if not alone(text, start, end, "-.:/") or text[start - 1 : start] in ("#", "$", "€", "£"):
            return 0
        if shape.startswith("+") and count >= 8:
            return 0.9
        if self._other.match(shape):
            return 0
        before, contrary = words.distance(start), others.distance(start)
        spoken_of = before < contrary or (contrary == FAR and self._after.anywhere(text[end : end + self._after.after]))
        if self._american.match(shape) and (spoken_of or contrary == FAR):
            return 0.9 if spoken_of else 0.75
        if spoken_of and count <= 14:
            return 0.8
        if (
            contrary == FAR
            and 9 <= count <= 15
            and (self._national.match(shape) or (shape.startswith("00") and count > 10))
        ):
            return 0.6
        return 0
